"""The Manager's process: what it opens, what it runs, and in which order it ends.

It does not know HTTP for people: the composition root puts the REST API beside
it, on the same loop.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.x509 import DNSName, IPAddress, SubjectAlternativeName

from popham.clock import Clock
from popham.errors import StateError
from popham.manager.agentlist_watch import follow
from popham.manager.agents import reassign_all
from popham.manager.alerts.alerts import Alerts
from popham.manager.alerts.probed import ProbeAlerts
from popham.manager.backup import RESTORED
from popham.manager.book import ManagerBook
from popham.manager.bundles import Bundles
from popham.manager.census import Census
from popham.manager.costs import read_basis
from popham.manager.founding import DATABASE, KIND
from popham.manager.keys import ManagerKeys, load_keys
from popham.manager.live import Live
from popham.manager.measures import Measures, measure
from popham.manager.operations.history import History
from popham.manager.operations.register import Register
from popham.manager.probing import Probing, read_probes
from popham.manager.proxies.directory import ProxyDirectory
from popham.manager.records import Records
from popham.manager.rejoining import note_forgotten
from popham.manager.relays.relays import ManagerRelays
from popham.manager.rollout_watch import MYSELF, RolloutWatch
from popham.manager.rollouts import pause_restored
from popham.manager.service import ManagerService
from popham.manager.settings import ManagerSettings
from popham.manager.visits import Visits
from popham.net.hot.listener import HotListener
from popham.net.listen_settings import Address
from popham.net.lookups import Lookups
from popham.net.probing import Asking
from popham.net.tls import server_context
from popham.opamp.wire import OPAMP_PATH
from popham.statedir import StateDir
from popham.store.opening import open_store
from popham.store.seam import Store, Writing
from popham.trust.identity import load_certificate
from popham.upstream.hub import Hub
from popham.upstream.lag import COLLECT, Lag
from popham.upstream.room import Room
from popham.upstream.shedding import Load, Shedder
from popham.upstream.steering import Steering

_log = logging.getLogger(__name__)
FLUSH = 5.0
"""Seconds between writes of last contacts: what a crash may cost of them, and nothing else."""
RENEW_LISTENER = 60 * 86400.0
"""Seconds before its end at which a start makes the listener's certificate anew."""
TRUST_PATHS = ("/v1/trust/ca", "/v1/trust/root", "/v1/trust/targets")


class Manager:
    """A running Manager.

    Attributes:
        service: What people may ask of it.
        operations: Those that go on.
        proxies: Who is a Proxy Manager now.
        relays: Exchange with them what concerns the agents behind them.
        listener: The agents' door.
        state: The locked state directory.
    """

    def __init__(self, settings: ManagerSettings, clock: Clock, state: StateDir, store: Store) -> None:
        """Wire the parts; :meth:`run` starts them."""
        self.state = state
        self._store = store
        self._clock = clock
        self._at = Address.parse(settings.listen.agents, "listen.agents")
        keys = load_keys(state.root / "keys", urls=settings.urls, clock=clock)
        self.keys: ManagerKeys = keys
        self._book = ManagerBook(store, keys, clock, note_rate=self._note_rate)
        self.proxies = ProxyDirectory(store, changed=self._book.proxies_changed)
        self._book.watch_proxies(self.proxies.has)
        rng = random.SystemRandom()
        self.lag = Lag(clock.monotonic)
        self._steering = Steering(
            self._load,
            rounds=lambda: self.hub.counts.rounds,
            allowed=lambda: settings.limits.rounds_per_second,
        )
        self.operations = self._make_register()
        self._history = History(store, self.operations.outputs, clock)
        self.records = Records(
            state.root,
            settings,
            store,
            self._book,
            clock,
            draw=rng.random,
            told=lambda events: self.alerts.news(events),  # noqa: PLW0108  # made below
        )
        self.alerts = Alerts(store, self._book, self.records.summary.window, clock, settings.alerts)
        self.hub = self._make_hub(settings, rng)
        self.visits = Visits(
            settings.visits,
            self._book,
            self.hub,
            store,
            keys,
            clock=clock,
            draw=rng.random,
            limits=settings.limits.bounds(),
            unreached=self.operations.unreached,
        )
        self._book.on_joined = self._joined
        self.live = Live(self._book, self.hub, self.visits, self.operations.shut_out, self.proxies)
        self.relays = self._make_relays(rng)
        self.live.relay(self.relays)
        self._census = Census(self._book, clock)
        bundles = Bundles(keys.director)
        self._rollouts = RolloutWatch(
            store, self._book, bundles, clock, self.live.groups_changed, self.live.agent_changed
        )
        self.service = self._make_service(settings, rng)
        self._agentlist = follow(settings.visits.agentlist, store, clock, self.live.definitions_changed)
        self.listener = self._make_listener(settings, rng)
        self._probing = self._make_probing(settings)

    def _make_service(self, settings: ManagerSettings, rng: random.Random) -> ManagerService:
        root = self.state.root
        service = ManagerService(
            self._store,
            keys=self.keys,
            clock=self._clock,
            rng=rng,
            on_groups_changed=self._rollouts.groups_changed,
            links=self.live,
            measures=self._measure,
            basis=lambda: read_basis(root, settings.limits.connections, settings.limits.keepalive),
            ask_above=settings.publish.ask_above,
            members=self._rollouts.members,
            progress=self._rollouts.progress,
            holders=self._rollouts.holders,
            operations=self.operations,
            intake=self.records.intake.views,
            window=self.records.summary.window,
            rollups=self.records.summary.rollups,
            data=self.records.data,
        )
        service.on_silences_changed = self.alerts.silences_changed
        return service

    def _make_listener(self, settings: ManagerSettings, rng: random.Random) -> HotListener:
        return HotListener(
            self.hub,
            context=open_tls(self.state, self.keys, self._clock),
            limits=settings.limits.bounds(),
            clock=self._clock,
            rng=rng,
            lag=self.lag.worst,
            peers=settings.peers.read(),
        )

    def _make_probing(self, settings: ManagerSettings) -> Probing:
        return Probing(
            read_probes(settings.probes),
            Asking(Lookups(), self._clock),
            self.records.intake,
            ProbeAlerts(self._store, self.alerts, self._clock),
            self._clock,
        )

    def _make_register(self) -> Register:
        return Register(
            self._store,
            self._book,
            self.keys.director,
            self._clock,
            tell=lambda record: self.live.tell_orders(record),  # noqa: PLW0108  # made later
            ask=lambda uid: self.live.check_in(uid),  # noqa: PLW0108  # likewise
        )

    def _make_hub(self, settings: ManagerSettings, rng: random.Random) -> Hub:
        keys = self.keys
        return Hub(
            self._book,
            self._clock,
            endpoint=lambda: _websocket(settings),
            trust=dict(zip(TRUST_PATHS, (keys.ca.pem, keys.root, keys.targets), strict=True)),
            room=Room(self._clock, cap=settings.limits.held(), rate=self._link_rate, rng=rng),
            steering=self._steering,
            shedder=Shedder(self._load, self._away),
            reported=lambda record: self.visits.reported(record),  # noqa: PLW0108  # made later
            ordering=self.operations,
            intake=self.records.intake,
            otlp=self.records.otlp,
        )

    def _make_relays(self, rng: random.Random) -> ManagerRelays:
        return ManagerRelays(
            self._book,
            self.hub,
            self.proxies,
            self._store,
            self.keys,
            self._clock,
            rng.getrandbits(64) | 1,
            visits=self.visits,
            ordering=self.operations,
            otlp=self.records.otlp,
            shedder=Shedder(self._load, self._away),
            unreached=self.operations.unreached,
            defined=lambda name: self.live.definitions_changed([name]),
        )

    def _joined(self, uid: str) -> None:
        self.visits.targets.joined(uid)
        self.proxies.agent_changed(uid)
        self.relays.agent_changed(uid)

    def _load(self) -> Load:
        return Load(self.lag.standing(), self._store.waiting)

    def _link_rate(self) -> float:
        return self.listener.link_rate.per_second

    def _note_rate(self) -> str | None:
        return self.listener.link_rate.note()

    def _away(self) -> float:
        return self.listener.link_rate.away()

    def _measure(self) -> Measures:
        return measure(
            self.hub,
            self._census,
            self.lag,
            self.visits,
            self.operations,
            self.records,
            links=self.listener.links,
            link_rate=self.listener.link_rate.per_second,
            waiting=self._store.waiting,
            turned_away=self.listener.turned_away,
        )

    async def run(self, ready: asyncio.Event, stopping: asyncio.Event) -> None:
        """Serve agents until ``stopping`` is set; ``ready`` is set once the door is open.

        Raises:
            StateError: The database failed; the process must end.
            ConfigError: An address cannot be listened on.
        """
        usual = gc.get_threshold()
        try:
            await self._begin()
            await self._serve(ready, stopping)
        finally:
            await self.records.close()
            gc.set_threshold(*usual)

    async def _serve(self, ready: asyncio.Event, stopping: asyncio.Event) -> None:
        await self.listener.start(self._at.hosts, self._at.port)
        work = [
            asyncio.ensure_future(part)
            for part in (
                *(self.hub.publish(), self.hub.flush(FLUSH), self.live.run(), self._store.watch()),
                *(self.lag.run(), self._steering.run(), self._census.run(), self._rollouts.run()),
                *(self.visits.run(), self.operations.run(), self._history.run(), self.proxies.run()),
                self.relays.run(),
                *(*self.records.work(), self.alerts.run(), self._probing.run()),
                *([self._agentlist.run()] if self._agentlist else []),
            )
        ]
        stop = asyncio.ensure_future(stopping.wait())
        ready.set()
        try:
            await asyncio.wait({stop, *work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self.listener.stop(retry_window=self.hub.room.retry_window)
            for task in (stop, *work):
                task.cancel()
            results = await asyncio.gather(stop, *work, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _begin(self) -> None:
        try:
            await self._recover()
            await self._read()
        except StateError:
            # The check of the database (REL-16) says more than a page that could not be read.
            await self._store.write(lambda _tx: None)
            raise

    async def _read(self) -> None:
        """Read what is known; it stays, so the collector of garbage need not look at it, now or later."""
        gc.disable()
        try:
            await self._book.load()
            await self.proxies.load()
            await self.operations.load()
            await self.records.begin()
        finally:
            gc.enable()
        self.listener.link_rate.resume(self._book.link_rate)
        gc.freeze()
        gc.set_threshold(*COLLECT)

    async def _recover(self) -> None:
        """After a restore, sign everything anew before the first answer, above what agents may hold."""
        now, director = self._clock.now(), self.keys.director
        beside = self.state.root / RESTORED
        # Asked by reading: a write waits for the check of the database.
        said = await self._store.read(lambda tx: tx.meta(RESTORED))
        if not said and not beside.exists():
            return
        restored = said or beside.read_text()

        def work(tx: Writing) -> int:
            bundles = Bundles(director)
            signed = bundles.resign_all(tx, now=now)
            assigned = reassign_all(tx, director, now=now)
            pause_restored(tx, bundles, MYSELF, now=now)
            note_forgotten(tx, restored)
            tx.set_meta(RESTORED, "")
            return len(signed) + assigned

        count = await self._store.write(work)
        beside.unlink(missing_ok=True)
        _log.warning("this Manager was restored from a backup: %d documents were signed anew", count)


def open_tls(state: StateDir, keys: ManagerKeys, clock: Clock) -> ssl.SSLContext:
    """Return the listener's context; its certificate is made anew if it ends soon."""
    tls = state.root / "tls"
    held = load_certificate((tls / "listener.pem").read_bytes())
    left = held.not_valid_after_utc.timestamp() - clock.now()
    if left < RENEW_LISTENER:
        names = held.extensions.get_extension_for_class(SubjectAlternativeName).value
        known = [*names.get_values_for_type(DNSName), *map(str, names.get_values_for_type(IPAddress))]
        certificate, key = keys.ca.issue_listener(known)
        state.write("tls/listener.key", key)
        state.write("tls/listener.pem", certificate)
        _log.info("the listener's certificate, which had %d days left, was made anew", left // 86400)
    # The issuing certificate alone: whoever stands above it may not speak for agents.
    state.write("tls/agents.pem", keys.ca.pem)
    return server_context(tls / "listener.pem", tls / "listener.key", tls / "agents.pem")


@asynccontextmanager
async def open_manager(settings: ManagerSettings, clock: Clock) -> AsyncIterator[Manager]:
    """Open a Manager's state directory and database, and close them at the end.

    Raises:
        StateError: They cannot be used, or another process uses them.
    """
    with StateDir.open(Path(settings.state), KIND, create=False) as state:
        store = await asyncio.to_thread(open_store, settings.database, state.root / DATABASE, clock=clock)
        try:
            yield Manager(settings, clock, state, store)
        finally:
            await store.aclose()


def _websocket(settings: ManagerSettings) -> str:
    url = settings.urls[0] if settings.urls else "https://localhost:4320"
    return url.replace("https://", "wss://", 1).rstrip("/").removesuffix(OPAMP_PATH) + OPAMP_PATH
