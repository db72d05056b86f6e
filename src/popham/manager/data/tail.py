"""The newest rows of a stream, in memory: what is in no file yet.

The truth of them is in the intake's segments; so a stop loses nothing, and the next start reads them again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from popham.manager.data.columns import join_batches

if TYPE_CHECKING:
    from arro3.core import RecordBatch

_MANY: Final = 64
"""Batches after which they are joined: few records come at a time, and a query looks at each batch."""


class Tail:
    """Batches of rows in the order in which they came.

    Attributes:
        bytes: Of all of them.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._batches: list[RecordBatch] = []
        self._last: list[int] = []
        self.bytes = 0

    def add(self, batch: RecordBatch, last: int) -> None:
        """Add a batch whose last place is ``last``."""
        self._batches.append(batch)
        self._last.append(last)
        self.bytes += batch.nbytes
        if len(self._batches) > _MANY:
            self._join()

    def batches(self, after: int = -1) -> list[RecordBatch]:
        """Return the batches that have a place above ``after``."""
        return [batch for batch, last in zip(self._batches, self._last, strict=True) if last > after]

    def _join(self) -> None:
        """Join the newer half, so that a row is moved seldom."""
        half = len(self._batches) // 2
        self._batches[half:] = [join_batches(self._batches[half:])]
        self._last[half:] = [self._last[-1]]
