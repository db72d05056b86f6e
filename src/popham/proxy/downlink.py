"""What a Proxy Manager is to the agents below it: a hub over what it was told, a door, visits, and the relay to above."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Protocol

import msgspec

from popham.agent.extension import Parts
from popham.clock import Clock
from popham.errors import StateError
from popham.model.communication import Dialer, Mode
from popham.model.status import Presence, presence
from popham.net.hot.admission import LinkRate
from popham.net.hot.listener import HotListener
from popham.net.listen_settings import Address
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.beneath import Beneath
from popham.proxy.cache import ProxyCache
from popham.proxy.calls import Calls
from popham.proxy.carrying import END_TO_END, ProxyIntake
from popham.proxy.chain import Chain
from popham.proxy.driving import Driving
from popham.proxy.ending import Ending
from popham.proxy.expecting import ExpectingBook
from popham.proxy.listening import Shown
from popham.proxy.ordering import ProxyOrdering
from popham.proxy.permit import VisitorPermit, keep_key
from popham.proxy.settings import ProxySettings
from popham.proxy.telemetry import ProxyOtlp
from popham.proxy.uplink import Uplink
from popham.proxy.visiting import ProxyVisits
from popham.streams.frame import Stream
from popham.trust.birth import FoundingDocuments
from popham.trust.identity import load_certificate, read_identity
from popham.upstream.hub import Hub
from popham.upstream.lag import Lag
from popham.upstream.relay_farewell import ENDED
from popham.upstream.room import Room
from popham.upstream.shedding import Load, Shedder
from popham.upstream.steering import Steering
from popham.upstream.targets import Target
from popham.upstream.visits import Dials

_log = logging.getLogger(__name__)
FOLDER: Final = "relay"
"""Everything of a Proxy Manager that its agent has not, below the state directory."""
FLUSH: Final = 5.0
"""Seconds between looks at who was in contact."""
TRUST_PATHS: Final = ("/v1/trust/ca", "/v1/trust/root", "/v1/trust/targets")
_WORDS: Final = (Presence.ON_TIME, Presence.OVERDUE, Presence.MISSING, Presence.NEVER_SEEN)


class Door(Protocol):
    """Where agents come in; :class:`popham.net.hot.listener.HotListener` is one."""

    @property
    def port(self) -> int:
        """On which it listens, once it does."""
        ...

    @property
    def link_rate(self) -> LinkRate:
        """How fast new links are let in."""
        ...

    async def start(self, hosts: Sequence[str], port: int) -> None:
        """Begin to listen. Raises ConfigError."""
        ...

    async def stop(self, *, retry_window: float) -> None:
        """Let nobody in any more; those who are in come again within so many seconds."""
        ...


class Downlink:
    """Serves the agents below one Proxy Manager.

    Attributes:
        shown: What its door shows.
        book: What it was told.
        hub: Hears and tells agents.
        uplink: Its end of the exchange.
        driving: Makes exchanges.
        visits: Dials agents.
        ending: Sends agents away once this machine is no Proxy Manager any more.
        listener: The agents' door.
        dial: Returns the way to an agent that is visited; None for the network.
    """

    dial: Callable[[Target], Dials] | None = None

    def __init__(self, settings: ProxySettings, parts: Parts, clock: Clock, rng: random.Random) -> None:
        """Wire the parts; :meth:`begin` reads what is kept. Called in a running loop.

        Raises:
            StateError: This machine has no certificate, or its key to visit with cannot be kept.
        """
        self._settings = settings
        self._clock = clock
        self._parts = parts
        self._at = Address.parse(settings.listen.agents, "listen.agents")
        self.shown = Shown(parts.state, parts.directory.root)
        self._folder = parts.directory.root / FOLDER
        self._folder.mkdir(mode=0o700, exist_ok=True)
        certificate = read_identity(load_certificate(parts.state.certificate() or b""))
        self._documents = _read_documents(parts)
        self.lag = Lag(clock.monotonic)
        self.cache = self._make_cache()
        calls = Calls(clock)
        self.book = ExpectingBook(
            *(self.cache, calls, clock),
            trust_domain=certificate.trust_domain,
            tuf=lambda: parts.tuf,
            rng=rng,
        )
        self.ordering = ProxyOrdering(calls)
        self.carrying = self._make_carrying(rng)
        self.uplink = Uplink(
            self.book,
            self.ordering,
            self.carrying,
            clock,
            rng.getrandbits(64) | 1,
            unvisited=lambda record: self.chain.unvisited(record) or self.visits.unvisited(record.uid),
        )
        self.hub = self._make_hub(rng, ProxyOtlp(calls, self.book.bearers.token_of))
        self.chain = Chain(
            *(parts.state.uid, self.book, self.hub, self.uplink, self.ordering, self.carrying),
            *(clock, rng.getrandbits(64) | 1),
        )
        self.visits = self.chain.visits = self._make_visits(certificate.trust_domain, rng)
        self.listener: Door = self._make_listener(rng)
        self.driving = Driving(
            self.uplink, parts.driver, parts.end, parts.ways.dial, clock=clock, draw=rng.random
        )
        self.ending = Ending(self.book, self.visits.permit, self.driving, lambda: parts.driver.dials)
        self._connect()

    def _make_cache(self) -> ProxyCache:
        return ProxyCache(self._folder / "cache", bodies_max=self._settings.relay.cache)

    def _make_listener(self, rng: random.Random) -> Door:
        settings = self._settings
        return HotListener(
            self.hub,
            context=self.shown.context,
            limits=settings.limits.bounds(),
            clock=self._clock,
            rng=rng,
            lag=self.lag.worst,
            peers=settings.peers.read(),
        )

    def _make_carrying(self, rng: random.Random) -> ProxyIntake:
        return ProxyIntake(
            self._folder / "streams",
            self._clock,
            ask=lambda kind, key, body: self.uplink.call(kind, key, body),  # noqa: PLW0108  # made later
            limits=self._settings.relay.bounds(),
            draw=rng.random,
        )

    def _make_hub(self, rng: random.Random, otlp: ProxyOtlp) -> Hub:
        settings, documents = self._settings, self._documents
        trust = (documents.ca, documents.root, documents.targets)
        self.steering = Steering(
            self._load,
            rounds=lambda: self.hub.counts.rounds,
            allowed=lambda: settings.limits.rounds_per_second,
        )
        return Hub(
            self.book,
            self._clock,
            endpoint=lambda: self.shown.endpoint(self.listener.port),
            trust=dict(zip(TRUST_PATHS, trust, strict=True)),
            room=Room(self._clock, cap=settings.limits.held(), rate=self._link_rate, rng=rng),
            steering=self.steering,
            shedder=Shedder(self._load, self._away),
            reported=lambda record: self.visits.reported(record),  # noqa: PLW0108  # made later
            ordering=self.ordering,
            intake=self.carrying,
            otlp=otlp,
            nonce=lambda: self.uplink.nonce,
        )

    def _make_visits(self, trust_domain: str, rng: random.Random) -> ProxyVisits:
        try:
            key = keep_key(self._folder / "visitor.key")
        except OSError as error:
            problem = f"the key to visit with cannot be kept: {error.strerror or error}"
            raise StateError("disk", problem, "Make room there, or mend it") from error
        parts = self._parts
        return ProxyVisits(
            self.book,
            self.hub,
            self.uplink.call,
            self.cache,
            VisitorPermit(key, uid=parts.state.uid, tuf=lambda: parts.tuf, clock=self._clock),
            self._documents,
            trust_domain=trust_domain,
            clock=self._clock,
            draw=rng.random,
            limits=self._settings.limits.bounds(),
            dial=self.dial,
            unreached=self._unreached,
        )

    def _connect(self) -> None:
        """Tell the parts of each other that were made in turn."""
        uplink, visits = self.uplink, self.visits
        uplink.hub = Beneath(self.hub, visits, self.book.arrived, chain=self.chain)
        uplink.on_places, uplink.on_visitor = self._placed, visits.stated
        uplink.on_check_in = self._check_in
        uplink.on_orders = self._ordered
        uplink.on_gone = self._gone
        self.carrying.on_standing, self.carrying.beat = self._invite, self._beat
        uplink.status = self._say_status
        self.driving.on_refused = self.ending.end

    async def begin(self) -> None:
        """Read what is kept, and open the door.

        Raises:
            StateError: What is kept cannot be read.
            ConfigError: The address cannot be listened on.
        """
        try:
            await self.book.load()
            self.uplink.load()
            self.visits.load(self.book.kept)
            await self.carrying.begin()
            self.uplink.discard()
        except OSError as error:
            problem = f"{self._folder} cannot be used: {error.strerror or error}"
            raise StateError("disk", problem, "Make room there, or mend it") from error
        await self.listener.start(self._at.hosts, self._at.port)
        self._say_open()

    def _say_open(self) -> None:
        """Say in the log where agents are served, for which groups, and by which way those above are reached."""
        settings, visitor = self._parts.end.settings, self.visits.permit.visitor
        for_whom = f"for the groups {', '.join(visitor.groups)}" if visitor else "for groups yet to be told"
        _log.info("agents are served at %s, %s", self.shown.endpoint(self.listener.port), for_whom)
        _log.info("it listens on %s, port %d", ", ".join(self._at.hosts), self.listener.port)
        up = "it is visited" if settings.dialer is Dialer.MANAGER else f"it dials {self._parts.ways.current}"
        _log.info("the way up: %s (%s)", up, settings.mode)

    async def run(self) -> None:
        """Serve, visit and relay until cancelled."""
        work: tuple[Coroutine[Any, Any, None], ...] = (
            *(self.hub.publish(), self.hub.flush(FLUSH), self.lag.run(), self.steering.run()),
            *(self.cache.run(), self.carrying.run(), self.visits.run(), self.driving.run()),
            *(self.chain.run(), self.ending.run()),
        )
        tasks = [asyncio.ensure_future(one) for one in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            await self.listener.stop(retry_window=self.hub.room.retry_window)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.carrying.close()

    # What the hub and people ask.

    def _ordered(self, orders: Mapping[str, Any]) -> None:
        if self.shown.lacks(orders.get("names")):
            self._parts.renew()
        self.ending.ordered(ended=bool(orders.get(ENDED)))

    def _placed(self, places: Sequence[wire.PlaceTold], everything: bool) -> None:  # the callable's form
        """Take where agents are to be visited: from here, or by proxies below."""
        self.visits.places_told(map(_own_place, places), everything)
        self.chain.lower.places_told(places, everything=everything)

    def _check_in(self, uid: str) -> None:
        self.visits.hasten(uid)

    def _gone(self, uid: str) -> None:
        self.visits.agent_changed(uid)
        self.carrying.forget(uuid.UUID(uid).bytes)

    def _invite(self, key: bytes, stream: Stream) -> None:
        """Tell an agent anew how far its streams are, if it holds a link."""
        record = self.book.find(key)
        if record is not None:
            self.hub.invitations.again(record)
            self.chain.stands(record, stream, self.carrying)

    def _beat(self) -> float:
        end = self._parts.end
        return end.settings.heartbeat if end.fallback or end.settings.mode is Mode.PULL else 0.0

    def _unreached(self, uid: str) -> None:
        record = self.book.record(uid)
        if record is not None:
            self.uplink.unvisited_changed(record)

    def _load(self) -> Load:
        return Load(self.lag.standing())

    def _away(self) -> float:
        return self.listener.link_rate.away()

    def _link_rate(self) -> float:
        return self.listener.link_rate.per_second

    def _say_status(self) -> dict[str, Any]:
        """Return what else the Manager is told of this proxy, and of those below."""
        below = self.chain.statuses()
        return {
            **({"below": below} if below else {}),
            "visitor_key": b64encode(self.visits.permit.key.public.der).decode(),
            "listens": self.shown.endpoint(self.listener.port),
            "visits": self.visits.view(),
        }

    def describe(self) -> dict[str, Any]:
        """Return how it stands below, and between; times are unix seconds."""
        now = self._clock.now()
        counts = Counter(presence(one.last_contact, one.promise, now) for one in self.book.records())
        return {
            "listens": self.shown.endpoint(self.listener.port),
            "agents": {str(word): counts[word] for word in _WORDS},
            "links": self.hub.room.held,
            "links_most": self.hub.room.cap,
            "spool": self.carrying.depth(),
            "bounds": msgspec.structs.asdict(self._settings.relay),
            "custody": {str(stream): self.carrying.custody.get(stream, END_TO_END) for stream in Stream},
            "cache": asdict(self.cache.view()),
            "visits": self.visits.view(),
            "relay": self.driving.describe(),
            "ended": self.ending.why,
        }


def _own_place(told: wire.PlaceTold) -> wire.PlaceTold:
    """Return what a place is to this proxy itself: none, if another visits there."""
    return wire.PlaceTold(name=told.name, gone=True) if told.proxy else told


def _read_documents(parts: Parts) -> FoundingDocuments:
    join, documents = parts.state.join(), parts.state.documents()
    if join is None or documents is None:
        raise StateError("not_enrolled", "this machine has no trust documents", "Enroll it again")
    return FoundingDocuments(ca=join.ca, root=documents.root, targets=documents.targets)
