"""Whom this proxy visits, and where: by what the Manager told of definitions, and by what agents say of themselves.

The rules are a Manager's own, but for two:

1. Nobody is visited while there is no statement that allows it.
2. Who answers at a place is kept here at once, and told to the Manager when that can be: a machine is born although the
   Manager comes by seldom.  What the Manager says of the place then holds.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from popham.clock import Clock
from popham.errors import LinkError, PophamError
from popham.model.agent_definition import AGENT_DEFINITIONS_MAX
from popham.model.generation import PROXIES
from popham.model.names import NAME
from popham.net.seam import Refused
from popham.net.visit_tls import Tls
from popham.net.visiting import Place
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.cache import ProxyCache
from popham.upstream.book import Book
from popham.upstream.kept_targets import RETRY, Defined, KeptTargets
from popham.upstream.targets import Target

_log = logging.getLogger(__name__)
_KIND: Final = "places"
_NOBODY: Final[Mapping[str, Target]] = MappingProxyType({})
_UID: Final = 16
_TLS: Final[Mapping[str, Tls]] = MappingProxyType({"agent": "agent", "web": "web", "off": "off"})
PATIENCE: Final = 3600.0
"""Seconds in which the Manager may answer who answered at a place, before it is told again."""
TOLD_MAX: Final = 64
"""Places of which that is told at once."""


class Call(Protocol):
    """Asks what stands above, as :class:`popham.proxy.uplink.Uplink` does."""

    async def __call__(
        self, kind: str, key: bytes, body: bytes, address: str = "", seconds: float = 10.0
    ) -> bytes:
        """Return the answer. Raises LinkError if there is none within ``seconds``, and as the other end refuses."""
        ...


class ProxyTargets(KeptTargets):
    """Implements :class:`popham.upstream.targets.Targets`; :meth:`run` keeps the mapping."""

    def __init__(
        self,
        book: Book,
        cache: ProxyCache,
        call: Call,
        clock: Clock,
        *,
        allowed: Callable[[], bool],
        http_proxy: str = "",
    ) -> None:
        """Know nobody yet.

        Args:
            book: Who is known, and what groups are to have.
            cache: Keeps what was told of places.
            call: Asks the Manager.
            clock: Wall time.
            allowed: Says whether this proxy may visit now.
            http_proxy: Web proxy where a place names none; empty for none.
        """
        super().__init__(book, clock, http_proxy=http_proxy, oldest=PROXIES)
        self._cache = cache
        self._call = call
        self._allowed = allowed
        self._places: dict[str, wire.PlaceTold] = {}
        self._touched: set[str] = set()
        self._unsaid: dict[str, str] = {}
        self._bound: set[str] = set()  # by what was found, and not by what was told
        self._found = asyncio.Event()

    @property
    def places(self) -> int:
        """How many places were told."""
        return len(self._places)

    def load(self, kept: Mapping[str, bytes]) -> None:
        """Take what the cache had: name of a definition → what was told of it."""
        for name, data in kept.items():
            try:
                self._take(wire.PlaceTold.FromString(data))
            except DecodeError as error:
                _log.warning("what was kept of the place %s is damaged, and is told again: %s", name, error)
                self._cache.remove(_KIND, name)

    def told(self, places: Iterable[wire.PlaceTold], *, everything: bool = False) -> None:
        """Take what the Manager told of places, those that are gone included; with ``everything`` there are no others."""
        found = list(places)
        if everything:
            left = self._places.keys() - {place.name for place in found}
            found += [wire.PlaceTold(name=name, gone=True) for name in sorted(left)]
        for place in found:
            bound = place.name in self._bound
            self._bound.discard(place.name)
            if not self._take(place) and not bound:
                continue
            if place.gone:
                self._cache.remove(_KIND, place.name)
            else:
                self._cache.put(_KIND, place.name, place.SerializeToString())

    def _take(self, place: wire.PlaceTold) -> bool:
        """Keep what was told of a place in memory; return whether it was another."""
        known = self._places.get(place.name)
        full = known is None and len(self._places) >= AGENT_DEFINITIONS_MAX
        if not NAME.fullmatch(place.name) or (
            not place.gone and (full or not place.url or place.tls not in _TLS)
        ):
            _log.warning("the place %.64r that was told is none", place.name)
            return False
        if known == place or (known is None and place.gone):
            return False
        if place.gone:
            del self._places[place.name]
        else:
            self._places[place.name] = place
        self._define(place)
        return True

    def _define(self, told: wire.PlaceTold) -> None:
        defined = None
        if not told.gone:
            tls, http_proxy = _TLS[told.tls], told.http_proxy or self._http_proxy
            place = Place(told.url, tls, http_proxy, told.password, told.ca)
            defined = Defined(place, str(uuid.UUID(bytes=told.key)) if len(told.key) == _UID else "")
        self._touched |= self.define(told.name, defined)
        self._woken.set()

    # What the visitor asks.

    def read(self) -> Mapping[str, Target]:
        """Return all targets now: none while this proxy may visit nobody."""
        return super().read() if self._allowed() else _NOBODY

    def one(self, key: str) -> Target | None:
        """Return one of them; None if it is not to be visited now."""
        return super().one(key) if self._allowed() else None

    def visits(self, key: str) -> bool:
        """Return whether a visit under a key would be made now."""
        return self._allowed() and super().visits(key)

    async def found(self, target: Target, uid: str) -> None:
        """Take note of which agent answers where a place without one points, and have the Manager told."""
        self._bind(target.name, uuid.UUID(uid).bytes)
        self._unsaid[target.name] = uid
        self._found.set()
        record = self._book.record(uid)
        if record is not None and not record.envelope:
            record.promise = max(record.promise, target.interval)  # it says so itself once it reports
        self.agent_changed(uid)

    def _bind(self, name: str, key: bytes) -> None:
        """Keep in memory who is at a place, nobody if ``key`` is empty; after a new start that is found anew."""
        known = self._places.get(name)
        if known is not None:
            bound = wire.PlaceTold()
            bound.CopyFrom(known)
            bound.key = key
            self._take(bound)
            self._bound.add(name)

    async def say(self) -> None:
        """Tell the Manager who was found, until cancelled."""
        while True:
            await self._found.wait()
            self._found.clear()
            some = list(self._unsaid.items())[:TOLD_MAX]
            await asyncio.gather(*(self._say(name, uid) for name, uid in some))
            if self._unsaid:
                self._found.set()
                await asyncio.sleep(RETRY)

    async def _say(self, name: str, uid: str) -> None:
        key, body = uuid.UUID(uid).bytes, wire.FoundCall(name=name).SerializeToString()
        try:
            await self._call("found", key, body, seconds=PATIENCE)
        except LinkError:
            return  # it is told again
        except (PophamError, Refused) as error:
            _log.warning("who answers at the place %s is not bound to it: %s", name, error)
            known = self._places.get(name)
            if known is not None and known.key == key:
                self._bind(name, b"")
        if self._unsaid.get(name) == uid:
            del self._unsaid[name]

    async def look(self, *, everything: bool) -> set[str]:
        """Return the keys that what was told since the last look concerns."""
        touched, self._touched = self._touched, set()
        return touched | ({self.key_of_definition(name) for name in self._places} if everything else set())
