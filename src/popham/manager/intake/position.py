"""Places in the segments of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from popham.errors import StateError


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place between two frames.

    Attributes:
        segment: Number of the segment; segments follow each other by number.
        at: Bytes from its beginning.
    """

    segment: int = 0
    at: int = 0

    def as_json(self) -> list[int]:
        """Return it as what JSON has."""
        return [self.segment, self.at]

    @classmethod
    def from_json(cls, found: Any) -> Position:
        """Return the position in ``found``, as :meth:`as_json` made it.

        Raises:
            StateError: ``state.corrupt``: it is none.
        """
        match found:
            case [int(segment), int(at)]:
                return cls(segment, at)
            case _:
                raise StateError(
                    "corrupt", "a position in the data of agents cannot be read", "Restore a backup"
                )


BEGINNING: Final = Position()
"""Before everything."""
