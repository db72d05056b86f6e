"""The targets that are open, by agent and by nonce: how each comes into another state, and is made durable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from popham.clock import Clock
from popham.errors import PophamError
from popham.manager.operations.deadlines import Deadlines
from popham.manager.operations.ledger import Entry, Going, Ledger
from popham.manager.operations.offering import Offering
from popham.manager.operations.stored import StoredOperation
from popham.manager.saving import Done
from popham.model.operation import Kind, OperationState
from popham.store.rows import TargetRow
from popham.store.seam import Store
from popham.trust.keys import SigningKey
from popham.upstream.record import Record

_UNTOLD = frozenset({OperationState.QUEUED, OperationState.CANCELLED, OperationState.EXPIRED})
"""States that an agent comes into without having been told."""


class OpenTargets:
    """Keeps open targets.

    Attributes:
        ended: State → targets that came to this end since the start.
        offering: What agents are told.
        deadlines: When each is looked at again.
    """

    def __init__(
        self, store: Store, find: Callable[[str], Record | None], director: SigningKey, clock: Clock
    ) -> None:
        """Keep none yet; ``find`` returns the record of an agent, and ``director`` signs."""
        self.ended: Counter[str] = Counter()
        self.offering = Offering(find, director, clock, self._handed_on)
        self.deadlines = Deadlines()
        self._clock = clock
        self._ledger = Ledger(store)
        self._states: Counter[str] = Counter()
        self._going: dict[int, Going] = {}
        self._nonces: dict[str, Entry] = {}
        self._agents: dict[str, dict[int, Entry]] = {}

    @property
    def operations(self) -> int:
        """Return how many operations have targets that are open, or not durable yet as over."""
        return len(self._going)

    @property
    def states(self) -> Mapping[str, int]:
        """Return state → open targets."""
        return {state: count for state, count in self._states.items() if count}

    def of_agent(self, uid: str) -> Sequence[Entry]:
        """Return the open targets of an agent."""
        return list(self._agents.get(uid, {}).values())

    def of_operation(self, number: int) -> Sequence[Entry]:
        """Return the open targets of an operation."""
        return [held[number] for held in self._agents.values() if number in held]

    def of_kind(self, kind: Kind) -> Sequence[Entry]:
        """Return the open targets of all operations of a kind."""
        numbers = [number for number, going in self._going.items() if going.stored.kind is kind]
        return [entry for number in numbers for entry in self.of_operation(number)]

    def count(self, uid: str) -> int:
        """Return how many open targets an agent has."""
        return len(self._agents.get(uid, ()))

    def at(self, nonce: str) -> Entry | None:
        """Return the target of a document; None if that is over, and durable, or was never open."""
        return self._nonces.get(nonce)

    def begin(self, stored: StoredOperation, count: int) -> Going:
        """Return an operation that has so many open targets more, each of which is taken up next."""
        going = self._going.setdefault(stored.number, Going(stored))
        going.left += count
        return going

    def take_up(self, going: Going, row: TargetRow) -> Entry:
        """Keep a target that is open in the database, and have its agent told."""
        entry = Entry(going, row, saved=row.revision)
        self._states[row.state] += 1
        self._agents.setdefault(row.uid, {})[row.operation] = entry
        if row.nonce:
            self._nonces[row.nonce] = entry
        self.plan(entry, row.expires)
        self.offering.offer(entry)
        return entry

    def plan(self, entry: Entry, deadline: float) -> None:
        """Have a target looked at when that time comes, in unix seconds."""
        self.deadlines.plan(entry, deadline, open_targets=self._states.total())

    def become(self, entry: Entry, state: OperationState, *, done: Done | None = None, **said: Any) -> None:
        """Bring a target into another state, and have that made durable; ``said`` are columns of its row."""
        row, now = entry.row, self._clock.now()
        if state not in _UNTOLD:
            said.setdefault("sent", row.sent or now)
        self._states[row.state] -= 1
        entry.row = replace(row, state=str(state), open=not state.is_over, since=now, **said)
        if entry.row.open:
            self._states[state] += 1
        else:
            self.ended[state] += 1
            others = self._agents.get(row.uid, {})
            others.pop(row.operation, None)
            if not others:
                self._agents.pop(row.uid, None)
            self.offering.withdraw(entry, others.values())
        self.keep(entry, done)

    def _handed_on(self, entry: Entry) -> None:
        """Have it durable that a Proxy Manager has a document, which nobody else knows after the next start."""
        if entry.row.open and not entry.row.sent:
            entry.row = replace(entry.row, sent=self._clock.now())
            self.keep(entry)

    def fail(self, entry: Entry, error: PophamError) -> None:
        """Bring a target to its end, since it cannot be done."""
        row = entry.row
        self.become(entry, OperationState.FAILED, code=error.code, text=error.problem, sent=row.sent)

    def keep(self, entry: Entry, done: Done | None = None) -> None:
        """Have a target made durable as it is; ``done`` never raises."""
        self._ledger.keep(entry, partial(self._kept, entry, done))

    async def settle(self) -> None:
        """Return once all that is known now is durable. Raises StateError."""
        await self._ledger.settle()

    async def aclose(self) -> None:
        """Stop writing; what is not durable is said again after the next start."""
        await self._ledger.aclose()

    def _kept(self, entry: Entry, done: Done | None, error: BaseException | None) -> None:
        """Take note that a target is durable, or not yet; what is over is forgotten then."""
        row = entry.row
        if error is None and not row.open:
            self._nonces.pop(row.nonce, None)
            if not entry.going.left:
                self._going.pop(row.operation, None)
        if done is not None:
            done(error)
