"""Who is a Proxy Manager now, whom each may speak for, and where each is to visit: kept in memory, for the links.

Rules:

1. What people define decides; it is read again as a whole when something of it changed, since there are few proxies.
2. An agent that is named by its name is meant while exactly one has it.
3. Changes are collected for a short time, and who asks meanwhile gets what held before.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from popham.errors import StateError
from popham.manager.agent_definitions import definition_of
from popham.manager.objects import read_tree
from popham.manager.proxies.binding import proxy_it_is
from popham.manager.proxies.definitions import proxy_definition_of
from popham.model.fleet import Tree
from popham.model.proxy_definition import STREAMS, Custody, ProxyDefinition
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.store.rows import AgentDefinitionRow
from popham.store.seam import Reading, Store
from popham.upstream.relaying import Scope

_log = logging.getLogger(__name__)
COLLECT = 0.25
"""Seconds for which changes are collected."""
RETRY = 5.0
"""Seconds until what could not be read is read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownProxy:
    """A Proxy Manager that is one now.

    Attributes:
        scope: Whom it may speak for.
        places: Where it is to visit agents.
    """

    uid: str
    definition: ProxyDefinition
    scope: Scope
    places: tuple[wire.PlaceTold, ...] = field(repr=False)


class ProxyDirectory:
    """Answers for the desk from memory; :meth:`run` keeps it."""

    def __init__(self, store: Store, *, changed: Callable[[], None] = lambda: None) -> None:
        """Know nobody yet.

        Args:
            store: Has the definitions.
            changed: Called after something of this is another; must not wait.
        """
        self._store = store
        self.changed = changed
        self._known: Mapping[str, KnownProxy] = {}
        self._defined = False
        self._woken = asyncio.Event()
        self._turn = asyncio.Lock()

    # What others ask.

    def uids(self) -> tuple[str, ...]:
        """Return the uids of all Proxy Managers."""
        return tuple(self._known)

    def has(self, uid: str) -> bool:
        """Return whether an agent is a Proxy Manager now."""
        return uid in self._known

    def scope_of(self, uid: str) -> Scope | None:
        """Return whom a Proxy Manager may speak for; None if it is none, or not any more."""
        found = self._known.get(uid)
        return found.scope if found is not None else None

    def name_of(self, uid: str) -> str:
        """Return the name of a Proxy Manager's definition; empty if it is none."""
        found = self._known.get(uid)
        return found.definition.name if found is not None else ""

    def definition_of(self, uid: str) -> ProxyDefinition | None:
        """Return what is defined of a Proxy Manager; None if it is none."""
        found = self._known.get(uid)
        return found.definition if found is not None else None

    def places_of(self, uid: str) -> list[wire.PlaceTold]:
        """Return where a Proxy Manager is to visit agents: all of it, by name."""
        found = self._known.get(uid)
        return list(found.places) if found is not None else []

    # What others say.

    def refresh_soon(self) -> None:
        """Take note that definitions of proxies or agents, or groups, were made, changed or deleted."""
        self._woken.set()

    def agent_changed(self, uid: str) -> None:
        """Take note that an agent joined, or was accepted, refused or revoked; it may be named, or be a proxy."""
        if self._defined or uid in self._known:
            self._woken.set()

    # Keeping it.

    async def load(self) -> None:
        """Read everything. Raises StateError."""
        async with self._turn:
            known, self._defined = await self._store.read(_read)
        if known != self._known:
            self._known = known
            self.changed()

    def is_settled(self) -> bool:
        """Return whether all that was changed before is known here."""
        return not self._woken.is_set()

    async def settle(self) -> None:
        """Return once what was changed before is known here: who was just accepted is not refused. Raises StateError."""
        if self._woken.is_set():
            await self.load()

    async def run(self) -> None:
        """Keep the directory, until cancelled."""
        while True:
            await self._woken.wait()
            await asyncio.sleep(COLLECT)
            self._woken.clear()
            try:
                await self.load()
            except StateError as error:
                if not error.retryable:
                    raise
                _log.warning("whom proxies speak for is looked at later: %s", error)
                await asyncio.sleep(RETRY)
                self._woken.set()


def _read(reading: Reading) -> tuple[dict[str, KnownProxy], bool]:
    """Return uid → Proxy Manager, and whether there are definitions of any."""
    rows = reading.proxies()
    if not rows:
        return {}, False
    tree = read_tree(reading)
    agents = reading.agents_of([row.uid for row in rows if row.uid])
    proxies = {row.uid for row in rows if row.uid}
    found: dict[str, KnownProxy] = {}
    for row in rows:
        agent = agents.get(row.uid)
        if agent is None or proxy_it_is(reading, agent) is None:
            continue
        definition, visited = proxy_definition_of(row), reading.agent_definitions_by(row.name)
        scope = _scope(reading, tree, definition, row.uid)
        found[row.uid] = KnownProxy(
            uid=row.uid,
            definition=definition,
            scope=replace(scope, relays=frozenset(one.uid for one in visited) & proxies),
            places=tuple(_place(one) for one in visited),
        )
    return found, True


def _scope(reading: Reading, tree: Tree, definition: ProxyDefinition, uid: str) -> Scope:
    """Return whom a proxy may speak for; itself by its own voice only."""
    groups = {group.name for name in definition.groups if name in tree for group in tree.below(name)}
    groups |= {name for name in definition.groups if name in tree}
    agents = {_uid_of(reading, agent) for agent in definition.agents} - {"", uid}
    custody = {stream: str(definition.custody.get(stream, Custody.HOP)) for stream in STREAMS}
    return Scope(
        groups=frozenset(groups), agents=frozenset(agents), custody=custody, names=tuple(definition.names)
    )


def _uid_of(reading: Reading, agent: str) -> str:
    """Return the uid of an agent by its name or uid; empty if nobody, or several, are meant."""
    try:
        return str(uuid.UUID(agent))
    except ValueError:
        found = reading.agents_named(agent)
        return found[0].uid if len(found) == 1 else ""


def _place(row: AgentDefinitionRow) -> wire.PlaceTold:
    place = definition_of(row).place()
    return wire.PlaceTold(
        name=row.name,
        key=uuid.UUID(row.uid).bytes if row.uid else b"",
        url=place.url,
        tls=place.tls,
        http_proxy=place.http_proxy,
        password=place.password,
        ca=place.ca,
    )
