"""Watches a set after it came into force, and has it undone where it breaks the machine.

Rules:

1. While all is well nobody is asked anything: no probe, no round.
2. What came into force has to be answered by upstream soon; where it is not, or the link is lost, each
   server is asked a few times whether it is there. If none ever answers, the set is undone.
3. A set that was answered is not undone for a loss that something else explains: the machine slept, its network
   is another one, or the agent was stopped.
4. A check command of a policy that fails three times in a row undoes the set.
5. After an undo for want of contact servers are asked once more in the same way: where none answers still, the
   set was not the cause, and nothing further back is undone for that loss.
6. When the window is over the set has proven itself, and whatever happens then is no fault of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from popham.agent.apply import Applied
from popham.agent.enforcer import Enforcer
from popham.errors import PolicyError, PophamError, StateError
from popham.model.types.redaction import secret_values

_log = logging.getLogger(__name__)
ANSWER: Final = 6.0
"""Seconds in which upstream has to be heard after a set came into force."""
PROBES: Final = (0.0, 4.5, 9.0, 13.5, 18.0)
"""Seconds from the first failure at which servers are asked. Source: guarantees, REL-11: undone within 30 s."""
JITTER: Final = 1.0
"""Seconds by which a probe may come later, so that a fleet does not ask as one."""
PROBE_TIME: Final = 4.0
"""Seconds in which a server has to answer a probe; below the time between two of them."""
CHECK_EVERY: Final = 10.0
"""Seconds between two runs of the check commands."""
FAILURES: Final = 3
"""Failures of one check in a row that undo a set."""
STEADY: Final = 60.0
"""Seconds after which a set that removes the network would have done so."""
_NAP: Final = 1.0
"""Seconds of sleep that count."""
_TIMES: Final = {2: "twice", 3: "three times"}
AGAIN: Final = 10.0
"""Seconds until an undo that failed is tried again."""


class Contact:
    """Whether upstream is still there; times are those of the loop, and nothing is waited for here."""

    def __init__(self, draw: Callable[[], float]) -> None:
        """Begin in contact.

        Args:
            draw: Random number in [0, 1).
        """
        self._draw = draw
        self._awaited = math.inf
        self._failed = math.inf
        self._due: list[float] = []

    @property
    def due(self) -> float:
        """When servers are to be asked next; infinity while there is no need."""
        return self._due[0] if self._due else self._awaited

    @property
    def open(self) -> bool:
        """Whether an answer is awaited, or looked for; a window does not end before that is known."""
        return min(self._failed, self._awaited) < math.inf

    def applied(self, now: float) -> None:
        """Take note that a set came into force, of which upstream is told."""
        self.heard()
        self._awaited = now + ANSWER

    def heard(self) -> None:
        """Take note that upstream answered."""
        self._awaited, self._failed, self._due = math.inf, math.inf, []

    def lost(self, now: float) -> None:
        """Take note of a failure; of several the first counts."""
        if self._failed == math.inf:
            self._awaited, self._failed = math.inf, now
            self._due = [now + after + JITTER * self._draw() for after in PROBES]

    def begin_probe(self, now: float) -> None:
        """Take note that servers are being asked."""
        self.lost(now)
        self._due.pop(0)

    def probed(self, now: float, *, reachable: bool) -> float:
        """Take note of what came of it; return for how many seconds contact was lost if that is too long, else 0."""
        if self._failed == math.inf:
            return 0.0  # upstream was heard meanwhile
        if reachable:
            self.heard()
        lost_for = now - self._failed
        if self._due or reachable:
            return 0.0
        self.heard()
        return max(lost_for, JITTER)


class Health:
    """Watches one machine while a set is on trial; :meth:`run` is its one task."""

    def __init__(
        self,
        enforcer: Enforcer,
        *,
        reach: Callable[[float], Awaitable[bool]],
        check: Callable[[str, Sequence[str]], Awaitable[None]],
        draw: Callable[[], float],
        asleep: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Watch what ``enforcer`` brings into force, once it runs.

        Args:
            enforcer: Says what is on trial, and undoes it.
            reach: Returns whether any server answers within so many seconds, by new connections.
            check: Runs a command by its name, with what no sentence may show; raises PolicyError if it fails.
            draw: Random number in [0, 1).
            asleep: Returns for how long the machine has slept, in seconds.
        """
        self._enforcer = enforcer
        self._trials = enforcer.trials
        self._reach = reach
        self._check = check
        self._contact = Contact(draw)
        self._wake, self._checks_wake = asyncio.Event(), asyncio.Event()
        self._trials.changed = self._changed
        self._asleep = asleep
        self._slept = asleep()
        enforcer.touched = self._heard

    def _heard(self) -> None:
        self._contact.heard()
        self._slept = self._asleep()

    def lost(self) -> None:
        """Take note that the link was lost, or that a round failed."""
        if self._trials.suspects or (self._awaits_contact() and self._speaks()):
            self._contact.lost(asyncio.get_running_loop().time())
            self._wake.set()

    def _awaits_contact(self) -> bool:
        """Return whether a loss of contact would undo what is on trial."""
        trial = self._trials.trial
        return trial is not None and trial.contact and not trial.undoing and not trial.lost

    def network_changed(self, *, connected: bool) -> None:
        """Take note that the network is another one.

        Args:
            connected: Whether there is any; if not, that may be what a set did that just came into force.
        """
        if connected or self._trials.window - self._trials.left() >= STEADY:
            self._trials.excused = True

    def _speaks(self) -> bool:
        """Return whether a loss of contact speaks against what is on trial."""
        if self._asleep() - self._slept > _NAP:
            self._trials.excused = True
        return not (self._trials.answered and self._trials.excused)

    async def run(self) -> None:
        """Watch until cancelled."""
        ends = [asyncio.ensure_future(one) for one in (self._watch(), self._run_checks())]
        try:
            await asyncio.gather(*ends)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    def _changed(self) -> None:
        self._heard()
        if self._trials.suspects or self._awaits_contact():
            self._contact.applied(asyncio.get_running_loop().time())
        self._wake.set()
        self._checks_wake.set()

    # The window, and contact.

    async def _watch(self) -> None:
        seen, ends = -1, math.inf
        while True:
            number, now = self._trials.number, asyncio.get_running_loop().time()
            self._wake.clear()
            if number != seen:
                # From here on by a clock that nobody sets.
                seen, ends = number, now + self._trials.left()
            try:
                await self._step(number, ends, now)
            except PophamError as error:
                # Such as a full disk: what was found is found again.
                _log.warning("what is on trial cannot be judged yet: %s", error)
                await self._sleep(self._wake, AGAIN)

    async def _step(self, number: int, ends: float, now: float) -> None:
        """Do what is due, or wait until something is."""
        trial = self._trials.trial
        if trial is None and not self._trials.suspects:
            await self._wake.wait()
        elif trial is not None and trial.undoing:
            await self._sleep(self._wake, AGAIN)
            await self._enforcer.undo(number)
        elif trial is not None and ends <= now and not self._contact.open:
            # Another set may be about to take its place; then this one is over without a verdict.
            await self._enforcer.prove(number)
        elif self._contact.due <= now:
            await self._probe(number)
        else:
            await self._sleep(self._wake, min(ends if ends > now else math.inf, self._contact.due) - now)

    async def _probe(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        self._contact.begin_probe(loop.time())
        reachable = await self._reach(PROBE_TIME)
        lost_for = self._contact.probed(loop.time(), reachable=reachable)
        trial = self._trials.trial
        if self._trials.suspects:
            if reachable:
                self._trials.suspects = ()
            elif lost_for:
                await self._enforcer.excuse(number)
        elif lost_for and trial is not None and self._speaks():
            problem = (
                f"serial {trial.serial} was undone: after it came into force no server could be reached for "
                f"{lost_for:.0f} s; what was in force before holds again"
            )
            hint = (
                f"It was tried {_TIMES.get(self._trials.times, 'often')}, and is not tried again until other content comes"
                if self._trials.is_last
                else "It is tried once more when there is contact again"
            )
            try:
                await self._enforcer.undo(number, PolicyError("undone_contact", problem, hint))
            except StateError:
                self._contact.lost(loop.time())
                raise

    # Checks.

    async def _run_checks(self) -> None:
        while True:
            trial, number = self._trials.trial, self._trials.number
            self._checks_wake.clear()
            if trial is not None and not trial.undoing:
                await self._check_one(number)
            await self._checks_wake.wait()

    async def _check_one(self, number: int) -> None:
        """Run the checks of one trial until it is over."""
        failures: dict[str, int] = {}
        while self._trials.number == number and self._trials.trial and not self._trials.trial.undoing:
            for name, secrets in find_checks(self._enforcer.find_held()).items():
                try:
                    await self._check(name, secrets)
                    failures[name] = 0
                except PolicyError as error:
                    failures[name] = failures.get(name, 0) + 1
                    _log.warning("a check of the set on trial failed: %s", error.problem)
                    if failures[name] >= FAILURES:
                        await self._undo_for(number, error)
                except OSError as error:
                    _log.warning("the check command %r was not run: %s", name, error)
            self._trials.doubted = any(failures.values())
            await self._sleep(self._checks_wake, CHECK_EVERY)

    async def _undo_for(self, number: int, error: PolicyError) -> None:
        trial = self._trials.trial
        if trial is None or self._trials.number != number:
            return
        problem = (
            f"serial {trial.serial} was undone: {error.problem}, and so {FAILURES} times in a row; "
            "what was in force before holds again"
        )
        hint = "Correct the policy; 'popham check-in' has it tried again"
        try:
            await self._enforcer.undo(number, PolicyError("undone_check", problem, hint))
        except StateError as cause:
            _log.warning("serial %d could not be undone yet: %s", trial.serial, cause)
        # If it could not be undone, that is tried again there.
        self._wake.set()

    @staticmethod
    async def _sleep(wake: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wake.wait()


def find_checks(policies: Sequence[Applied]) -> Mapping[str, Sequence[str]]:
    """Return name → what no sentence may show, of each check command that policies name."""
    names = [one.body["check"] for one in policies if isinstance(one.body.get("check"), str)]
    if not names:
        return {}
    try:
        secrets = [str(value) for one in policies for value in secret_values(one.ref.type, one.body)]
    except RecursionError:
        # Nested as deep as can just be applied. Nothing is run whose output could show what nobody finds here.
        return {}
    return dict.fromkeys(names, secrets)
