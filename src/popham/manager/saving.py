"""Makes what agents say durable: many reports to a transaction, however many come at once.

Rules:

1. A caller is answered once its report is on disk.
2. While one batch is written the next is gathered, so a fleet that reports at
   once costs a few transactions, and never fills the queue of writes.
3. What is written is what the agent has said by then; what administrators
   decide is left as it is.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from popham.clock import Clock
from popham.manager.naming import described_name, name_stock, provisional_name
from popham.model.fleet import AgentKind
from popham.store.rows import Said
from popham.store.seam import Store, Writing
from popham.upstream.record import Record, RemoteStatus

BATCH = 1000
"""Reports in one transaction: some 20 ms, which is what another write may have to wait."""
SLICE = 32
"""Reports that are written down, or answered, in one turn of the loop: 1 ms or so."""
Done = Callable[[BaseException | None], None]
"""Told once something is durable, or why it is not; never raises."""
STATUS = ("UNSET", "APPLIED", "APPLYING", "FAILED")
"""OpAMP's RemoteConfigStatuses, by number."""


@dataclass(slots=True)
class _Batch:
    records: dict[bytes, Record] = field(default_factory=dict)
    waiting: list[Done] = field(default_factory=list)


class Saving:
    """Writes reports in batches."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Write to ``store``; nothing runs until something is to be written."""
        self._store = store
        self._clock = clock
        self._batches: deque[_Batch] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._naming: set[asyncio.Task[None]] = set()

    async def save(self, record: Record) -> None:
        """Return once what this agent said is durable.

        Raises:
            StateError: It could not be written.
        """
        durable = asyncio.get_running_loop().create_future()

        def done(error: BaseException | None) -> None:
            if durable.done():
                return
            if error is None:
                durable.set_result(None)
            elif isinstance(error, asyncio.CancelledError):
                durable.cancel()
            else:
                durable.set_exception(error)

        self.keep(record, done)
        await durable

    def keep(self, record: Record, done: Done) -> None:
        """Begin to write what this agent said; ``done`` is told what became of it, and never raises."""
        name = provisional_name(record.uid)
        if record.kind is AgentKind.STOCK and record.name == name and described_name(record.description):
            naming = asyncio.ensure_future(self._save_named(record))
            self._naming.add(naming)
            naming.add_done_callback(partial(self._named, done))
            return
        if not self._batches or len(self._batches[-1].records) >= BATCH:
            self._batches.append(_Batch())
        batch = self._batches[-1]
        batch.records[record.key] = record
        batch.waiting.append(done)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write())

    async def _write(self) -> None:
        """Write batches until there is none; each caller learns what became of its own."""
        while self._batches:
            batch = self._batches.popleft()
            error: BaseException | None = None
            try:
                said = await _say_all(list(batch.records.values()))
                await self._store.write(lambda tx, said=said: tx.reports(said))  # type: ignore[misc]  # bound now
            except Exception as problem:  # noqa: BLE001  # it is told to those who wait
                error = problem
            except BaseException:
                for done in batch.waiting:
                    done(asyncio.CancelledError())
                raise
            await tell_all(batch.waiting, error)

    def _named(self, done: Done, naming: asyncio.Task[None]) -> None:
        self._naming.discard(naming)
        done(asyncio.CancelledError() if naming.cancelled() else naming.exception())

    async def _save_named(self, record: Record) -> None:
        """Write one report, and the name that its description gives to a stock agent."""
        said, description, now = say(record), record.description, self._clock.now()

        def work(tx: Writing) -> str:
            tx.reports([said])
            row = tx.agent(said.uid)
            if row is None:
                return ""
            named = name_stock(tx, row, description, now=now)
            if named.name != row.name:
                tx.put_agent(named)
            return named.name

        record.name = await self._store.write(work) or record.name


async def _say_all(records: Sequence[Record]) -> list[Said]:
    """Return what is to be written, in slices; who says more meanwhile is written again after this."""
    said: list[Said] = []
    for first in range(0, len(records), SLICE):
        if first:
            await asyncio.sleep(0)
        said += map(say, records[first : first + SLICE])
    return said


async def tell_all(waiting: Sequence[Done], error: BaseException | None) -> None:
    """Tell those who wait what became of what they said, in slices."""
    told = 0
    try:
        for first in range(0, len(waiting), SLICE):
            if first:
                await asyncio.sleep(0)
            for done in waiting[first : first + SLICE]:
                told += 1
                done(error)
    finally:
        for done in waiting[told:]:
            done(error)


def say(record: Record) -> Said:
    """Return the columns that the agent itself decides, as they are now: the write happens later."""
    status = STATUS[record.remote.status] if record.remote.status < len(STATUS) else STATUS[0]
    remote = {"hash": record.remote.digest.hex(), "status": status, "error": record.remote.error}
    return Said(
        uid=record.uid,
        kind=str(record.kind),
        capabilities=record.ear.capabilities,
        description=record.described,
        state=record.envelope,
        state_revision=record.state.revision if record.state else 0,
        remote=json.dumps(remote) if record.remote != RemoteStatus() else "{}",
        last_contact=record.last_contact,
        promise=record.promise,
        address=record.address,
        sequence=record.ear.sequence,
    )
