"""Takes documents of operations, and says what came of them until that was heard.

Checks in order: signature, audience, ledger, expiry, kind, this machine's own configuration, room.

Rules:

1. Whatever may not be begun has a result at once, which says why.
2. A nonce that is known begins nothing; its result is said again.
3. A result is said until upstream named it as heard.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from popham.agent.operations.kinds import Done, Follows, cut, fail, signed_at
from popham.agent.operations.ledger import Entry, Ledger
from popham.agent.operations.pause import Pause
from popham.agent.operations.said import Said
from popham.agent.settings import OperationsSettings
from popham.agent.state import AgentState
from popham.clock import Clock
from popham.errors import OperationError, PophamError, StateError, TrustError
from popham.model.operation import DOCUMENTS, Kind, Operation, OperationState, check_args
from popham.trust.operation import open_operation
from popham.trust.tuf import TrustedTuf

_log = logging.getLogger(__name__)
WAITING: Final = 8
"""Operations that wait for their turn at most; as many may be watched."""

REFUSED: Final = 64
"""Operations that are known to be refused, without a place on the disk, at most: what is said of them stays so."""


class Taking(ABC):
    """The taking half of :class:`popham.agent.operations.runner.Operations`."""

    def __init__(
        self,
        state: AgentState,
        tuf: TrustedTuf,
        clock: Clock,
        enforcer: Follows,
        *,
        settings: OperationsSettings,
        news: Callable[[], None],
    ) -> None:
        """Read what is kept.

        Args:
            state: What this machine keeps.
            tuf: Says who the director is.
            clock: Wall time.
            enforcer: Knows what is in force, and what the director has signed.
            settings: What this machine permits.
            news: Called when there is something to report.
        """
        self._state = state
        self._tuf = tuf
        self._clock = clock
        self._settings = settings
        self._news = news
        self._enforcer = enforcer
        self._ledger = Ledger(state.room, max(clock.now(), signed_at(enforcer)))
        self._pause = Pause(state.room)
        self._said = Said(state)
        self._refused: dict[str, Entry] = {}

    @property
    def paused_at(self) -> float:
        """When collection was paused, in unix seconds; 0 while it is not."""
        return self._pause.at

    def take(self, envelopes: Sequence[bytes]) -> None:
        """Take documents of operations.

        Raises:
            TrustError: One of them may not be believed; the others were taken.
        """
        refused: TrustError | None = None
        for envelope in envelopes[:DOCUMENTS]:
            try:
                operation = open_operation(envelope, tuf=self._tuf, uid=self._state.uid)
            except TrustError as error:
                refused = refused or error
            else:
                self._take(operation)
        if refused is not None:
            raise refused

    def _take(self, operation: Operation) -> None:
        self._ledger.raise_floor(max(operation.issued, signed_at(self._enforcer)))
        if operation.kind is Kind.CANCEL:
            self._cancel(operation)
            return
        known = self._held(operation.nonce).get(operation.nonce)
        if known is not None:
            self._say_again(known)
            return
        if self._waits(operation.nonce):
            return
        try:
            self._check(operation)
        except PophamError as error:
            expired = error.code == "operation.expired"
            self._refuse(operation, OperationState.EXPIRED if expired else OperationState.FAILED, fail(error))
        else:
            self._accept(operation)

    @abstractmethod
    def _accept(self, operation: Operation) -> None:
        """Have an operation carried out that may be."""

    @abstractmethod
    def _cancel(self, operation: Operation) -> None:
        """Take back the operation that this one names."""

    @abstractmethod
    def _waits(self, nonce: str) -> bool:
        """Return whether an operation waits for its turn."""

    @property
    @abstractmethod
    def _has_room(self) -> bool:
        """Whether one more operation may wait."""

    def _say_again(self, entry: Entry) -> None:
        """Say a result again of which upstream knows nothing any more, or it would not ask."""
        if entry.heard >= entry.revision:
            self._held(entry.nonce)[entry.nonce] = replace(entry, heard=0)
            self._news()

    def _held(self, nonce: str) -> dict[str, Entry]:
        """Return where an entry is: in the ledger, or among those that were refused and could not be kept there."""
        return self._refused if nonce in self._refused else self._ledger.entries

    def _check(self, operation: Operation) -> None:
        """Raise a PophamError if an operation is not to be begun."""
        kind = operation.kind
        if operation.issued <= self._ledger.since:
            problem = "the record of what was done here was damaged, so what was ordered before is not begun"
            raise OperationError(
                "ledger", problem, "Look at the machine, and order it again after 10 minutes"
            )
        self._check_time(operation)
        if kind is None:
            raise OperationError("kind", "this agent does not know this kind", "Upgrade the agent")
        if kind in self._settings.refuse:
            problem = f"this machine's own configuration refuses {kind}"
            raise OperationError("refused", problem, "Change 'refuse' under [operations] there")
        args = check_args(kind, operation.args)
        if kind is Kind.RUN and args["name"] not in self._settings.run:
            problem = f"this machine's own configuration does not let {args['name']!r} be run"
            raise OperationError("refused", problem, "Add it to 'run' under [operations] there")
        if not self._has_room:
            problem = f"{WAITING} operations wait here already"
            raise OperationError("busy", problem, "Order it again later")

    def _check_time(self, operation: Operation) -> None:
        now = self._ledger.now(self._clock.now())
        if operation.expires < now:
            late = round(now - operation.expires)
            problem = f"it came {late} s after its expiry, by the time that is known here"
            raise OperationError(
                "expired", problem, "Order it again; if that is wrong, look at the clock there"
            )

    def _refuse(self, operation: Operation, state: OperationState, done: Done) -> None:
        """Say that an operation is not begun; that is kept, unless there is no room."""
        now = self._clock.now()
        _log.info("operation %s is not begun: %s", operation.operation, done.code)
        entry = entry_of(operation, state, code=done.code, text=cut(done.text), ended=now)
        try:
            self._ledger.begin(entry, now)
        except (OperationError, StateError) as error:
            _log.warning("that operation %s was refused is not kept: %s", operation.operation, error)
            self._refused[entry.nonce] = entry
            while len(self._refused) > REFUSED:
                del self._refused[next(iter(self._refused))]
        self._news()

    def heard(self, named: Sequence[str]) -> None:
        """Take note of results that are durable upstream, as ``nonce:revision``; with them there is room for others."""
        left_out = self._said.left_out
        for one in named:
            nonce, _, number = one.partition(":")
            revision = int(number) if number.isascii() and number.isdigit() else 0
            held = self._held(nonce)
            entry = held.get(nonce)
            if entry is not None and entry.heard < revision <= entry.revision:
                # It is durable with the next entry: who says it once more costs nobody anything.
                held[nonce] = replace(entry, heard=revision)
        self._ledger.save_again()
        if named and left_out:
            self._news()

    # What this end says.

    def results(self) -> list[bytes]:
        """Return sealed results that upstream did not name as heard, as many as one report takes."""
        return self._said.seal([*self._ledger.entries.values(), *self._refused.values()])


def entry_of(
    operation: Operation,
    state: OperationState,
    *,
    code: str = "",
    text: str = "",
    began: float = 0.0,
    ended: float = 0.0,
) -> Entry:
    """Return an operation as it stands in the ledger."""
    return Entry(
        nonce=operation.nonce,
        operation=operation.operation,
        kind=str(operation.kind or ""),
        issued=operation.issued,
        expires=operation.expires,
        state=state,
        args=dict(operation.args),
        code=code,
        text=text,
        began=began,
        ended=ended,
    )
