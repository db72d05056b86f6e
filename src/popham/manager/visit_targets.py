"""Whom this Manager visits, and where: from definitions, and from what agents say of themselves.

Rules:

1. A definition wins over whatever an agent says.  Without one an agent is visited at the address of its last
   contact, by the scheme and port that it reports, and nowhere else.
2. The mapping is kept, not computed when it is asked for: a change costs what it concerns.  Changes are collected
   for a short time, so that a storm of reports costs one look.
3. One agent has one key: its definition's if there is one, else its uid; so who is born at a definition keeps its
   place in the schedule.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from popham.clock import Clock
from popham.errors import StateError
from popham.manager.agent_definitions import bind, definition_of
from popham.manager.agent_settings import settings_here, variants
from popham.manager.book import ManagerBook
from popham.manager.grant import Grant, Role
from popham.manager.visit_places import defined_place, find_place
from popham.model.cell import Dialer, Mode
from popham.model.communication import VISIT_DEFAULT
from popham.model.fleet import Admission, AgentKind
from popham.model.generation import VISITS, generation_of
from popham.net.visiting import Place
from popham.store.rows import AgentDefinitionRow
from popham.store.seam import Reading, Store
from popham.upstream.record import Record
from popham.upstream.targets import Target

_log = logging.getLogger(__name__)
COLLECT = 0.25
"""Seconds for which changes are collected."""
RETRY = 5.0
"""Seconds until definitions that could not be read are read again."""
PAGE = 1000
"""Definitions read at once."""
SLICE = 64
"""Agents that are looked at in one turn of the loop; a state record that is read for it takes some 50 µs."""
GLANCE = 500
"""Agents at which it is only looked whether they may be visited, in one turn of the loop."""
_DEFINED = "agent/"
"""Stands before the name of a definition in a key; no uid has it."""
_GONE = frozenset({Admission.REFUSED, Admission.REVOKED})


@dataclass(frozen=True, slots=True)
class Defined:
    """A definition, as far as visits need it: where it points, and the agent it is bound to (empty for none)."""

    place: Place
    uid: str


class VisitTargets:
    """Implements :class:`popham.upstream.targets.Targets`; :meth:`run` keeps the mapping."""

    def __init__(
        self,
        book: ManagerBook,
        store: Store,
        clock: Clock,
        *,
        changed: Callable[[Collection[str]], None],
        http_proxy: str = "",
    ) -> None:
        """Know nobody yet.

        Args:
            book: Who is known, and what groups are to have.
            store: Has the definitions.
            clock: Wall time.
            changed: Told the keys under which something may be another.
            http_proxy: Web proxy where a definition names none; empty for none.
        """
        self._book = book
        self._store = store
        self._clock = clock
        self._changed = changed
        self._http_proxy = http_proxy
        self._definitions: dict[str, Defined] = {}
        self._names: dict[str, str] = {}
        self._targets: dict[str, Target] = {}
        self._all = True
        self._dirty_names: set[str] = set()
        self._dirty_uids: set[str] = set()
        self._dirty_groups: set[str] = set()
        self._joined: set[str] = set()
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
            self._changed([key])
            return None
        return known if self._is_visited(known) else None

    def visits(self, key: str) -> bool:
        """Return whether a visit under a key would be made now, whatever the mapping says that is kept a moment later."""
        return self._is_visited(self._of(key))

    async def found(self, target: Target, uid: str) -> None:
        """Bind a definition to the agent that answers where it points.

        Raises:
            ConflictError: ``conflict.bound``.
            NotFoundError: It is gone meanwhile.
            StateError: It could not be written.
        """
        now, name = self._clock.now(), target.name
        grant = Grant(actor="visit", role=Role.ADMIN, source=target.place.host)
        row = await self._store.write(lambda tx: bind(tx, grant, name, uid, now=now))
        self._define(name, row)
        record = self._book.record(uid)
        if record is not None and not record.envelope:
            record.promise = max(record.promise, target.interval)  # it says so itself once it reports
        self.agent_changed(uid)

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

    def definitions_changed(self, names: Sequence[str]) -> None:
        """Take note that definitions were made, changed or deleted."""
        self._dirty_names.update(names)
        self._woken.set()

    def groups_changed(self, groups: Iterable[str]) -> None:
        """Take note that groups are to have something else."""
        self._dirty_groups.update(groups)
        self._woken.set()

    def agent_changed(self, uid: str) -> None:
        """Take note that an administrator changed an agent, or that it is new."""
        self._dirty_uids.add(uid)
        self._woken.set()

    def joined(self, uid: str) -> None:
        """Take note that an agent joined; a definition may be bound to it by its name."""
        if self._definitions and uid not in self._names:
            self._joined.add(uid)
        self.agent_changed(uid)

    def reported(self, record: Record) -> None:
        """Take note that an agent said something new; costs next to nothing where nobody is visited."""
        known = record.uid in self._names or record.uid in self._targets
        if known or self._may_be_visited(record):
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
        everything, names, joined = self._all, set(self._dirty_names), set(self._joined)
        touched: set[str] = set()
        if everything or len(names) > PAGE:
            touched |= await self._read_all()
        else:
            touched |= await self._read_some(names, joined)
        self._all = False
        self._dirty_names -= names
        self._joined -= joined
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
            self._changed(changed)

    async def _read_all(self) -> set[str]:
        """Read all definitions, page by page; return the keys that they concern."""
        touched, seen, after = set(), set(), ""
        while True:
            rows = await self._store.read(partial(_page, after=after))
            for row in rows:
                touched |= self._define(row.name, row)
                seen.add(row.name)
            if len(rows) < PAGE:
                break
            after = rows[-1].name
        for name in self._definitions.keys() - seen:
            touched |= self._define(name, None)
        return touched

    async def _read_some(self, names: Collection[str], joined: Collection[str]) -> set[str]:
        if not names and not joined:
            return set()

        def work(tx: Reading) -> dict[str, AgentDefinitionRow | None]:
            found = {name: tx.agent_definition(name) for name in names}
            bound = [row for row in map(tx.agent_definition_of, joined) if row is not None]
            return found | {row.name: row for row in bound}

        rows = await self._store.read(work)
        return set().union(*(self._define(name, row) for name, row in rows.items()))

    def _define(self, name: str, row: AgentDefinitionRow | None) -> set[str]:
        """Keep a definition, or forget it; return the keys that it concerns."""
        former = self._definitions.pop(name, None)
        touched = {_DEFINED + name}
        if former is not None and former.uid:
            if self._names.get(former.uid) == name:  # else another one has it by now
                del self._names[former.uid]
            touched.add(former.uid)
        if row is not None:
            place = defined_place(definition_of(row), self._http_proxy)
            self._definitions[name] = Defined(place, row.uid)
            if row.uid:
                self._names[row.uid] = name
                touched.add(row.uid)
        return touched

    async def _members(self, groups: Collection[str] | None) -> set[str]:
        """Return the keys of the agents of these groups (None: of all) that may be visited, or were."""
        found = set()
        for number, record in enumerate(tuple(self._book.records()), 1):
            if groups is None or record.group in groups:
                key = self.key_of(record.uid)
                if key in self._targets or key != record.uid or self._may_be_visited(record):
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
            return self._at_definition(name, defined) if defined else None
        record = None if key in self._names else self._book.record(key)
        if record is None or not self._may_be_visited(record):
            return None
        place = find_place(record.state.service if record.state else "", record.address, self._http_proxy)
        return self._at(record, place) if place else None

    def _at_definition(self, name: str, defined: Defined) -> Target | None:
        record = self._book.record(defined.uid) if defined.uid else None
        if record is not None and record.kind is AgentKind.STOCK:
            return None
        # Who was refused or revoked is told so; and its machine may have been set up anew, and wait to be born.
        gone = record is not None and record.admission in _GONE
        if record is not None and not gone and (record.certificate_until or record.envelope):
            return self._at(record, defined.place, name)
        # The one that was promised by a uid of its own, and is not known, is named as such when it is visited.
        uid = defined.uid if record is None else ""
        return Target(uid=uid, name=name, place=defined.place, mode=Mode.PULL, interval=VISIT_DEFAULT)

    def _at(self, record: Record, place: Place, name: str = "") -> Target | None:
        if record.kind is not AgentKind.OWN or record.admission is not Admission.ACCEPTED:
            return None
        if record.state is not None and generation_of(record.state.agent_version) < VISITS:
            return None  # it goes on dialling until it is upgraded
        found = self._cadence(record)
        if found is None and name and not record.envelope:
            found = Mode.PULL, VISIT_DEFAULT  # just born, and not heard of since
        reads = self._reads(record)
        if reads and not record.awaits_dial:
            found = Mode.PULL, reads
        if found is None:
            return None
        mode, interval = found
        return Target(
            uid=record.uid,
            name=name or record.name,
            place=place,
            mode=mode,
            interval=interval,
            reads=reads > 0,
        )

    def _may_be_visited(self, record: Record) -> bool:
        """Return whether an agent may be one to visit, by what costs next to nothing to know."""
        if record.dialer is Dialer.MANAGER:
            return True
        wanted = self._book.wanted(record.group)
        ordered = record.dialer is None and wanted is not None and wanted.is_visited
        return ordered or record.awaits_dial

    def _cadence(self, record: Record) -> tuple[Mode, float] | None:
        """Return mode and seconds by which an agent is visited, where it is or where it would be; None for never."""
        wanted = self._book.wanted(record.group)
        if wanted is None or not self._may_be_visited(record):
            return None
        within = wanted.settings_for(record.uid, record.candidate)
        here, state = settings_here(within, record), record.state
        if here.dialer is Dialer.MANAGER:
            return here.mode, here.heartbeat
        if state is not None and record.awaits_dial:
            # It has not been told otherwise yet, or may not dial since it was born by a visit.
            return (Mode.PUSH if state.mode == Mode.PUSH else Mode.PULL), state.promise
        if record.dialer is Dialer.AGENT:
            return None
        held = [one for settings in within.settings.values() for one in variants(settings)]
        others = [one for one in held if one.dialer is Dialer.MANAGER]
        best = min(others, key=lambda one: one.heartbeat, default=None)
        return (best.mode, best.heartbeat) if best else None

    def _reads(self, record: Record) -> float:
        """Return the seconds after which the data of an agent are read that dials for its orders; 0 for never."""
        wanted = self._book.wanted(record.group)
        if wanted is None or record.dialer is not None:
            return 0.0
        here = settings_here(wanted.settings_for(record.uid, record.candidate), record)
        reads = here.upload and here.data is not None and here.data.dialer is Dialer.MANAGER
        return here.heartbeat if reads and here.dialer is Dialer.AGENT else 0.0

    def _is_visited(self, target: Target | None) -> bool:
        return target is not None and (target.reads or not self._is_elsewhere(target))

    def _is_elsewhere(self, target: Target) -> bool:
        """Return whether an agent dials by its settings where it is, and came within the visit interval."""
        record = self._book.record(target.uid) if target.uid else None
        wanted = self._book.wanted(record.group) if record else None
        if record is None or wanted is None or record.last_contact is None or record.awaits_dial:
            return False
        if settings_here(wanted.settings_for(record.uid, record.candidate), record).dialer is Dialer.MANAGER:
            return False
        return record.link is not None or self._clock.now() - record.last_contact < target.interval


def _page(tx: Reading, *, after: str) -> list[AgentDefinitionRow]:
    return tx.agent_definitions(after=after, limit=PAGE)
