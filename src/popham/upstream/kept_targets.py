"""Whom an upstream visits: a mapping that is kept, whoever keeps the definitions.

Rules:

1. A definition wins over whatever an agent says.
2. The mapping is kept, not computed when it is asked for: a change costs what it concerns.  Changes are collected
   for a short time, so that a storm of reports costs one look.
3. One agent has one key: its definition's if there is one, else its uid; so who is born at a definition keeps its
   place in the schedule.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from popham.clock import Clock
from popham.errors import StateError
from popham.model.generation import VISITS
from popham.net.visiting import Place
from popham.upstream.book import Book
from popham.upstream.record import Record, Wanted
from popham.upstream.target_rules import (
    is_elsewhere,
    may_be_visited,
    target_at_definition,
    target_where_it_came,
)
from popham.upstream.targets import Target

_log = logging.getLogger(__name__)
COLLECT = 0.25
"""Seconds for which changes are collected."""
RETRY = 5.0
"""Seconds until definitions that could not be read are read again."""
SLICE = 64
"""Agents that are looked at in one turn of the loop; a state record that is read for it takes some 50 µs."""
GLANCE = 500
"""Agents at which it is only looked whether they may be visited, in one turn of the loop."""
_DEFINED = "agent/"
"""Stands before the name of a definition in a key; no uid has it."""


@dataclass(frozen=True, slots=True)
class Defined:
    """A definition, as far as visits need it.

    Attributes:
        place: Where it points; None if another upstream visits there.
        uid: The agent that it is bound to; empty for none.
    """

    place: Place | None
    uid: str


class KeptTargets(ABC):
    """Implements :class:`popham.upstream.targets.Targets`, but for ``found``; :meth:`run` keeps the mapping.

    Attributes:
        changed: Told the keys under which something may be another.
        is_awaited: Says of an agent without a definition that it may be at a proxy of which nothing was heard yet.
    """

    def __init__(
        self,
        book: Book,
        clock: Clock,
        *,
        changed: Callable[[Collection[str]], None] = lambda _keys: None,
        http_proxy: str = "",
        oldest: int = VISITS,
    ) -> None:
        """Know nobody yet.

        Args:
            book: Who is known, and what groups are to have.
            clock: Wall time.
            changed: Told the keys under which something may be another.
            http_proxy: Web proxy where a definition names none; empty for none.
            oldest: Generation of the oldest agents that this upstream visits.
        """
        self.is_awaited: Callable[[Record], bool] = lambda _record: False
        self._oldest = oldest
        self._book = book
        self._clock = clock
        self.changed = changed
        self._http_proxy = http_proxy
        self._definitions: dict[str, Defined] = {}
        self._names: dict[str, str] = {}
        self._targets: dict[str, Target] = {}
        self._all = True
        self._dirty_uids: set[str] = set()
        self._dirty_groups: set[str] = set()
        self._woken = asyncio.Event()
        self._woken.set()

    # What the visitor asks.

    def read(self) -> Mapping[str, Target]:
        """Return all targets now."""
        return self._targets

    def one(self, key: str) -> Target | None:
        """Return one of them; None if it is not to be visited now, or by now at another place."""
        known, now = self._targets.get(key), self._of(key)
        if known != now:
            self._put(key, now)
            self.changed([key])
            return None
        return known if self._is_visited(known) else None

    def visits(self, key: str) -> bool:
        """Return whether a visit under a key would be made now, whatever the mapping says that is kept a moment later."""
        return self._is_visited(self._of(key))

    @abstractmethod
    async def found(self, target: Target, uid: str) -> None:
        """Take note, durably, of which agent is where a definition without an agent points."""

    # What others say.

    def key_of(self, uid: str) -> str:
        """Return the key under which an agent is visited, if it is."""
        name = self._names.get(uid)
        return uid if name is None else _DEFINED + name

    @staticmethod
    def key_of_definition(name: str) -> str:
        """Return the key under which whoever is at a definition is visited."""
        return _DEFINED + name

    def definition_of(self, uid: str) -> str:
        """Return the name of the definition that is bound to an agent; empty if there is none."""
        return self._names.get(uid, "")

    def groups_changed(self, groups: Iterable[str]) -> None:
        """Take note that groups are to have something else."""
        self._dirty_groups.update(groups)
        self._woken.set()

    def agent_changed(self, uid: str) -> None:
        """Take note that an administrator changed an agent, or that it is new."""
        self._dirty_uids.add(uid)
        self._woken.set()

    def reported(self, record: Record) -> None:
        """Take note that an agent said something new; costs next to nothing where nobody is visited."""
        known = record.uid in self._names or record.uid in self._targets
        if known or may_be_visited(record, self._wanted(record)):
            self.agent_changed(record.uid)

    # Keeping the mapping.

    async def run(self) -> None:
        """Keep the mapping, until cancelled."""
        while True:
            await self._woken.wait()
            await asyncio.sleep(0 if self._all else COLLECT)
            self._woken.clear()
            try:
                await self.refresh()
            except StateError as error:
                if not error.retryable:
                    raise
                _log.warning("whom to visit is looked at later: %s", error)
                await asyncio.sleep(RETRY)
                self._woken.set()

    async def refresh(self) -> None:
        """Look at what changed, and tell the visitor. Raises StateError."""
        everything = self._all
        touched = await self.look(everything=everything)
        self._all = False
        uids, groups = self._dirty_uids, self._dirty_groups
        self._dirty_uids, self._dirty_groups = set(), set()
        touched |= {self.key_of(uid) for uid in uids}
        if everything or groups:
            touched |= await self._members(None if everything else groups)
        changed = []
        for number, key in enumerate(touched, 1):
            target = self._of(key)
            if self._targets.get(key) != target:
                self._put(key, target)
                changed.append(key)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        if changed:
            self.changed(changed)

    @abstractmethod
    async def look(self, *, everything: bool) -> set[str]:
        """Keep the definitions that changed by :meth:`define`; return the keys that they concern.

        Args:
            everything: All of them are looked at: it is the first time.

        Raises:
            StateError: They cannot be read.
        """

    def define(self, name: str, defined: Defined | None) -> set[str]:
        """Keep a definition, or forget it; return the keys that it concerns."""
        former = self._definitions.pop(name, None)
        touched = {_DEFINED + name}
        if former is not None and former.uid:
            if self._names.get(former.uid) == name:  # else another one has it by now
                del self._names[former.uid]
            touched.add(former.uid)
        if defined is not None:
            self._definitions[name] = defined
            if defined.uid:
                self._names[defined.uid] = name
                touched.add(defined.uid)
        return touched

    async def _members(self, groups: Collection[str] | None) -> set[str]:
        """Return the keys of the agents of these groups (None: of all) that may be visited, or were."""
        found = set()
        for number, record in enumerate(tuple(self._book.records()), 1):
            if groups is None or record.group in groups:
                key = self.key_of(record.uid)
                near = key in self._targets or key != record.uid
                if near or may_be_visited(record, self._wanted(record)):
                    found.add(key)
            if number % GLANCE == 0:
                await asyncio.sleep(0)
        return found

    def _put(self, key: str, target: Target | None) -> None:
        if target is None:
            self._targets.pop(key, None)
        else:
            self._targets[key] = target

    # One target.

    def _of(self, key: str) -> Target | None:
        """Return who is visited under a key by what is known now; None for nobody."""
        if key.startswith(_DEFINED):
            name = key.removeprefix(_DEFINED)
            defined = self._definitions.get(name)
            if defined is None or defined.place is None:
                return None
            record = self._book.record(defined.uid) if defined.uid else None
            return target_at_definition(
                name, defined.place, defined.uid, record, self._wanted(record), oldest=self._oldest
            )
        record = None if key in self._names else self._book.record(key)
        if record is None or self.is_awaited(record):
            return None
        return target_where_it_came(record, self._wanted(record), self._http_proxy, oldest=self._oldest)

    def _is_visited(self, target: Target | None) -> bool:
        if target is None or target.reads:
            return target is not None
        record = self._book.record(target.uid) if target.uid else None
        return not is_elsewhere(record, self._wanted(record), target.interval, self._clock.now())

    def _wanted(self, record: Record | None) -> Wanted | None:
        return self._book.wanted(record.group) if record else None
