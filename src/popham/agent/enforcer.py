"""Brings a machine to what its bundles say, and back where that breaks it.

Rules:

1. The last good bundle stays in force until a newer one was applied whole.
2. Whatever was interrupted goes on from what is kept, without asking upstream.
3. What holds is the part of a bundle for the location in which the machine is. A location changes
   without upstream: bodies for all of them are fetched ahead.
4. With download off the bundle in force stays, and switches among its own locations; settings and
   rules are the newest one's.
5. What is needed to go back is durable before another set is applied; see :mod:`popham.agent.probation`.
6. Who no longer waits for a set does not end it in the middle.
7. A policy that upstream withholds stays in its former version, or out; the rest is applied, and each
   later contact asks again once.
8. A candidate that is held is fetched and checked as well, and changes nothing: see :mod:`popham.agent.candidate`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

from popham.agent.apply import Applied
from popham.agent.bodies import AskedOnce, Fetch, Gathered
from popham.agent.candidate import Candidate
from popham.agent.in_force import InForce
from popham.agent.probation import CONTACT, Trials
from popham.agent.state import AgentState
from popham.agent.storage import FULL
from popham.agent.undoing import Applies, Undoing
from popham.clock import Clock
from popham.errors import PolicyError, StateError, TrustError
from popham.model.bundle import PolicyRef
from popham.model.status import Outcome
from popham.trust.tuf import TrustedTuf

__all__ = ["Applies", "Enforcer", "Fetch"]
_log = logging.getLogger(__name__)


async def _stay() -> None:
    """Look nowhere: without a locator a machine stays where it was."""


class Enforcer(Undoing):
    """Keeps one machine on its orders.

    Attributes:
        look: Finds out where the machine is, and calls :meth:`move`; asked before anything is applied
            under rules that nobody looked by yet.
        touched: Called when upstream answered what was said since the set in force came into force.
        brought: Called when another set came into force.
    """

    def __init__(
        self,
        state: AgentState,
        applier: Applies,
        tuf: TrustedTuf,
        clock: Clock,
        changed: Callable[[], None],
        trials: Trials | None = None,
    ) -> None:
        """Read what is kept; nothing is applied before :meth:`settle`.

        Args:
            state: What this machine keeps.
            applier: Brings policies into force.
            tuf: Says whose signature counts.
            clock: For the time at which an outcome began.
            changed: Called when there is something to report.
            trials: Watch what comes into force; None, and nothing is watched.
        """
        super().__init__(state, applier, tuf, clock, changed, trials)
        self._candidate = Candidate(applier, self._bodies, changed)
        self.look: Callable[[], Awaitable[None]] = _stay
        self.touched: Callable[[], None] = lambda: None
        self.brought: Callable[[], None] = lambda: None

    async def settle(self, fetch: Fetch) -> None:
        """Bring the newest bundle into force, if that is still to be done, and fetch what other locations need.

        At the first call of a process also what was in force is looked at again,
        since files, or what the machine permits, may have changed while no agent ran.

        Raises:
            LinkError: A body could not be fetched; the next call goes on.
        """
        in_touch, rules, fetch = self._in_touch, self.rules, AskedOnce(fetch)
        if rules is not None and rules != self._looked_by:
            await self.look()
            # New rules are no change of the network.
            self._in_touch = in_touch
        try:
            while self.newest is not None and self._unsettled:
                aim, whole = self._aim, self.newest.bundle.download
                found = await self._bodies.gather(aim, self.in_force, fetch, download=whole)
                if not await _whole(self._bring_now(aim, found)):
                    break
            await self._fetch_ahead(fetch)
            await self._candidate.hold(self._held_candidate, fetch, self._applying)
        except TrustError as error:
            self.refuse(error)
        except PolicyError as error:
            self._fail(error)

    async def _bring_now(self, aim: InForce | None, found: Gathered) -> bool:
        """Bring ``aim`` into force, if that is still wanted; return whether to look for more to be done."""
        async with self._applying:
            # Meanwhile the machine may have moved, or somebody else may have done it.
            if aim is not self._aim or not self._unsettled:
                return True
            return await self._bring(aim, found) and not (found.withheld and aim is self._aim)

    @property
    def _unsettled(self) -> bool:
        return not self._confirmed or self.progress.outcome is Outcome.APPLYING

    @property
    def missing(self) -> bool:
        """Whether a body of the newest bundle, in whatever location, has still to be fetched."""
        return any(self._bodies.lacks([ref]) for ref in self._named())

    @property
    def lacking(self) -> list[PolicyRef]:
        """Policies of the newest bundle, in whatever location, whose bodies are not here."""
        return [ref for ref in self._named() if self._bodies.lacks([ref])]

    def _named(self) -> Iterator[PolicyRef]:
        newest = self.newest
        if newest is not None and newest.bundle.download and not self._complete:
            yield from self._bodies.everywhere(newest)
        yield from self._candidate.lacking(self._held_candidate)

    # A candidate that it holds.

    @property
    def _held_candidate(self) -> InForce | None:
        """The newest bundle as its candidate would have it here; None if there is none that agents may have by name."""
        newest = self.newest
        if newest is None or newest.uses_candidate or not newest.bundle.download:
            return None
        rollout, other = newest.whole.rollout, newest.other
        return self._placed(other) if rollout is not None and rollout.named else None

    @property
    def uses_candidate(self) -> bool:
        """Whether the candidate of a rollout is to hold here."""
        return self.newest is not None and self.newest.uses_candidate

    @property
    def candidate(self) -> str:
        """Digest of the resolved policy of the candidate that is held here, whole and checked; empty if there is none."""
        return self._candidate.resolved_of(self._held_candidate)

    @property
    def candidate_serial(self) -> int:
        """Serial of the candidate that is to be held here; 0 if there is none."""
        held = self._held_candidate
        return held.serial if held is not None else 0

    @property
    def candidate_error(self) -> str:
        """Why the candidate cannot be held, in a sentence; empty if it can."""
        return self._candidate.error_of(self._held_candidate)

    async def _bring(self, aim: InForce | None, found: Gathered) -> bool:
        """Bring ``aim`` into force; None while download is off, or all was undone, and nothing ever was.

        Returns:
            Whether there is more to be done now; not where the disk takes nothing: that is tried at the next contact.
        """
        if aim is not None:
            begins = self.blocked is None and found.resolved != self.progress.applied_resolved
            try:
                if begins:
                    former = self.in_force.where(self.progress.applied_resolved) if self.in_force else None
                    self.trials.begin(aim.held.resolved_digest, aim.serial, former, contact=self._in_touch)
                await self._applier.apply(found.policies)
            except (PolicyError, StateError) as error:
                held = self.progress.applied_resolved
                await self._fall_back()
                if begins or self.progress.applied_resolved != held:
                    self.trials.give_up(self.progress.applied_resolved)
                if aim is self._aim:
                    self._fail(error)
                    self._confirmed = error.code != FULL
                return error.code != FULL
            self._held = found.policies
            self._note_brought(aim, found)
            trial = self.trials.trial
            if begins:
                self.brought()
                self.trials.applied()
            elif trial is not None and trial.resolved != aim.held.resolved_digest and not trial.undoing:
                # The process that began it ended before it was in force, and something else is wanted by now.
                self.trials.give_up(found.resolved)
            return True
        self._confirmed = True
        if self.progress.outcome is not self._outcome(())["outcome"]:
            self._note(**self._outcome(()))
        return True

    def _note_brought(self, aim: InForce, found: Gathered) -> None:
        """Make durable that ``aim`` is in force, but for what is withheld of it."""
        arrived, known = aim is self._aim, self._is_noted(aim)
        self._confirmed = self._confirmed or arrived
        if known and not found.withheld:
            return
        said: dict[str, Any] = self._outcome(found.withheld) if arrived else {}
        _log.info("serial %d is applied, group %s in %s", aim.serial, aim.bundle.group, aim.location)
        actual = aim.only(found.parts)
        other = self.in_force is None or self.in_force.envelope != aim.envelope
        said |= {"applied_serial": aim.serial, "applied_resolved": found.resolved, "parts": actual.here}
        if found.parts is not None:
            # What stays of a former bundle is known here alone, once that bundle is not kept any more.
            self._note(durable=True, **said)
        if other:
            self._state.save_last_good(aim.envelope)
        self.in_force = actual
        self._note(**said)

    def _outcome(self, withheld: tuple[str, ...]) -> dict[str, Any]:
        """Return what is reported once what was aimed at is in force."""
        if self.blocked is not None:
            code, error = self.blocked.code, self.blocked.error
            return {"outcome": Outcome.FAILED, "error_code": code, "error": error, "withheld": ()}
        outcome = Outcome.APPLYING if withheld else Outcome.APPLIED
        return {"outcome": outcome, "error_code": "", "error": "", "withheld": withheld}

    def _is_noted(self, aim: InForce) -> bool:
        """Return whether it is kept already that ``aim`` is in force; a kill may come before that."""
        if self.progress.outcome is not self._outcome(())["outcome"]:
            return False
        held = self.in_force
        same = held is not None and held.bundle.content_digest == aim.bundle.content_digest
        same = same and held is not None and held.uses_candidate is aim.uses_candidate
        return same and self.progress.applied_resolved == aim.held.resolved_digest

    async def _fall_back(self) -> None:
        """Where the newest cannot be applied, the last good one follows the machine by what is here of it."""
        held = self._placed(self.in_force)
        if held is None or held is self.in_force or held == self._aim:
            return
        try:
            here = self._bodies.read(held)
            if here is None:
                return
            await self._applier.apply(here)
        except (PolicyError, StateError) as error:
            _log.warning("serial %d was not applied in %s: %s", held.serial, held.location, error)
            return
        self.in_force, self._held = held, tuple(here)
        self._keep(applied_resolved=held.held.resolved_digest, parts=held.here)

    def _fail(self, error: PolicyError | StateError) -> None:
        serial = self.newest.serial if self.newest else 0
        _log.warning("serial %d was not applied: %s", serial, error)
        self._confirmed = True
        self._note(outcome=Outcome.FAILED, error_code=error.code, error=str(error), withheld=())

    async def _fetch_ahead(self, fetch: Fetch) -> None:
        """Fetch the bodies of every location, so that a change of location needs nobody."""
        newest = self.newest
        if newest is None or self._complete or not newest.bundle.download:
            return
        whole = await self._bodies.get_ahead(self._bodies.everywhere(newest), fetch)
        self._complete = whole and self.newest is not None and newest.bundle is self.newest.bundle

    # What differs from what is in force.

    def find_held(self) -> list[Applied]:
        """Return what is in force as far as it is known, also before the first :meth:`settle` of a process."""
        if self._held is not None:
            return list(self._held)
        held = self.in_force.where(self.progress.applied_resolved) if self.in_force else None
        try:
            return self._bodies.read(held) or []
        except PolicyError:
            return []

    async def restore(self) -> bool:
        """Apply what is in force again; what is reported of the newest bundle stays as it is.

        Returns:
            Whether it is known here what is in force.

        Raises:
            PolicyError: It could not be put back.
            StateError: The applier's own record is damaged.
        """
        async with self._applying:
            if self._held is None:
                self._held = self._kept()
            if self._held is not None:
                await self._applier.apply(self._held)
            return self._held is not None

    def _kept(self) -> tuple[Applied, ...] | None:
        """Return what was in force when this process began, if all of it is here."""
        resolved = self.progress.applied_resolved
        kept = self.in_force.where(resolved) if self.in_force else None
        here = self._bodies.read(kept) if kept and kept.held.resolved_digest == resolved else None
        return None if here is None else tuple(here)

    def heard(self, *, answered: bool = True) -> None:
        """Take note that upstream was heard: what was undone for want of that is tried once more.

        Args:
            answered: Whether it answered what was said since the set in force came into force; what was on
                its way before says nothing of that set.
        """
        self._in_touch = True
        self._save_again()
        if answered:
            self.trials.hear()
            self.touched()
        if self.blocked is not None and self.blocked.code == CONTACT:
            self._try_again(asked=False)

    def look_again(self) -> None:
        """Have the next :meth:`settle` try a failed set again, and look at what is in force."""
        self._confirmed = False
        self._candidate.look_again()
        self._try_again(asked=True)

    def _try_again(self, *, asked: bool) -> None:
        newest = self.newest
        if newest is not None and self.trials.release(newest.held.resolved_digest, asked=asked):
            _log.info("serial %d, which was undone, is tried again", newest.serial)
            self._place()
            self._keep(outcome=Outcome.APPLYING, error_code="", error="")

    @property
    def unsupported(self) -> tuple[str, ...]:
        """Policy types of the newest bundle that this agent has no applier for."""
        if self.newest is None:
            return ()
        types = {ref.type for ref in self.newest.held.policies}
        return tuple(sorted(types - self._applier.supported))


async def _whole(work: Coroutine[Any, Any, bool]) -> bool:
    """Run ``work``; a cancellation waits for its end, and then ends who waits."""
    running = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return running.result()
