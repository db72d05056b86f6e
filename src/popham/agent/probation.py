"""What is on trial on this machine, what has proven itself, and what was undone.

Rules:

1. What was in force and passed its window is *proven*. Its bundle is kept before another set is applied,
   so that a process that ends at any step leaves a state from which it can be gone back to.
2. Without a trial, what is in force is proven, also if that is nothing.
3. What was undone is remembered by its resolved digest, whatever bundle brings it; passing its window forgets that.
4. Where another set follows inside a window, an undo goes back to the *former* one, if upstream was heard since
   that came into force and its checks held; it is on trial again, and goes back to the proven one itself.
5. For want of contact a set is undone at most twice; the second time is final, until other content comes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from popham.agent.in_force import InForce
from popham.agent.records import Trial, Undone
from popham.agent.state import AgentState
from popham.clock import Clock

CONTACT: Final = "policy.undone_contact"
CHECK: Final = "policy.undone_check"
CRASHES: Final = "policy.undone_crashes"
UNCLEAN: Final = 3
"""Starts of the process in a window, each after one that did not end well, that undo a set."""
GRACE: Final = 60.0
"""Seconds for which a set on trial is watched at least by a process that begins."""
MAX_UNDONE: Final = 16
"""Sets that were undone and are remembered."""
_TRIES: Final = 2
"""How often a set may come into force that is undone for want of contact."""


class Trials:
    """Keeps :class:`Probation`; each change is durable when the call returns.

    Attributes:
        number: Counts trials of this process, so that a verdict is of the one it was found on.
        changed: Called when another trial begins or one ends.
        answered: Whether upstream was heard since what is on trial came into force; forgotten with the process.
        doubted: Whether a check of it failed when it last ran.
    """

    def __init__(self, state: AgentState, clock: Clock, window: float = 0.0) -> None:
        """Go on with what is kept.

        Args:
            state: Keeps it.
            clock: Wall time.
            window: Seconds for which a set is watched; 0, and nothing is watched or undone.
        """
        self.number = 0
        self.changed: Callable[[], None] = lambda: None
        self.window = window
        self.answered = self.doubted = False
        self._state = state
        self._clock = clock
        self._held = state.probation()
        self._before: Trial | None = None
        self._next: Trial | None = None

    @property
    def trial(self) -> Trial | None:
        """What is on trial; None if what is in force has proven itself."""
        return self._held.trial if self.window else None

    @property
    def watched_until(self) -> float:
        """Wall time at which the newest window ends, in unix seconds; 0 if there was none."""
        return self._held.watched_until

    @property
    def all_undone(self) -> tuple[Undone, ...]:
        """Everything that was undone and is remembered, the newest last."""
        return self._held.undone

    def left(self) -> float:
        """Return the seconds that are left of the window; a clock that was put back does not make it longer."""
        trial = self.trial
        return min(trial.until - self._clock.now(), self.window) if trial else 0.0

    # The process.

    def begin_process(self) -> bool:
        """Take note that a process began; return whether the set on trial is to be undone for that."""
        trial = self.trial
        if trial is None:
            return False
        # While no process ran nobody watched, so a window that ended meanwhile did not end well.
        until = max(trial.until, self._clock.now() + min(GRACE, self.window))
        starts = trial.starts + 1 if trial.running else 0
        self._keep(trial=replace(trial, running=True, starts=starts, until=until))
        return starts >= UNCLEAN and not trial.undoing

    def end_process(self) -> None:
        """Take note that this process ends as it should."""
        if self.trial is not None:
            self._keep(trial=replace(self.trial, running=False, starts=0))

    # A trial.

    def begin(self, resolved: str, serial: int, former: InForce | None, *, contact: bool) -> None:
        """Keep what is needed to go back, before a set is applied that was not in force.

        Args:
            resolved: Resolved digest of the set.
            serial: Serial of its content.
            former: What is in force; None for nothing.
            contact: Whether there is contact now, so that the loss of it speaks against the set.
        """
        if not self.window:
            return
        held = self._before = self._held.trial
        if held is not None and held.proven == resolved:
            self._next = None
            return
        if held is not None and held.resolved == resolved and not held.undoing:
            self._next = held
            return
        stood = held is not None and former is not None and self._stood(held, former)
        if held is None:
            self._state.save_proven(former.envelope if former else None)
        elif stood and former is not None:
            self._state.save_former(former.envelope)
        one = Trial(
            resolved=resolved,
            serial=serial,
            until=self._clock.now() + self.window,
            contact=contact,
            location=held.location if held else former.location if former else "",
            proven=held.proven if held else former.held.resolved_digest if former else "",
        )
        if stood and former is not None:
            one = replace(one, former=former.held.resolved_digest, former_location=former.location)
        elif held is not None and held.former != resolved:
            one = replace(one, former=held.former, former_location=held.former_location)
        self._next = one
        self._keep(trial=one)

    def _stood(self, held: Trial, former: InForce) -> bool:
        """Return whether what is on trial, and in force, did well so far."""
        in_force = held.resolved == former.held.resolved_digest
        return in_force and not held.undoing and self.answered and not self.doubted

    def applied(self) -> None:
        """Take note that what :meth:`begin` was called for is in force: its window begins now."""
        if not self.window:
            return
        if self._next is None:
            self._end(trial=None)
            return
        until = self._clock.now() + self.window
        self._end(trial=replace(self._next, until=until), watched_until=until)

    def give_up(self, resolved: str) -> None:
        """Take note that it could not be applied, so that what was in force, ``resolved``, still is."""
        trial, before = self.trial, self._before
        if trial is None or trial.resolved == resolved:
            return
        if before is not None and before.resolved != resolved:
            before = None
        if before is None and resolved != trial.proven:
            before = replace(trial, resolved=resolved, until=self._clock.now() + self.window, contact=False)
        self._end(trial=before)

    def passed(self) -> None:
        """Take note that the window ended well: what is in force is proven."""
        trial = self.trial
        if trial is not None:
            self._end(
                trial=None, undone=tuple(one for one in self._held.undone if one.resolved != trial.resolved)
            )

    # What was undone.

    def undone(self, resolved: str) -> Undone | None:
        """Return what was undone with that digest and is not tried again; None if there is nothing against it."""
        one = self._find(resolved)
        return one if one is not None and not one.again and self.window else None

    def _find(self, resolved: str) -> Undone | None:
        return next((one for one in self._held.undone if one.resolved == resolved), None)

    @property
    def is_last(self) -> bool:
        """Whether an undo of what is on trial, for want of contact, would be final."""
        one = self._find(self.trial.resolved) if self.trial else None
        return one is not None and one.times + 1 >= _TRIES

    def undo(self, code: str, error: str) -> None:
        """Keep that the set on trial is being undone, before anything is done about it."""
        trial = self.trial
        if trial is None:
            return
        before = self._find(trial.resolved)
        now = Undone(
            resolved=trial.resolved,
            serial=trial.serial,
            code=code,
            error=error,
            at=self._clock.now(),
            times=before.times + 1 if before else 1,
        )
        others = [one for one in self._held.undone if one.resolved != trial.resolved]
        undone = (*others[-MAX_UNDONE + 1 :], now)
        self._keep(trial=replace(trial, undoing=code), undone=undone, watched_until=self._clock.now())

    def gone_back(self, serial: int, *, former: bool) -> None:
        """Take note that the proven set holds again, or the former one, which is on trial from now on.

        Args:
            serial: Serial of its content.
            former: Whether it is the former one.
        """
        trial = self.trial
        if trial is None or not former:
            self._end(trial=None)
            return
        until = self._clock.now() + self.window
        again = Trial(
            resolved=trial.former,
            serial=serial,
            until=until,
            contact=trial.contact,
            location=trial.location,
            proven=trial.proven,
        )
        self._end(trial=again, watched_until=until)

    def release(self, resolved: str, *, asked: bool) -> bool:
        """Let a set that was undone be tried again; return whether it is.

        Args:
            resolved: Its resolved digest.
            asked: Whether somebody asked for it; if not, contact returned.
        """
        one = self.undone(resolved)
        if one is None or (self.trial is not None and self.trial.undoing):
            return False
        if one.times >= _TRIES if one.code == CONTACT else not asked:
            return False
        again = replace(one, again=True)
        self._keep(undone=tuple(again if held is one else held for held in self._held.undone))
        return True

    def _end(self, **said: Any) -> None:
        self._before = self._next = None
        self.answered = self.doubted = False
        self._keep(**said)
        self.number += 1
        self.changed()

    def _keep(self, **said: Any) -> None:
        held = replace(self._held, **said)
        if held != self._held:
            self._state.save_probation(held)
            self._held = held
