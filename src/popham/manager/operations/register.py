"""The operations that go on: what is still to be heard of which agent, in memory; a :class:`popham.upstream.orders.Ordering`.

Rules:

1. The database decides what there is, memory answers: a start reads all open targets, and each is offered again.
2. A document is offered until its agent says that it began, or it expires.
3. A result is named as heard once it is durable.  States never go back: of what is over only the text is changed,
   where an agent says later what had become of it.
4. Nothing is looked at again and again: agents report, and deadlines are kept in one heap.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from popham.clock import Clock
from popham.errors import NotFoundError, OperationError, PophamError
from popham.manager.operations.answers import Answers
from popham.manager.operations.following import JOINED, comes, follow, join, joined_with, too_old
from popham.manager.operations.known import Known
from popham.manager.operations.ledger import Entry
from popham.manager.operations.offering import is_followed
from popham.manager.operations.open_targets import OpenTargets
from popham.manager.operations.outputs import Outputs
from popham.manager.operations.stored import StoredOperation, read_open
from popham.manager.operations.turns import Turns
from popham.model.fleet import Admission, AgentKind
from popham.model.generation import OPERATIONS
from popham.model.operation import Kind, OperationState
from popham.store.rows import TargetRow
from popham.store.seam import Store
from popham.trust.keys import SigningKey
from popham.upstream.record import Record

PAGE = 4096
"""Targets read at once at the start."""
SLICE = 64
"""Targets that are taken up, or ended, in one turn of the loop."""
TOLD = 60.0
"""Seconds beyond the promise of an agent, in which it says what became of what it was told."""
LASTS = 3600.0
"""Seconds that something may run beyond its expiry, before nobody can know what became of it."""
REFUSING = frozenset({"visit.refused", "visit.off"})
"""Codes of a visit to an agent whose service is off."""
_QUEUED, _SENT, _RUNNING = OperationState.QUEUED, OperationState.SENT, OperationState.RUNNING


class Register:
    """Keeps the open targets of all operations.

    Attributes:
        outputs: What operations printed or made.
        turns: Those of whoever orders something.
    """

    def __init__(
        self,
        store: Store,
        book: Known,
        director: SigningKey,
        clock: Clock,
        *,
        tell: Callable[[Record], None] = lambda _record: None,
        ask: Callable[[str], bool] = lambda _uid: False,
    ) -> None:
        """Know of nothing yet: :meth:`load` reads, :meth:`run` keeps deadlines.

        Args:
            store: The database.
            book: Who is known.
            director: Signs documents.
            clock: Wall time.
            tell: Has an agent told of what is ordered: over its held link, or by a visit now.
            ask: Has an agent asked for a round likewise; False if there is no way to ask.
        """
        self.outputs = Outputs(store, clock)
        self.turns = Turns()
        self._store = store
        self._book = book
        self._clock = clock
        self._tell = tell
        self._ask = ask
        self._targets = OpenTargets(store, book.record, director, clock)
        self._offering = self._targets.offering
        self._answers = Answers(store, self._targets, self.outputs)

    # What people ask.

    @property
    def operations(self) -> int:
        """Return how many operations go on."""
        return self._targets.operations

    @property
    def open(self) -> Mapping[str, int]:
        """Return state → open targets."""
        return self._targets.states

    @property
    def ended(self) -> Mapping[str, int]:
        """Return state → targets that came to this end since the start."""
        return self._targets.ended

    def open_of(self, uid: str) -> int:
        """Return how many open targets an agent has."""
        return self._targets.count(uid)

    def send_of(self, uid: str) -> str:
        """Return the name of a send to an agent of whom nothing was heard since; empty for none."""
        for entry in self._targets.of_agent(uid):
            if entry.awaited and entry.going.stored.kind is Kind.SEND:
                return entry.going.stored.name
        return ""

    def record(self, uid: str) -> Record | None:
        """Return what is known of one agent."""
        return self._book.record(uid)

    # Operations come and go.

    async def load(self) -> None:
        """Read what is open, and offer it again. Raises StateError."""
        await self.outputs.load()
        for uid, digests in self.outputs.awaited().items():
            record = self._book.record(uid)
            if record is not None:
                self._offering.orders(record).want_outputs.update(dict.fromkeys(digests))
        after = (0, "")
        while True:
            rows, operations = await self._store.read(partial(read_open, after=after, limit=PAGE))
            counts = Counter(row.operation for row in rows)
            going = {number: self._targets.begin(one, counts[number]) for number, one in operations.items()}
            for count, row in enumerate(rows, 1):
                self._targets.take_up(going[row.operation], row)
                if is_shut_out(self._book.record(row.uid)):
                    self.shut_out(row.uid)
                if count % SLICE == 0:
                    await asyncio.sleep(0)
            if len(rows) < PAGE:
                return
            after = (rows[-1].operation, rows[-1].uid)

    async def add(self, stored: StoredOperation, rows: Sequence[TargetRow]) -> None:
        """Take up an operation that is durable, with its targets, and have those told that are open."""
        open_rows = [row for row in rows if row.open]
        self._targets.ended.update(row.state for row in rows if not row.open)
        if not open_rows:
            return
        going = self._targets.begin(stored, len(open_rows))
        for count, row in enumerate(open_rows, 1):
            self._begin(self._targets.take_up(going, row))
            if count % SLICE == 0:
                await asyncio.sleep(0)

    async def catch_up(self, groups: Sequence[str]) -> None:
        """Have in memory what groups are to have by the database: what is sent was perhaps published just now.

        Raises StateError.
        """
        rows = await self._store.read(lambda tx: list(filter(None, map(tx.bundle, groups))))
        held = {row.group: self._book.wanted(row.group) for row in rows}
        stale = [row.group for row in rows if (one := held[row.group]) is None or one.version < row.version]
        if stale:
            await self._book.refresh(stale)

    async def cancel(self, number: int, by: str) -> None:
        """Cancel what is open of an operation: at once where nobody was told, else its agent answers.

        A stock agent that was told to restart cannot be told otherwise. Raises StateError.
        """
        for count, entry in enumerate(self._targets.of_operation(number), 1):
            row, record = entry.row, self._book.record(entry.row.uid)
            untold = row.state == _QUEUED and not self._offering.is_handed_on(entry)
            if row.open and (untold or entry.going.stored.kind is Kind.SEND):
                self._targets.become(entry, OperationState.CANCELLED, cancelled_by=by)
                self._take_back(record)
            elif row.open and not row.cancelled_by and record is not None and record.kind is AgentKind.OWN:
                entry.row = replace(row, cancelled_by=by)
                self._targets.keep(entry)
                self._offering.offer_cancel(entry)
                self._tell(record)
            if count % SLICE == 0:
                await asyncio.sleep(0)
        await self._targets.settle()

    def shut_out(self, uid: str) -> None:
        """End what is open of an agent that was refused, revoked or deleted: it says nothing any more."""
        record = self._book.record(uid)
        by = f"{record.admission} by an administrator" if record is not None else "deleted"
        for entry in self._targets.of_agent(uid):
            self._targets.fail(entry, OperationError("admission", f"the agent was {by}"))

    def rollout_undone(self, name: str) -> None:
        """End each ``apply`` of a rollout that was undone, of which nobody was told; who was told answers itself."""
        for entry in self._targets.of_kind(Kind.APPLY):
            if entry.row.state == _QUEUED and entry.going.stored.args_for(entry.row.group)["rollout"] == name:
                self._targets.fail(entry, OperationError("superseded", f"rollout {name} was undone"))

    def _begin(self, entry: Entry) -> None:
        """Have an agent told of what was just ordered."""
        kind, record = entry.going.stored.kind, self._book.record(entry.row.uid)
        if record is None:
            return
        if is_shut_out(record):
            self.shut_out(record.uid)
            return
        if not is_followed(entry, record) or kind is Kind.RESTART:
            self._tell(record)
            return
        entry.awaited = not entry.row.text.startswith(JOINED)
        if entry.awaited:
            self._ask(record.uid)
        if record.link is not None:
            self._targets.become(entry, _SENT)

    # What agents say.

    def told(self, record: Record, nonces: Sequence[str]) -> None:
        """Take note that these documents are on their way to an agent."""
        for nonce in nonces:
            entry = self._targets.at(nonce)
            if entry is None or entry.row.uid != record.uid or entry.row.state != _QUEUED:
                continue
            if record.orders is not None:
                record.orders.described = False
            self._targets.become(entry, _SENT, text="")

    def hear(self, record: Record, results: Sequence[bytes]) -> Awaitable[None] | None:
        """Take note of results; the awaitable ends once they are durable. None if nothing of it is new.

        Raises:
            TrustError: One is not signed by this agent; nothing was taken note of.
        """
        return self._answers.hear(record, results)

    def reported(self, record: Record) -> None:
        """Take note of what an agent said, for what is followed; costs as much as it has open targets."""
        held, orders = self._targets.of_agent(record.uid), record.orders
        described = orders is not None and orders.described
        if orders is not None:
            orders.described = False
        for entry in held:
            if record.last_contact is not None and record.last_contact >= entry.going.stored.at:
                entry.awaited = False
                self._look(entry, record, described=described)
        if orders is not None and orders.empty:
            record.orders = None

    def _look(self, entry: Entry, record: Record, *, described: bool) -> None:
        kind, row = entry.going.stored.kind, entry.row
        if kind is Kind.SEND:
            candidates = entry.going.stored.within.get(row.group, {})
            state, code, text = follow(record, self._book.wanted(record.group), candidates)
            text = join(joined_with(row.text), text)
            if (state, text) != (row.state, row.text):
                self._targets.become(entry, state, code=code, text=text)
        elif record.kind is AgentKind.STOCK:
            if kind is Kind.CHECK_IN or (described and row.state == _SENT):
                self._targets.become(entry, OperationState.SUCCEEDED)
        elif row.state == _QUEUED and record.state is not None and record.state.generation < OPERATIONS:
            self._targets.fail(entry, too_old(record.state.agent_version))

    def unreached(self, uid: str, error: PophamError) -> None:
        """Take note that a visit failed: where the agent's service is off, a send fails, and orders wait and say why.

        An agent that comes another way is served by that way.
        """
        record = self._book.record(uid)
        if record is None or error.code not in REFUSING or comes(record, self._clock.now()):
            return
        for entry in self._targets.of_agent(uid):
            row = entry.row
            if row.state == _QUEUED and entry.going.stored.kind is Kind.SEND:
                self._targets.fail(entry, error)
            elif row.state == _QUEUED and row.text != error.problem:
                entry.row = replace(row, text=error.problem)
                self._targets.keep(entry)

    def lacks_outputs(self, record: Record) -> Sequence[str]:
        """Return digests of outputs that this agent's results name, and that are not here."""
        return tuple(record.orders.want_outputs) if record.orders is not None else ()

    async def take_output(self, record: Record, sha256: str, body: bytes) -> None:
        """Keep an output; errors as :meth:`popham.upstream.orders.Ordering.take_output`, and StateError."""
        try:
            await self.outputs.take(record.uid, sha256, body)
        except NotFoundError:
            self._offering.forget_output(record, sha256)  # or it were asked for for ever
            raise
        self._offering.forget_output(record, sha256)

    # Time.

    async def run(self) -> None:
        """End what expires, until cancelled."""
        try:
            while True:
                await self.expire()
                await self._targets.deadlines.wait(self._clock.now())
        finally:
            await self._targets.aclose()

    async def expire(self) -> None:
        """End what is due."""
        for count in itertools.count(1):
            entry = self._targets.deadlines.take(self._clock.now())
            if entry is None:
                return
            self._expire(entry)
            if count % SLICE == 0:
                await asyncio.sleep(0)

    async def settle(self) -> None:
        """Return once all that is known now is durable. Raises StateError."""
        await self._targets.settle()

    def _take_back(self, record: Record | None) -> None:
        """Have the proxy told that an agent is at: what is over is offered there no more."""
        if record is not None and record.via:
            self._tell(record)

    def _expire(self, entry: Entry) -> None:
        """End a target whose time is over; who was told has until its next contact to say what became of it."""
        row, record = entry.row, self._book.record(entry.row.uid)
        if row.state == _QUEUED and not self._offering.is_handed_on(entry):
            text = join(row.text, "its agent was not in contact in time")
            self._targets.become(entry, OperationState.EXPIRED, text=text)
            self._take_back(record)
            return
        if record is None or is_followed(entry, record):
            text = join(row.text, "it did not come to its end in time")
            self._targets.become(entry, OperationState.EXPIRED, text=text)
            return
        last = row.expires + record.promise + (LASTS if row.state == _RUNNING else TOLD)
        if self._clock.now() < last:
            self._offering.stop(entry)
            self._targets.plan(entry, last)
        elif row.state == _RUNNING:
            self._targets.become(entry, OperationState.UNKNOWN, text="it began, and was not heard of since")
        else:
            text = "it was told, and has not said whether it began"
            self._targets.become(entry, OperationState.EXPIRED, text=text)


def is_shut_out(record: Record | None) -> bool:
    """Return whether an agent says nothing any more."""
    return record is None or record.admission in {Admission.REFUSED, Admission.REVOKED}
