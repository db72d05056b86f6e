"""Makes durable what becomes of targets: many changes to a transaction, however many come at once.

Rules:

1. Whoever waits is told once the state that its target has by then is on disk.
2. While one batch is written the next is gathered, so ten thousand results cost a few transactions.
3. What could not be written is tried again: what was said of a target is not said twice by itself.
4. An operation is written as over in the transaction of its last target, and not before.

Source: the same as :mod:`popham.manager.saving`, for another table.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from popham.errors import StateError
from popham.manager.operations.stored import StoredOperation
from popham.manager.saving import Done, tell_all
from popham.store.rows import OperationRow, OutputRow, TargetRow
from popham.store.seam import Store, Writing

_log = logging.getLogger(__name__)
BATCH = 1000
"""Targets in one transaction."""
SLICE = 64
"""Targets that are written down in one turn of the loop."""
RETRY = 1.0
"""Seconds until another attempt, after the database had no room."""


@dataclass(slots=True, eq=False)
class Going:
    """An operation that goes on.

    Attributes:
        stored: As it is kept.
        left: Targets that are open in the database, once what was gathered is written.
    """

    stored: StoredOperation
    left: int = 0


@dataclass(slots=True, eq=False)
class Entry:
    """One target of an operation that goes on.

    Attributes:
        going: Its operation.
        row: As it is, or is about to be, in the database.
        deadline: Unix seconds at which it is looked at again.
        saved: Revision of the newest result that is durable.
        awaited: Whether nothing was heard of the agent since a round was wanted of it.
        counted: Whether it is not among those that are left any more.
    """

    going: Going
    row: TargetRow
    deadline: float = 0.0
    saved: int = 0
    awaited: bool = False
    counted: bool = False


@dataclass(slots=True)
class _Batch:
    entries: dict[Entry, None] = field(default_factory=dict)
    waiting: list[Done] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Written:
    targets: Sequence[TargetRow]
    outputs: Sequence[OutputRow]
    over: Sequence[OperationRow]

    def put(self, tx: Writing) -> None:
        tx.put_targets(self.targets)
        for output in self.outputs:
            tx.put_output(output)
        for operation in self.over:
            tx.put_operation(operation)


class Ledger:
    """Writes what becomes of targets, in batches."""

    def __init__(self, store: Store) -> None:
        """Write to ``store``; nothing runs until something is to be written."""
        self._store = store
        self._batches: deque[_Batch] = deque()
        self._writing: asyncio.Task[None] | None = None

    def keep(self, entry: Entry, done: Done | None = None) -> None:
        """Begin to write a target as it is; ``done`` never raises."""
        if not self._batches or len(self._batches[-1].entries) >= BATCH:
            self._batches.append(_Batch())
        batch = self._batches[-1]
        batch.entries[entry] = None
        if done is not None:
            batch.waiting.append(done)
        self._start()

    async def settle(self) -> None:
        """Return once all that was kept until now is durable. Raises StateError."""
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._batches:
            self._batches.append(_Batch())
        self._batches[-1].waiting.append(partial(tell_future, durable))
        self._start()
        await durable

    async def aclose(self) -> None:
        """Stop writing; what is not durable is said again after the next start."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    def _start(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write())

    async def _write(self) -> None:
        """Write batches until there is none; each caller learns what became of its own."""
        while self._batches:
            batch = self._batches.popleft()
            waiting, batch.waiting = batch.waiting, []
            try:
                written = await _gather(list(batch.entries))
                await self._store.write(written.put)
            except StateError as error:
                await tell_all(waiting, error)
                if not error.retryable:
                    return  # whoever watches the database ends the process
                _log.warning("what became of operations is written later: %s", error)
                self._batches.appendleft(batch)
                await asyncio.sleep(RETRY)
                continue
            except BaseException as error:
                for done in waiting:
                    done(error if isinstance(error, Exception) else asyncio.CancelledError())
                raise
            await tell_all(waiting, None)


async def _gather(entries: Sequence[Entry]) -> _Written:
    """Return what is to be written of these targets, as they are now."""
    targets: list[TargetRow] = []
    outputs: list[OutputRow] = []
    going: dict[Going, None] = {}
    for number, entry in enumerate(entries, 1):
        row = entry.row
        targets.append(row)
        if row.output:
            # It stands for what is still to come: nothing of it is here yet.
            outputs.append(OutputRow(operation=row.operation, uid=row.uid, at=row.since, length=0, data=b""))
        if not row.open:
            entry.going.left -= not entry.counted
            entry.counted = True
            going[entry.going] = None
        if number % SLICE == 0:
            await asyncio.sleep(0)
    over = [replace(one.stored, over=True).row() for one in going if not one.left]
    return _Written(targets, outputs, over)


def tell_future(waiting: asyncio.Future[None], error: BaseException | None) -> None:
    """Have a future end as what it waits for did, unless nobody waits any more."""
    if waiting.done():
        return
    if isinstance(error, asyncio.CancelledError):
        waiting.cancel()
    elif error is not None:
        waiting.set_exception(error)
    else:
        waiting.set_result(None)
