"""Undoes a set: brings what has proven itself into force again, whatever ended on the way.

Rules:

1. That a set is being undone is durable before anything is done about it, and what holds then is durable before
   that is forgotten.
2. What it goes back to is the former set, else the proven one; where neither is to be had, what is in force stays,
   and that is said.
3. What cannot be brought back now, such as for a command that fails, is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from popham.agent.bodies import Bodies
from popham.agent.documents import Documents
from popham.agent.in_force import InForce
from popham.agent.kept import read_former, read_proven
from popham.agent.planning import Applied
from popham.agent.probation import CRASHES, UNCLEAN, Trials
from popham.agent.records import Trial
from popham.agent.state import AgentState
from popham.clock import Clock
from popham.errors import PolicyError, StateError, TrustError
from popham.model.status import Outcome
from popham.trust.tuf import TrustedTuf

_log = logging.getLogger(__name__)
_NOTHING: dict[str, Any] = {"applied_serial": 0, "applied_resolved": "", "parts": None}


class Applies(Protocol):
    """What an enforcer needs of an applier; :class:`popham.agent.apply.Applier` is one."""

    @property
    def supported(self) -> frozenset[str]:
        """Policy types it can apply."""
        ...

    async def apply(self, policies: Sequence[Applied]) -> None:
        """Make all of ``policies`` hold; raise PolicyError, and the machine is as it was before."""
        ...

    async def check(self, policies: Sequence[Applied]) -> None:
        """Raise PolicyError if ``policies`` could not be applied, as far as that can be known; change nothing."""
        ...


@dataclass(frozen=True, slots=True)
class _Way:
    """What an undo goes back to; None for nothing in force."""

    back: InForce | None
    policies: Sequence[Applied]
    former: bool


class Undoing(Documents):
    """Goes back, by itself, from what broke its machine."""

    def __init__(
        self,
        state: AgentState,
        applier: Applies,
        tuf: TrustedTuf,
        clock: Clock,
        changed: Callable[[], None],
        trials: Trials | None = None,
    ) -> None:
        """Read what is kept; arguments as of :class:`popham.agent.enforcer.Enforcer`."""
        super().__init__(state, tuf, clock, changed, trials)
        self._applier = applier
        self._bodies = Bodies(state, lambda: applier.supported)
        self._held: tuple[Applied, ...] | None = None
        self._confirmed = False
        self._applying = asyncio.Lock()

    async def begin_process(self) -> None:
        """Go on with an undo that the last process left, or undo what ended it again and again."""
        try:
            await self._begin_process()
        except StateError as error:
            # An undo that began is tried again soon; one that could not begin, by the next process.
            _log.warning("what is on trial cannot be undone yet: %s", error)

    async def _begin_process(self) -> None:
        trial = self.trials.trial
        if trial is not None and not self._is_known(trial.resolved):
            # Others followed while nobody watched: an older program ran, or the window was 0 for a while.
            _log.info("serial %d is on trial no more: other content came since", trial.serial)
            self.trials.gone_back(0, former=False)
            trial = None
        crashed = self.trials.begin_process()
        async with self._applying:
            if crashed and trial is not None:
                problem = (
                    f"serial {trial.serial} was undone: since it came into force, the agent's process ended "
                    f"{UNCLEAN} times without being told to"
                )
                hint = "Correct the policy; 'popham check-in' has it tried again"
                error = PolicyError("undone_crashes", problem, hint)
                self.trials.undo(CRASHES, str(error))
            if self.trials.trial is not None and self.trials.trial.undoing:
                await self._go_back()

    async def undo(self, number: int, error: PolicyError | None = None) -> None:
        """Go back from what is on trial to what has proven itself, and report why.

        Args:
            number: The trial on which that was found; nothing is done if it is over.
            error: Why, as it is reported; None to go on with an undo that failed.
        """
        async with self._applying:
            trial = self.trials.trial
            if trial is None or self.trials.number != number:
                return
            if not trial.undoing and error is not None:
                _log.warning("%s", error)
                self.trials.undo(error.code, str(error))
            if trial.undoing or error is not None:
                await self._go_back()

    async def excuse(self, number: int) -> None:
        """Take note, and report, that an undo for want of contact did not bring contact back.

        Args:
            number: The trial at which that was found; nothing is done if it is over.
        """
        async with self._applying:
            if self.trials.number != number:
                return
            self.trials.excuse()
            blocked = self.blocked and self.trials.undone(self.blocked.resolved)
            if blocked is None or blocked == self.blocked:
                return
            _log.warning("%s", blocked.error)
            self.blocked = blocked
            if self.progress.outcome is Outcome.FAILED and self.progress.error_code == blocked.code:
                self._note(error=blocked.error)

    async def prove(self, number: int) -> None:
        """Take note that the window of a trial ended well; nothing is done where another set is on trial by now."""
        async with self._applying:
            trial = self.trials.trial
            if trial is not None and self.trials.number == number and not trial.undoing:
                _log.info("serial %d has proven itself", trial.serial)
                self.trials.passed()

    async def _go_back(self) -> None:
        """Bring the proven set into force, and note that; a kill on the way has the next process do it again."""
        trial = self.trials.trial
        if trial is None:
            return
        undone = next((one for one in self.trials.all_undone if one.resolved == trial.resolved), None)
        said: dict[str, Any] = {"outcome": Outcome.FAILED, "error_code": trial.undoing, "withheld": ()}
        why = undone.error if undone else ""
        try:
            way = self._find_way(trial)
        except (PolicyError, StateError, TrustError) as error:
            _log.error("serial %d cannot be undone: %s", trial.serial, error)
            self.trials.gone_back(0, former=False)
            self._place()
            self._note_undone(error=f"{why}. There is nothing to go back to: {error}", **said)
            return
        try:
            await self._applier.apply(way.policies)
        except (PolicyError, StateError) as error:
            _log.error("serial %d could not be undone yet: %s", trial.serial, error)
            self._place()
            self._note_undone(error=f"{why}. It could not be undone yet: {error}", **said)
            return
        back = way.back
        if back is None:
            self._state.drop_last_good()
        else:
            self._state.save_last_good(back.envelope)
        self.in_force, self._held = back, tuple(way.policies)
        holds: dict[str, Any] = _NOTHING
        if back is not None:
            holds = {"applied_serial": back.serial, "applied_resolved": back.held.resolved_digest}
            holds["parts"] = back.here
        self._place()
        # A bundle that came before its outcome could be noted is looked at by the next settle().
        self._confirmed = self._confirmed or self.blocked is not None
        self._keep(durable=True, **holds, **({} if self._follows else {"error": why, **said}))
        self.trials.gone_back(back.serial if back else 0, former=way.former)
        self._place()
        self._changed()

    def _note_undone(self, **said: Any) -> None:
        if not self._follows:
            self._note(**said)

    def _find_way(self, trial: Trial) -> _Way:
        """Return what to go back to, with its bodies.

        Raises:
            PolicyError: ``policy.malformed``.
            StateError: It is not here, or damaged.
            TrustError: It cannot be read.
        """
        try:
            former = read_former(self._state, self._tuf, trial)
            if former is not None:
                return _Way(former, self._bodies.recall(former), former=True)
        except (PolicyError, StateError, TrustError) as error:
            _log.warning("what was in force just before is left out: %s", error)
        back = read_proven(self._state, self._tuf, trial) if trial.proven else None
        return _Way(back, self._bodies.recall(back), former=False)
