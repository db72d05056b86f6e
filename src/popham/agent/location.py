"""Finds out where the machine is, and has it follow.

Rules:

1. The rules are those of the newest bundle; without any nothing is looked at and nothing wakes.
2. It looks when the agent starts, at each check, and half a second after the network changed;
   where networks change all the time, less and less often.
3. A change of location is applied here, without upstream, and then reported once.
4. It looks only at what this machine permits; what is not looked at is said once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from popham.agent.enforcer import Enforcer
from popham.agent.sight import Outlook, plan_look
from popham.agent.surroundings import Host, Watch
from popham.errors import PophamError
from popham.model.criteria import Condition
from popham.model.location import LocationRules
from popham.model.status import Outcome

_log = logging.getLogger(__name__)
DEBOUNCE: Final = 0.5
"""Seconds from a change of the network to the look: an interface brings several changes."""
DEBOUNCE_MAX: Final = 4.0
"""The same where one such look after another finds nothing new."""
PATIENT: Final = 4
"""Looks in vain after which they come more slowly: an address takes seconds to arrive."""
CALM: Final = 8.0
"""Seconds without such a look after which the next one comes quickly again."""
UNSEEN_SHOWN: Final = 16
"""Conditions that are named where it is said what is not looked at."""


class Locator:
    """Keeps an enforcer told of where the machine is; :meth:`run` is its one task."""

    def __init__(
        self,
        enforcer: Enforcer,
        host: Host,
        settle: Callable[[], Awaitable[None]],
        changed: Callable[[], None],
        *,
        allows: Callable[[Condition], bool],
    ) -> None:
        """Look before anything is applied by new rules, and, once it runs, again and again.

        Args:
            enforcer: Says by which rules, and is told.
            host: Where to look.
            settle: Has the enforcer bring into force what holds now.
            changed: Called when upstream is needed for that, or has to know.
            allows: Whether this machine permits to look at a condition.
        """
        self._enforcer = enforcer
        self._host = host
        self._settle = settle
        self._changed = changed
        self._allows = allows
        self._outlook: tuple[LocationRules, Outlook] | None = None
        self._manager: bool | None = None
        self._watch: Watch | None = None
        self._looking = asyncio.Lock()
        self._wake = asyncio.Event()
        self._next = -math.inf  # time of the loop
        self._vain = 0
        self._hurried = False
        self._hurried_at = -math.inf
        enforcer.look = self._look_first

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        first = True
        try:
            while True:
                wait = self._plan()
                if first or (wait is not None and wait <= 0):
                    await self._visit(first=first)
                    first = False
                    continue
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
        finally:
            self._listen(wanted=False)

    async def look_now(self) -> None:
        """Look, and have applied what holds elsewhere, unless there is nothing to find out."""
        if self._enforcer.rules is not None:
            await self._visit(first=False)

    def network_changed(self) -> None:
        """Have a look soon: addresses, routes or interfaces are others."""
        now = asyncio.get_running_loop().time()
        if now - self._hurried_at > CALM:
            self._vain = 0
        due = now + min(DEBOUNCE * 2.0 ** max(0, self._vain - PATIENT), DEBOUNCE_MAX)
        if due < self._next:
            self._next, self._hurried = due, True
            self._wake.set()

    def heard(self, *, reachable: bool) -> None:
        """Take note of whether the last round succeeded; where a rule asks for it, that is looked at."""
        if reachable is self._manager:
            return
        self._manager = reachable
        rules = self._enforcer.rules
        if rules is not None and self._plan_look(rules).wanted.manager:
            self._next = -math.inf
            self._wake.set()

    def _plan(self) -> float | None:
        """Return in how many seconds to look; None while there are no rules to look by."""
        rules = self._enforcer.rules
        self._listen(wanted=rules is not None)
        return None if rules is None else self._next - asyncio.get_running_loop().time()

    def _listen(self, *, wanted: bool) -> None:
        if wanted and self._watch is None:
            self._watch = self._host.watch(self.network_changed)
            if self._watch is not None:
                # What changed before it was heard of is seen by one more look.
                self._next = min(self._next, asyncio.get_running_loop().time() + DEBOUNCE)
        elif not wanted and self._watch is not None:
            self._watch.close()
            self._watch = None

    async def _visit(self, *, first: bool) -> None:
        """Look, and have applied what holds elsewhere; also what the last process left unfinished."""
        try:
            moved = await self._look()
            if moved or (first and self._enforcer.progress.outcome is Outcome.APPLYING):
                await self._settle()
        except PophamError as error:
            _log.warning("the policies of this location are not applied yet: %s", error)
            self._changed()

    async def _look_first(self) -> None:
        await self._look()

    async def _look(self) -> bool:
        """Look by the newest rules, and return whether the machine has moved."""
        moved = False
        async with self._looking:
            hurried, self._hurried = self._hurried, False
            rules = self._enforcer.rules
            # What happens meanwhile brings this nearer, and is looked at afterwards.
            self._next = math.inf
            try:
                while rules is not None:
                    outlook = self._plan_look(rules)
                    around = await self._host.look(outlook.wanted)
                    around = replace(around, manager=self._manager, unseen=outlook.unseen)
                    moved = self._enforcer.move(rules.find(around), rules)
                    if rules == self._enforcer.rules:
                        break
                    rules = self._enforcer.rules
            finally:
                self._plan_next(rules, in_vain=hurried and not moved)
        return moved

    def _plan_next(self, rules: LocationRules | None, *, in_vain: bool) -> None:
        now = asyncio.get_running_loop().time()
        if in_vain:
            self._vain = min(self._vain + 1, 2 * PATIENT)
            self._hurried_at = now
        due = math.inf if rules is None else now + rules.check
        self._next = min(self._next, due)
        self._wake.set()

    def _plan_look(self, rules: LocationRules) -> Outlook:
        """Return what to look at by ``rules``, and say what not, once."""
        if self._outlook is None or self._outlook[0] != rules:
            self._outlook = rules, plan_look(rules, self._allows)
            if self.unseen:
                _log.warning(
                    "not looked at, as [location] of this machine does not permit it, or as too many: %s",
                    ", ".join(self.unseen),
                )
        return self._outlook[1]

    @property
    def unseen(self) -> tuple[str, ...]:
        """Conditions of the newest rules that are not looked at, in words; of many the first, and how many more."""
        if self._outlook is None or self._outlook[0] != self._enforcer.rules:
            return ()
        refused = self._outlook[1].refused
        more = len(refused) - UNSEEN_SHOWN
        return (*refused[:UNSEEN_SHOWN], f"{more} more") if more > 0 else refused
