"""How long operations are kept: swept in slices, so that nobody waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from popham.clock import Clock
from popham.errors import StateError
from popham.manager.operations.outputs import Outputs
from popham.store.rows import OperationRow
from popham.store.seam import Store, Writing

_log = logging.getLogger(__name__)
KEPT: Final = 90 * 86_400.0
"""Seconds that an operation is kept after it was ordered; one that goes on is kept until it is over."""
COUNT: Final = 10_000
"""Operations that are kept, at most."""
EVERY: Final = 3600.0
"""Seconds between two sweeps."""
SLICE: Final = 20
"""Operations that are deleted in one transaction."""
_PAGE: Final = 1000


class History:
    """Deletes operations, and drops outputs, that are older than is kept."""

    def __init__(self, store: Store, outputs: Outputs, clock: Clock, *, count: int = COUNT) -> None:
        """Sweep ``store``; :meth:`run` does it.  ``count`` operations are kept."""
        self._store = store
        self._outputs = outputs
        self._clock = clock
        self._count = count

    async def run(self) -> None:
        """Sweep once in a while, until cancelled.

        Raises:
            StateError: The database failed; the process must end.
        """
        while True:
            try:
                await self.sweep()
            except StateError as error:
                if not error.retryable:
                    raise
                _log.warning("old operations are deleted later: %s", error)
            await asyncio.sleep(EVERY)

    async def sweep(self) -> None:
        """Delete what is too old, or too much. Raises StateError."""
        await self._outputs.sweep()
        gone = await self._find()
        for first in range(0, len(gone), SLICE):
            part = gone[first : first + SLICE]
            await self._store.write(lambda tx, part=part: _delete(tx, part))  # type: ignore[misc]  # bound now
            for number in part:
                self._outputs.forget_operation(number)
            await asyncio.sleep(0)

    async def _find(self) -> list[int]:
        """Return the numbers of operations that are over, and not kept any more."""
        before, after = self._clock.now() - KEPT, None
        seen, gone = 0, []
        while True:
            rows = await self._store.read(lambda tx, after=after: tx.operations(before=after, limit=_PAGE))  # type: ignore[misc]  # likewise
            for row in rows:
                seen += 1
                if row.over and (seen > self._count or row.at < before):
                    gone.append(row.number)
            if len(rows) < _PAGE:
                return gone
            after = _last(rows)


def _last(rows: Sequence[OperationRow]) -> int:
    return rows[-1].number


def _delete(tx: Writing, numbers: Sequence[int]) -> None:
    for number in numbers:
        tx.delete_operation(number)
