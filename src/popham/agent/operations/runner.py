"""Carries operations out, one after the other.

Rules:

1. Nothing begins before its nonce is durable; what began and has no result when a process begins is settled by what
   can be known, and never begun again.
2. What waits for other messages (a round, a candidate, a key) stops no other operation.
3. Whatever fails, a full disk included, is a result; the agent goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

from popham.agent.operations.kinds import (
    BESIDE,
    ENDED,
    WATCHED,
    Done,
    Follows,
    Means,
    cut,
    fail,
    judge,
    run_named,
)
from popham.agent.operations.ledger import Entry
from popham.agent.operations.outputs import Outputs
from popham.agent.operations.taking import WAITING, Taking, entry_of
from popham.agent.settings import OperationsSettings
from popham.agent.state import AgentState
from popham.clock import Clock
from popham.errors import OperationError, PophamError, StateError, WireError
from popham.model.operation import DOCUMENTS, Kind, Operation, OperationState, check_args
from popham.trust.tuf import TrustedTuf

_log = logging.getLogger(__name__)
LOOK: Final = 60.0
"""Seconds between looks at the clock while an operation is watched: it may be set."""


class Operations(Taking):
    """What is ordered once of one agent; :meth:`run` is its one task."""

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
        """Read what is kept; nothing is carried out before :meth:`attend` and :meth:`run`.

        Arguments as of :class:`popham.agent.operations.taking.Taking`.
        """
        super().__init__(state, tuf, clock, enforcer, settings=settings, news=news)
        self._outputs = Outputs(state.room)
        self._means: Means | None = None
        self._waiting: deque[Operation] = deque()
        self._busy: Operation | None = None
        self._doing: dict[str, asyncio.Task[None]] = {}
        self._ended: set[str] = set()
        self._wanted: dict[str, None] = {}
        self._given: set[str] = set()
        self._turn, self._idle, self._upload, self._watching = (asyncio.Event() for _ in range(4))
        self._idle.set()

    def _accept(self, operation: Operation) -> None:
        if operation.kind in WATCHED:
            self._watch(operation)
        else:
            self._waiting.append(operation)
            if operation.kind not in BESIDE:
                self._idle.clear()
            self._turn.set()

    def _waits(self, nonce: str) -> bool:
        return any(one.nonce == nonce for one in self._waiting)

    @property
    def _has_room(self) -> bool:
        return len(self._waiting) < WAITING and len(self._watched) < WAITING

    def _cancel(self, operation: Operation) -> None:
        """Take back another operation, wherever it is; one that never came will find that it is cancelled."""
        try:
            nonce = check_args(Kind.CANCEL, operation.args)["nonce"]
        except WireError as error:
            _log.warning("%s", error)
            return
        entry = self._ledger.entries.get(nonce)
        waiting = next((one for one in self._waiting if one.nonce == nonce), None)
        if waiting is not None:
            self._waiting.remove(waiting)
            self._look_idle()
        if entry is None and nonce not in self._held(nonce):
            never = _taken_back("it was taken back before it began")
            self._refuse(waiting or replace(operation, nonce=nonce), OperationState.CANCELLED, never)
        elif entry is not None and nonce in self._watched:
            self._finish(nonce, OperationState.CANCELLED, _taken_back("it was taken back"))
        elif entry is not None and nonce in self._doing and entry.kind in ENDED:
            self._ended.add(nonce)
            self._doing[nonce].cancel()
        elif entry is not None:
            self._say_again(entry)

    def want_outputs(self, digests: Sequence[str]) -> None:
        """Bring these outputs, where this end dials; elsewhere the Manager fetches them."""
        means = self._means
        if means is not None and digests and means.dials():
            self._wanted |= dict.fromkeys([one for one in digests if one not in self._given][:DOCUMENTS])
            self._upload.set()

    def output(self, sha256: str) -> bytes | None:
        """Return an output that is kept; None if it is not kept any more."""
        found = self._outputs.read(sha256)
        if found is None:
            self._note_lost(sha256)
        return found

    async def rest(self, seconds: float) -> None:
        """Wait until nothing is worked on, no longer than ``seconds``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    # What is watched.

    @property
    def _watched(self) -> Collection[str]:
        """Nonces of what is watched."""
        entries = self._ledger.entries.values()
        return [one.nonce for one in entries if not one.state.is_over and one.kind in WATCHED]

    def _watch(self, operation: Operation) -> None:
        if self._begin(operation) and self._means is not None:
            if operation.kind is Kind.CHECK_IN:
                self._means.check_in()
            self._watching.set()

    def settled(self) -> None:
        """Take note that what is to be in force was seen to: what waits for that may be done."""
        for nonce in self._watched:
            done = judge(self._ledger.entries[nonce], self._enforcer)
            if done is not None:
                self._end(nonce, done)

    async def _give_up(self) -> None:
        """Give up what is watched, once it is past its expiry."""
        while True:
            self._watching.clear()
            entries = [self._ledger.entries[nonce] for nonce in self._watched]
            now = self._ledger.now(self._clock.now())
            for entry in entries:
                if entry.expires < now:
                    problem = "it was not done before it expired"
                    self._end(
                        entry.nonce, fail(OperationError("late", problem, "Look at the agent's sync state"))
                    )
            left = [entry.expires - now for entry in entries if entry.expires >= now]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(min(left) + 1.0, LOOK) if left else None):
                    await self._watching.wait()

    # What is carried out.

    def attend(self, means: Means) -> None:
        """Use ``means`` from now on, and settle what the last process left in the middle."""
        self._means = means
        for entry in list(self._ledger.entries.values()):
            if not entry.state.is_over and entry.kind not in WATCHED:
                self._settle(entry, means)
        self._tidy()

    def _settle(self, entry: Entry, means: Means) -> None:
        """Say what became of an operation during which a process ended, by what can be known.

        A check-in and an ``apply`` are watched on: what they wait for is done by any process.
        """
        ended = "the agent's process ended before it was done"
        # That another process runs is all that was ordered.
        known = entry.kind == Kind.RESTART
        # Another key than then is in use.
        known |= entry.kind == Kind.ROTATE_KEY and means.keyid() != entry.before
        # These are one file each.
        known |= entry.kind == Kind.PAUSE_COLLECTION and self._pause.at > 0
        known |= entry.kind == Kind.RESUME_COLLECTION and not self._pause.at
        if known:
            self._finish(entry.nonce, OperationState.SUCCEEDED, Done())
        elif entry.kind in {Kind.PAUSE_COLLECTION, Kind.RESUME_COLLECTION, Kind.DIAGNOSE}:
            # The file says that it was not done; and a bundle that nobody has was not made.
            error = OperationError("interrupted", ended, "Order it again")
            self._finish(entry.nonce, OperationState.FAILED, fail(error))
        else:
            error = OperationError(
                "unknown", f"{ended}, and nobody can know how far it got", "Look at the machine"
            )
            self._finish(entry.nonce, OperationState.UNKNOWN, fail(error))

    async def run(self) -> None:
        """Carry out what was taken, until cancelled; what is in the middle then is ended."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._give_up())
            group.create_task(self._bring_outputs())
            while True:
                self._look_idle()
                while not self._waiting:
                    self._turn.clear()
                    await self._turn.wait()
                operation = self._waiting.popleft()
                doing = group.create_task(self._do(operation), name=f"operation {operation.operation}")
                self._doing[operation.nonce] = doing
                if operation.kind is Kind.ROTATE_KEY:
                    continue
                # After a restart begins, nothing else does.
                self._busy = None if operation.kind is Kind.RESTART else operation
                self._look_idle()
                await asyncio.wait({doing})
                self._busy = None

    def _look_idle(self) -> None:
        if all(one.kind in BESIDE for one in self._waiting) and self._busy is None:
            self._idle.set()

    async def _do(self, operation: Operation) -> None:
        nonce = operation.nonce
        try:
            if nonce in self._held(nonce):
                return  # it was taken back meanwhile, or came twice
            self._check_time(operation)
            if self._begin(operation):
                self._end(nonce, await self._carry_out(operation))
        except OperationError as error:
            self._refuse(operation, OperationState.EXPIRED, fail(error))
        except asyncio.CancelledError:
            if nonce not in self._ended:
                raise
            ended = _taken_back("it was ended in the middle, because it was taken back")
            self._finish(nonce, OperationState.CANCELLED, ended)
        finally:
            self._doing.pop(nonce, None)
            self._ended.discard(nonce)

    def _begin(self, operation: Operation) -> bool:
        """Make durable that an operation begins; return whether that could be done."""
        means, now = self._means, self._clock.now()
        entry = entry_of(operation, OperationState.RUNNING, began=now)
        if means is not None and operation.kind is Kind.ROTATE_KEY:
            entry = replace(entry, before=means.keyid())
        if operation.kind is Kind.APPLY:
            entry = replace(entry, before=self._enforcer.candidate)
        try:
            self._ledger.begin(entry, now)
        except OperationError as error:
            self._refuse(operation, OperationState.FAILED, fail(error))
            return False
        except StateError as error:
            self._refuse(operation, OperationState.FAILED, _no_room(error))
            return False
        self._news()
        return True

    async def _carry_out(self, operation: Operation) -> Done:
        try:
            return await self._perform(operation)
        except StateError as error:
            return _no_room(error) if error.code == "state.disk" else fail(error)
        except PophamError as error:
            return fail(error)
        except Exception:  # noqa: BLE001  # whatever it is, the agent stays, and its log says it
            _log.exception("operation %s failed", operation.operation)
            return fail(OperationError("fault", "this agent failed while it did it", "See its log"))

    async def _perform(self, operation: Operation) -> Done:
        means = self._means
        if means is None:
            raise OperationError("fault", "this agent is not ready to do it", "See its log")
        match operation.kind:
            case Kind.COLLECT:
                if self._pause.at:
                    problem = "collection is paused on this machine"
                    raise OperationError("paused", problem, "Order resume-collection first")
                await means.collect()
            case Kind.DIAGNOSE:
                return Done(output=await means.diagnose())
            case Kind.PAUSE_COLLECTION:
                self._pause.begin(self._clock.now())
                means.paused()
            case Kind.RESUME_COLLECTION:
                self._pause.end()
                means.paused()
            case Kind.RUN:
                return await run_named(str(operation.args["name"]), means)
            case Kind.ROTATE_KEY:
                await means.rotate()
            case Kind.RESTART:
                means.restart()
                await asyncio.get_running_loop().create_future()
        return Done()

    def _end(self, nonce: str, done: Done) -> None:
        """Keep what came of an operation, with its output."""
        entry, output = self._ledger.entries[nonce], None
        if done.output:
            try:
                output = self._outputs.keep(done.output, left_out=done.left_out)
                self._given.discard(output.sha256)
            except StateError as error:
                if entry.kind == Kind.DIAGNOSE:
                    done = _no_room(error)  # without it nothing was done
                else:
                    done = replace(done, text=f"{done.text}\n(the rest could not be kept: {error.problem})")
        state = OperationState.FAILED if done.code else OperationState.SUCCEEDED
        self._ledger.entries[nonce] = replace(entry, output=output)
        self._finish(nonce, state, done)

    def _finish(self, nonce: str, state: OperationState, done: Done) -> None:
        entry = self._ledger.entries[nonce]
        _log.info("operation %s (%s): %s", entry.operation, entry.kind, done.code or state)
        entry = replace(
            entry,
            state=state,
            revision=entry.revision + 1,
            code=done.code,
            text=cut(done.text),
            ended=self._clock.now(),
        )
        self._ledger.note(entry)
        self._tidy()
        self._news()

    # Outputs.

    async def _bring_outputs(self) -> None:
        while True:
            self._upload.clear()
            while self._wanted and self._means is not None:
                sha256 = next(iter(self._wanted))
                del self._wanted[sha256]
                body = self.output(sha256)
                if body is None:
                    continue
                known = self._naming(sha256, heard=True)
                try:
                    await self._means.upload(sha256, body)
                except (PophamError, OSError) as error:
                    _log.info(
                        "an output is not upstream yet, and is brought when it is asked for again: %s", error
                    )
                else:
                    # Another operation may have made the same meanwhile, and upstream ask for it once more.
                    if self._naming(sha256) <= known:
                        self._given.add(sha256)
                        self._outputs.drop(sha256)
            await self._upload.wait()

    def _naming(self, sha256: str, *, heard: bool = False) -> set[str]:
        """Return nonces of entries that name an output; with ``heard`` of those that upstream knows of."""
        return {
            one.nonce
            for one in self._ledger.entries.values()
            if one.output is not None
            and one.output.sha256 == sha256
            and (one.heard >= one.revision or not heard)
        }

    def _tidy(self) -> None:
        entries = self._ledger.entries.values()
        self._outputs.tidy(entries, self._clock.now())
        self._given &= {one.output.sha256 for one in entries if one.output is not None}

    def _note_lost(self, sha256: str) -> None:
        """Say that an output is to be had no more."""
        for entry in list(self._ledger.entries.values()):
            if entry.output is not None and entry.output.sha256 == sha256:
                self._ledger.note(replace(entry, output=None, revision=entry.revision + 1))
                self._news()


def _taken_back(problem: str) -> Done:
    return fail(OperationError("cancelled", problem))


def _no_room(error: StateError) -> Done:
    return fail(OperationError("disk", error.problem, error.hint))
