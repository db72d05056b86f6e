"""A fleet in virtual time: the real Manager and the real agent's end over a network in memory.

Only bytes on the wire, the disk and the applier are made up.  Everything that
decides — hub, directive, book, service, bundles, session, enforcer, driver —
is what runs in production, so a story told here holds there.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from popham.downstream.enroll import CA_PATH, ROOT_PATH, TARGETS_PATH
from popham.downstream.service import VisitService
from popham.manager.book import ManagerBook
from popham.manager.bundles import Bundles
from popham.manager.definitions import PLAIN, Applied, Terms, apply_definitions, found_fleet
from popham.manager.grant import Grant, Role
from popham.manager.keys import ManagerKeys, create_keys
from popham.manager.live import Live
from popham.manager.objects import group_of, row_of
from popham.manager.operations.register import Register
from popham.manager.proxies.directory import ProxyDirectory
from popham.manager.publishing import Publishing
from popham.manager.relays.relays import ManagerRelays
from popham.manager.rollout_watch import RolloutWatch
from popham.manager.service import ManagerService
from popham.manager.settings import VisitsSettings
from popham.manager.visits import Visits
from popham.model.communication import CommunicationSettings
from popham.model.definition import check
from popham.model.documents import SourceFile
from popham.model.fleet import COMMUNICATION, Group
from popham.model.names import ROOT_GROUP
from popham.store.memory import MemoryStore
from popham.store.seam import Store, Writing
from popham.testing.agent import MANAGER, SimAgent
from popham.testing.dials import MemoryDials
from popham.testing.network import Network
from popham.testing.proxy import SimProxy
from popham.testing.virtual import VirtualClock
from popham.trust.join import JoinString
from popham.upstream.hub import Hub
from popham.upstream.intake import Intake
from popham.upstream.room import Room
from popham.upstream.shedding import Load
from popham.upstream.steering import Steering
from popham.upstream.targets import Target

ADMIN = Grant(actor="simulation", role=Role.ADMIN, source="memory")
FLUSH = 5.0
"""Seconds between writes of last contacts."""


_PROXY = """
apiVersion: popham/v1
kind: Proxy
metadata: {{name: {name}}}
spec:
  groups: [{groups}]
  names: [{name}]
{spec}
"""


class SimManager:
    """One Manager; what it writes survives :meth:`crash`.

    Attributes:
        cap: How many links may be held, from the next start on; 0 for any number.
        load: What there is to do, as its steering sees it.
        intake: Takes streams, from the next start on; None if none are taken.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.store: Store = MemoryStore()
        self.keys = simulation.keys
        self.bundles = Bundles(self.keys.director)
        self.cap = 0
        self.load = Load()
        self.intake: Intake | None = None
        self.book: ManagerBook
        self.hub: Hub
        self.live: Live
        self.visits: Visits
        self.proxies: ProxyDirectory
        self.relays: ManagerRelays
        self.operations: Register
        self.rollouts: RolloutWatch
        self.service: ManagerService
        self._boots = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to serve from what was written."""
        clock = self._simulation.clock
        await self.store.write(lambda tx: found_fleet(tx, self.bundles, now=clock.now()))
        self.book = ManagerBook(self.store, self.keys, clock)
        self.proxies = ProxyDirectory(self.store, changed=self.book.proxies_changed)
        self.book.watch_proxies(self.proxies.has)
        self.operations = self._make_register()
        trust = {CA_PATH: self.keys.ca.pem, ROOT_PATH: self.keys.root, TARGETS_PATH: self.keys.targets}
        # What one start draws, such as the nonce of an operation, no later one draws again.
        rng = random.Random(self._simulation.seed + self._boots)  # noqa: S311  # a simulation, not a secret
        steering = Steering(lambda: self.load)
        self.hub = Hub(
            self.book,
            clock,
            endpoint=lambda: "wss://manager/v1/opamp",
            trust=trust,
            room=Room(clock, cap=self.cap, rng=rng),
            steering=steering,
            reported=lambda record: self.visits.reported(record),  # noqa: PLW0108  # made below
            ordering=self.operations,
            intake=self.intake,
        )
        self.visits = Visits(
            VisitsSettings(),
            self.book,
            self.hub,
            self.store,
            self.keys,
            clock=clock,
            draw=rng.random,
            limits=self._simulation.network.limits,
            dial=self._dial,
            unreached=self.operations.unreached,
        )
        self.live = live = Live(self.book, self.hub, self.visits, self.operations.shut_out, self.proxies)
        self.relays = self._make_relays()
        live.relay(self.relays)
        self.book.on_joined = self._joined
        self.rollouts = RolloutWatch(
            self.store, self.book, self.bundles, clock, live.groups_changed, live.agent_changed
        )
        self.bundles.publishing = Publishing(members=self.rollouts.members, rng=rng)
        self.service = ManagerService(
            self.store,
            keys=self.keys,
            clock=clock,
            rng=random.Random(self._simulation.seed + self._boots),  # noqa: S311  # a simulation, not a secret
            on_groups_changed=self.rollouts.groups_changed,
            links=self.live,
            members=self.rollouts.members,
            progress=self.rollouts.progress,
            holders=self.rollouts.holders,
            operations=self.operations,
        )
        await self.book.load()
        await self.proxies.load()
        await self.operations.load()
        self._run(steering)
        self._simulation.network.services[MANAGER] = self.hub

    def _run(self, steering: Steering) -> None:
        work = (
            self.hub.publish(),
            self.hub.flush(FLUSH),
            self.live.run(),
            steering.run(),
            self.rollouts.run(),
            self.visits.run(),
            self.operations.run(),
            self.proxies.run(),
            self.relays.run(),
        )
        self._tasks = [asyncio.ensure_future(one) for one in work]

    def _make_register(self) -> Register:
        return Register(
            self.store,
            self.book,
            self.keys.director,
            self._simulation.clock,
            tell=lambda record: self.live.tell_orders(record),  # noqa: PLW0108  # made below
            ask=lambda uid: self.live.check_in(uid),  # noqa: PLW0108  # likewise
        )

    def _make_relays(self) -> ManagerRelays:
        self._boots += 1
        return ManagerRelays(
            self.book,
            self.hub,
            self.proxies,
            self.store,
            self.keys,
            self._simulation.clock,
            self._boots,
            visits=self.visits,
            ordering=self.operations,
            unreached=self.operations.unreached,
            defined=lambda name: self.live.definitions_changed([name]),
        )

    def _joined(self, uid: str) -> None:
        self.visits.targets.joined(uid)
        self.proxies.agent_changed(uid)
        self.relays.agent_changed(uid)

    async def crash(self) -> None:
        """Die: memory is gone, links break, what was not written is lost."""
        self._simulation.network.stop(MANAGER)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def put_group(
        self, name: str, settings: CommunicationSettings | None = None, *, parent: str = ROOT_GROUP
    ) -> None:
        """Make a group with settings of its own, whatever a definition would say of them."""
        clock = self._simulation.clock

        def work(tx: Writing) -> list[str]:
            old = tx.group(name)
            if old is None:
                fresh = Group(
                    name=name,
                    parent="" if name == ROOT_GROUP else parent,
                    inherits=name != ROOT_GROUP,
                    exceptions={COMMUNICATION: False} if settings and name != ROOT_GROUP else {},
                    communication=settings,
                )
            else:
                known = group_of(old)
                off = {COMMUNICATION: False} if known.parent else {}
                fresh = replace(known, communication=settings, exceptions={**known.exceptions, **off})
            tx.put_group(row_of(fresh, (old.edition if old else 0) + 1))
            return [row.group for row in self.bundles.publish(tx, [name], now=clock.now())]

        self.live.groups_changed(await self.store.write(work))

    async def publish(self, text: str, terms: Terms = PLAIN) -> tuple[str, ...]:
        """Apply definitions, and return the groups with a new bundle."""
        now = self._simulation.clock.now()
        definitions = check([SourceFile("simulation.yaml", text)])

        def work(tx: Writing) -> Applied:
            return apply_definitions(tx, definitions, self.bundles, grant=ADMIN, now=now, terms=terms)

        applied = await self.store.write(work)
        self.rollouts.groups_changed(applied.groups)
        self.live.definitions_changed([one.name for one in applied.result.changes if one.kind == "Agent"])
        self.live.proxies_changed([one.name for one in applied.result.changes if one.kind == "Proxy"])
        return applied.groups

    def _dial(self, target: Target) -> MemoryDials:
        """Return the way to whoever is at a place: the agent of that name, or whom somebody put there."""
        simulation, host = self._simulation, target.place.host
        dials = MemoryDials(simulation.network, host, MANAGER, lambda: simulation.serves(host))
        simulation.dials.append(dials)
        return dials


class Simulation:
    """A Manager, its agents, and the network between them, all from one seed.

    Attributes:
        moved: Address → name of the agent that answers there instead; empty for nobody.
        dials: Ways into services that the Manager made.
        streams_in: Where the streams of agents are that start from now on; None if they have none.
        proxies: Those that were added.
    """

    def __init__(self, clock: VirtualClock, keys: ManagerKeys, seed: int = 7) -> None:
        """Begin with nobody."""
        self.clock = clock
        self.keys = keys
        self.seed = seed
        self.network = Network(seed)
        self.manager = SimManager(self)
        self.agents: dict[str, SimAgent] = {}
        self.moved: dict[str, str] = {}
        self.dials: list[MemoryDials] = []
        self.streams_in: Path | None = None
        self.proxies: dict[str, SimProxy] = {}
        self._random = random.Random(seed)  # noqa: S311  # a simulation, not a secret

    def uuid(self) -> uuid.UUID:
        """Return the next instance_uid."""
        return uuid.UUID(int=self._random.getrandbits(128), version=4)

    def serves(self, host: str) -> VisitService | None:
        """Return what answers visits at an address; None for nobody."""
        name = self.moved.get(host, host)
        agent = self.agents.get(name) or self.proxies.get(name)
        return agent.service if agent else None

    async def add_agents(self, group: str, names: Sequence[str], *, via: str = MANAGER) -> list[SimAgent]:
        """Enroll and start agents in a group, whose join string leads to the Manager, or ``via`` a proxy."""
        made = await self.manager.service.create_token(ADMIN, group=group, uses=len(names), accepts=True)
        join = replace(JoinString.parse(made.secret), urls=(f"https://{via}:4320",))
        added = []
        for name in names:
            agent = SimAgent(self, name)
            await agent.enroll(join)
            self.agents[name] = agent
            agent.start()
            added.append(agent)
        return added

    async def add_proxy(
        self, name: str, groups: Sequence[str], *, group: str = ROOT_GROUP, spec: str = ""
    ) -> SimProxy:
        """Define, enroll, accept and start a Proxy Manager to which groups are given.

        It is itself in ``group``; ``spec`` are more lines of its definition.
        """
        await self.manager.publish(_PROXY.format(name=name, groups=", ".join(groups), spec=spec))
        made = await self.manager.service.create_token(ADMIN, kind="proxy", group=group, uses=1, proxy=name)
        proxy = SimProxy(self, name)
        await proxy.enroll(JoinString.parse(made.secret))
        self.proxies[name] = proxy
        proxy.start()
        return proxy

    async def accept(self, name: str) -> None:
        """Accept an agent that waits."""
        await self.manager.service.accept(ADMIN, name)

    async def end(self) -> None:
        """Stop everybody."""
        for agent in (*self.agents.values(), *self.proxies.values()):
            await agent.crash()
        await self.manager.crash()
        for proxy in self.proxies.values():
            proxy.close()


def make_keys(clock: VirtualClock) -> ManagerKeys:
    """Return keys for simulations; making them takes a while, so tests share them."""
    with tempfile.TemporaryDirectory() as folder:
        return create_keys(
            Path(folder), urls=("https://manager:4320",), trust_domain="simulation", clock=clock
        )
