"""What is on trial on this machine, what has proven itself, and what was undone.

Rules:

1. What was in force and passed its window is *proven*. Its bundle is kept before another set is applied,
   so that a process that ends at any step leaves a state from which it can be gone back to.
2. Without a trial, what is in force is proven, also if that is nothing.
3. What was undone is remembered by its resolved digest, whatever bundle brings it; passing its window forgets that.
4. Where another set follows inside a window, an undo goes back to the *former* one, if upstream was heard since
   that came into force and its checks held; it is on trial again, and goes back to the proven one itself.
5. For want of contact a set is undone twice, or three times if upstream answered under it in between; the last
   time is final, until other content comes.
6. Where the machine moves before upstream ever answered, the set may have moved it: the one of the other location
   is watched for contact too, and what is undone then is both.
7. An undo for want of contact that does not bring contact back is the only one for that loss: nothing that lies
   further back is undone, and that loss is not counted against the set. So the outage of an upstream costs one step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from popham.agent.in_force import InForce
from popham.agent.records import Trial, Undone
from popham.agent.state import AgentState
from popham.clock import Clock
from popham.errors import PolicyError, StateError

_log = logging.getLogger(__name__)
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
"""How often a set may come into force that is undone for want of contact; once more if it had contact."""
_EXCUSES: Final = 8
"""Losses of a set that was answered that are not counted against it; one if it never was."""


class Trials:
    """Keeps :class:`Probation`; each change is durable when the call returns.

    Attributes:
        number: Counts trials of this process, so that a verdict is of the one it was found on.
        changed: Called when another trial begins or one ends.
        answered: Whether upstream was heard since what is on trial came into force; a process that does not end
            as it should forgets it.
        excused: Whether something else explains that upstream is not heard: the machine slept, its network is
            another one, or the agent was stopped, and upstream was not heard since.
        doubted: Whether a check of it failed when it last ran.
        suspects: Resolved digests of what was undone for want of contact just now, until it is known whether that
            brought contact back.
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
        self.answered = self.excused = self.doubted = False
        self.suspects: tuple[str, ...] = ()
        self._excuses = 1
        self._state = state
        self._clock = clock
        self._unsaved = False
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
        self.answered = trial.answered
        self.excused = trial.answered and not trial.running
        now = replace(trial, running=True, starts=starts, until=until, answered=False)
        self._try_keep(trial=now, watched_until=self._held.watched_until if trial.undoing else until)
        return starts >= UNCLEAN and not trial.undoing

    def end_process(self) -> None:
        """Take note that this process ends as it should."""
        if self.trial is not None:
            now = replace(self.trial, running=False, starts=0, answered=self.answered)
            self._try_keep(trial=now)

    def hear(self) -> None:
        """Take note that upstream answered under what is on trial; what came before it in vain is undone by that."""
        self.answered, self.excused, self.suspects = True, False, ()
        if self._unsaved:
            self._try_keep()
        if self.trial is not None and self.trial.lost:
            self._try_keep(trial=replace(self.trial, lost=False))
        trial = self.trial
        if trial is not None and trial.before and not trial.undoing and self._next is None:
            self._try_keep(trial=replace(trial, before=()), undone=self._with(self._all_lost(trial)))

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
        self._state.room.make_room()
        held = self._before = self._held.trial
        waits = held is not None and held.contact and not held.lost and not self.answered
        before: tuple[str, ...] = ()
        if held is not None and waits and not contact:
            unanswered = () if held.undoing else (*held.before, held.resolved)
            before = tuple(dict.fromkeys(one for one in unanswered if one != resolved))[-MAX_UNDONE:]
            contact = True
        if held is not None and held.proven == resolved:
            if before:
                self._keep(undone=self._with(self._all_lost(replace(held, before=before))))
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
            parts=held.parts if held else former.here if former else None,
            before=before,
        )
        if stood and former is not None:
            one = replace(one, former=former.held.resolved_digest, former_location=former.location)
        elif held is not None and held.former != resolved:
            one = replace(one, former=held.former, former_location=held.former_location)
        self._keep(trial=one)
        self._next = one
        # A verdict on what was on trial until now is not one on this.
        self.number += 1

    def _stood(self, held: Trial, former: InForce) -> bool:
        """Return whether what is on trial, and in force, did well so far."""
        in_force = held.resolved == former.held.resolved_digest
        return in_force and not held.undoing and self.answered and not self.doubted

    def applied(self) -> None:
        """Take note that what :meth:`begin` was called for is in force: its window begins now."""
        if not self.window:
            return
        if self._next is None:
            self._end(durable=False, trial=None)
            return
        until = self._clock.now() + self.window
        one = replace(self._next, until=until, answered=False)
        # All that is needed to go back is kept already.
        self._end(durable=False, trial=one, watched_until=until)

    def give_up(self, resolved: str) -> None:
        """Take note that it could not be applied, so that what was in force, ``resolved``, still is."""
        trial, before = self.trial, self._before
        if trial is None or trial.resolved == resolved:
            return
        if before is not None and before.resolved != resolved:
            before = None
        answered = self.answered if before is not None else False
        if before is None and resolved != trial.proven:
            until = self._clock.now() + self.window
            before = replace(trial, resolved=resolved, until=until, contact=False, before=())
        self._end(durable=False, trial=before)
        self.answered = answered

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
        return self.trial is not None and self._is_final(self.trial.resolved, answered=self.answered)

    @property
    def times(self) -> int:
        """How often what is on trial will have been undone, if it is undone now."""
        one = self._find(self.trial.resolved) if self.trial else None
        return one.times + one.excused + 1 if one else 1

    def _is_final(self, resolved: str, *, answered: bool) -> bool:
        one = self._find(resolved)
        return one is not None and one.times + 1 >= _TRIES + answered

    def _with(self, more: Sequence[Undone]) -> tuple[Undone, ...]:
        """Return what was undone, with more of it, each in place of what was said of the same set."""
        digests = {one.resolved for one in more}
        others = [one for one in self._held.undone if one.resolved not in digests]
        return (*others, *more)[-MAX_UNDONE:]

    def _all_lost(self, trial: Trial) -> list[Undone]:
        """Return, as undone, the sets that came before one on trial and that upstream never answered."""
        problem = f"serial {trial.serial} was undone: in another location no server was heard after it came into force"
        hint = (
            "It is tried once more when there is contact there, and then not again until other content comes"
        )
        error = str(PolicyError("undone_contact", problem, hint))
        return [self._make_undone(one, trial.serial, CONTACT, error, answered=False) for one in trial.before]

    def _make_undone(self, resolved: str, serial: int, code: str, error: str, *, answered: bool) -> Undone:
        one = self._find(resolved)
        return Undone(
            resolved=resolved,
            serial=serial,
            code=code,
            error=error,
            at=self._clock.now(),
            times=one.times + 1 if one else 1,
            excused=one.excused if one else 0,
            final=code == CONTACT and self._is_final(resolved, answered=answered),
        )

    def undo(self, code: str, error: str) -> None:
        """Keep that the set on trial is being undone, before anything is done about it."""
        trial = self.trial
        if trial is None:
            return
        now = self._make_undone(trial.resolved, trial.serial, code, error, answered=self.answered)
        undone = self._with([*self._all_lost(trial), now])
        self._keep(trial=replace(trial, undoing=code), undone=undone, watched_until=self._clock.now())

    def gone_back(self, serial: int, *, former: bool) -> None:
        """Take note that the proven set holds again, or the former one, which is on trial from now on.

        Args:
            serial: Serial of its content.
            former: Whether it is the former one.
        """
        trial = self.trial
        lost = trial is not None and trial.undoing == CONTACT
        suspects = (*trial.before, trial.resolved) if trial is not None and lost else ()
        self._excuses = _EXCUSES if self.answered else 1
        if trial is None or not former:
            self._end(trial=None, suspects=suspects)
            return
        until = self._clock.now() + self.window
        again = Trial(
            resolved=trial.former,
            serial=serial,
            until=until,
            contact=trial.contact,
            location=trial.location,
            proven=trial.proven,
            parts=trial.parts,
            lost=lost,
        )
        self._end(trial=again, suspects=suspects, watched_until=until)

    def excuse(self) -> None:
        """Take note that an undo for want of contact did not bring it back: what was undone is not to blame."""
        suspects, self.suspects = self.suspects, ()
        held = self._held.undone
        excused = [
            _excuse(one) if one.resolved in suspects and one.excused < self._excuses else one for one in held
        ]
        self._try_keep(undone=tuple(excused))

    def release(self, resolved: str, *, asked: bool) -> bool:
        """Let a set that was undone be tried again; return whether it is.

        Args:
            resolved: Its resolved digest.
            asked: Whether somebody asked for it; if not, contact returned.
        """
        one = self.undone(resolved)
        if one is None or (self.trial is not None and self.trial.undoing):
            return False
        if one.final if one.code == CONTACT else not asked:
            return False
        again = replace(one, again=True)
        self._try_keep(undone=tuple(again if held is one else held for held in self._held.undone))
        return True

    def _end(self, *, durable: bool = True, suspects: tuple[str, ...] = (), **said: Any) -> None:
        (self._keep if durable else self._try_keep)(**said)
        self.suspects = suspects
        self._before = self._next = None
        self.answered = self.excused = self.doubted = False
        self.number += 1
        self.changed()

    def _keep(self, **said: Any) -> None:
        held = replace(self._held, **said)
        if held != self._held or self._unsaved:
            self._state.save_probation(held)
            self._held, self._unsaved = held, False

    def _try_keep(self, **said: Any) -> None:
        """Keep what holds in any case: where it cannot be written, it is with the next change."""
        try:
            self._keep(**said)
        except StateError as error:
            _log.warning("what is on trial is not kept yet: %s", error)
            self._held, self._unsaved = replace(self._held, **said), True


def _excuse(undone: Undone) -> Undone:
    """Return what was undone, with that loss not counted: it comes into force again when there is contact."""
    problem = (
        f"serial {undone.serial} was undone: after it came into force no server could be reached, nor was one "
        "after the undo, so it may not be the cause"
    )
    error = str(PolicyError("undone_contact", problem, "It is tried again when there is contact again"))
    return replace(undone, error=error, times=undone.times - 1, excused=undone.excused + 1, final=False)
