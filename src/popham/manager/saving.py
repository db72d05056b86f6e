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
from dataclasses import dataclass, field, replace

from popham.clock import Clock
from popham.manager.naming import described_name, name_stock, provisional_name
from popham.model.fleet import AgentKind
from popham.store.rows import Said
from popham.store.seam import Store, Writing
from popham.upstream.record import Record, RemoteStatus

BATCH = 1000
"""Reports in one transaction: some 20 ms, which is what another write may have to wait."""
STATUS = ("UNSET", "APPLIED", "APPLYING", "FAILED")
"""OpAMP's RemoteConfigStatuses, by number."""


@dataclass(slots=True)
class _Batch:
    records: dict[bytes, Record] = field(default_factory=dict)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)

    def settle(self, error: BaseException | None) -> None:
        """Answer those who still wait."""
        for caller in self.waiting:
            if not caller.done():
                if error is None:
                    caller.set_result(None)
                else:
                    caller.set_exception(error)


class Saving:
    """Writes reports in batches."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Write to ``store``; nothing runs until something is to be written."""
        self._store = store
        self._clock = clock
        self._batches: deque[_Batch] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def save(self, record: Record) -> None:
        """Return once what this agent said is durable.

        Raises:
            StateError: It could not be written.
        """
        name = provisional_name(record.uid)
        if record.kind is AgentKind.STOCK and record.name == name and described_name(record.description):
            await self._save_named(record)
            return
        if not self._batches or len(self._batches[-1].records) >= BATCH:
            self._batches.append(_Batch())
        batch = self._batches[-1]
        batch.records[record.key] = record
        # A future for each: whoever gives up waiting does not take the others' batch away.
        durable = asyncio.get_running_loop().create_future()
        batch.waiting.append(durable)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write())
        await durable

    async def _write(self) -> None:
        """Write batches until there is none; each caller learns what became of its own."""
        while self._batches:
            batch = self._batches.popleft()
            said = [say(record) for record in batch.records.values()]
            try:
                await self._store.write(lambda tx, said=said: tx.reports(said))  # type: ignore[misc]  # bound now
            except Exception as error:  # noqa: BLE001  # it is raised where the callers wait
                batch.settle(error)
            except BaseException:
                for caller in batch.waiting:
                    caller.cancel()
                raise
            else:
                batch.settle(None)

    async def _save_named(self, record: Record) -> None:
        """Write one report, and the name that its description gives to a stock agent."""
        said, description, now = say(record), record.description, self._clock.now()

        def work(tx: Writing) -> str:
            tx.reports([said])
            row = tx.agent(said.uid)
            if row is None:
                return ""
            named = name_stock(tx, replace(row), description, now=now)
            if named.name != row.name:
                tx.put_agent(named)
            return named.name

        record.name = await self._store.write(work) or record.name


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
