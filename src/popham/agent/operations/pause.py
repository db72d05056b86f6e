"""Whether collection is paused on a machine: one file of the state directory, and since when."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from popham.agent.storage import Storage
from popham.errors import StateError

NAME: Final = "collection-paused.json"
_LIMIT: Final = 1024


class Pause:
    """Knows whether collection is paused.

    Attributes:
        at: Since when, in unix seconds; 0 while it is not.
    """

    def __init__(self, storage: Storage) -> None:
        """Read what is kept in ``storage``."""
        self._storage = storage
        self.at = read_pause(storage)

    def begin(self, now: float) -> None:
        """Pause collection, unless it is paused; durable. Raises StateError."""
        if not self.at:
            self._storage.write(NAME, msgspec.json.encode(now))
            self.at = now

    def end(self) -> None:
        """Go on with collection; durable. Raises StateError."""
        if self.at:
            self._storage.remove(NAME)
            self.at = 0.0


def read_pause(storage: Storage) -> float:
    """Return since when collection is paused, in unix seconds; 0 if it is not.

    A file that cannot be read means that it is: somebody wanted nothing to be collected.
    """
    try:
        data = storage.read(NAME, _LIMIT)
        found = 0.0 if data is None else msgspec.json.decode(data, type=float)
    except (StateError, msgspec.DecodeError, UnicodeDecodeError):
        found = 1.0
    return found if math.isfinite(found) and found >= 0 else 1.0
