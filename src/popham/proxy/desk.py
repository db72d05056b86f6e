"""What a Proxy Manager answers to those below it, from what it was told; a :class:`popham.upstream.relaying.Desk`.

Rules:

1. A lower proxy speaks for the groups and agents that were given to it, as far as this proxy was told of them: so they
   were given to this one, too, and so on up to the Manager (SEC-30).
2. Nothing of an agent with a key is taken that this key has not signed; whether a state record is new enough the Manager
   says, whose nonces are handed on as they are.
3. What is not known here is never said to be gone: it is asked above, and told once it is known.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from google.protobuf.message import DecodeError

from popham.clock import Clock
from popham.errors import GrantError, LinkError, NotFoundError, PophamError, WireError
from popham.opamp.codec import parse_agent
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.book import ProxyBook
from popham.proxy.handing import Handing
from popham.proxy.lower import LowerProxies
from popham.upstream.callers import shut_out
from popham.upstream.hearing import find_newer
from popham.upstream.orders import Ordering
from popham.upstream.record import Record
from popham.upstream.relay_carried import RelayedStreams
from popham.upstream.relay_notes import note_arrived, note_offered, note_promise
from popham.upstream.relay_placed import Claim, Placed
from popham.upstream.relay_told import tell_agent, tell_group
from popham.upstream.relaying import Answer, Scope
from popham.upstream.reports import Reports

STRANGERS_MAX: Final = 10_000
"""Agents of which it is remembered that they are not this proxy's, and that they were not known when they were said."""
_SENTENCE: Final = 500
_KEY: Final = 16


class ProxyDesk:
    """Answers from a proxy's book.

    Attributes:
        placed: At which of the lower proxies agents are.
        changed: Told the uid of an agent of which a lower proxy may have to be told. Must not wait.
        on_said: Told a record of which something is to be said above. Must not wait.
        on_left: Told agents, by uids of 16 bytes, that are at none of the lower proxies any more. Must not wait.
    """

    def __init__(
        self,
        uid: str,
        book: ProxyBook,
        lower: LowerProxies,
        placed: Placed,
        reports: Reports,
        ordering: Ordering,
        streams: RelayedStreams,
        handing: Handing,
        clock: Clock,
        *,
        nonce: Callable[[], bytes],
    ) -> None:
        """Keep what is needed.

        Args:
            uid: Of this proxy.
            book: What it was told.
            lower: Who may stand below it.
            placed: At which proxy agents are.
            reports: Takes note of what agents say.
            ordering: Hears of operations.
            streams: Keeps frames.
            handing: Asks above.
            clock: Wall time.
            nonce: Returns the newest nonce of the proxy that is next to the Manager.
        """
        self.placed = placed
        self.changed: Callable[[str], None] = lambda _uid: None
        self.on_said: Callable[[Record], None] = lambda _record: None
        self.on_left: Callable[[Iterable[bytes]], None] = lambda _keys: None
        self._uid, self._book, self._lower, self._reports = uid, book, lower, reports
        self._ordering, self._streams, self._handing, self._clock = ordering, streams, handing, clock
        self._nonce = nonce
        self._gone: dict[bytes, None] = {}
        self._unheard: dict[bytes, None] = {}
        self._wanted: set[bytes] = set()  # those whose bundle is wanted above
        handing.tell, handing.known = book.tell, self._known

    # What is told from above.

    def told_above(self, record: Record, told: wire.AgentTold) -> None:
        """Take note of what was told of an agent, whose record is written by now."""
        self._gone.pop(record.key, None)
        (self._wanted.add if told.want_bundle else self._wanted.discard)(record.key)
        self._lower.told(record, told)

    def gone_above(self, record: Record) -> None:
        """Take note that an agent is not this proxy's any more, nor of any below it."""
        self._wanted.discard(record.key)
        _remember(self._gone, record.key)
        self._lower.gone(record.uid)
        if record.via:
            self.placed.came(record)
        self.changed(record.uid)

    def is_gone(self, uid: str) -> bool:
        """Return whether those above said of an agent that is not known here that it is none of this proxy's."""
        return uuid.UUID(uid).bytes in self._gone

    # What lower proxies are told.

    def scope(self, proxy: Record) -> Scope | None:
        """Return whom a proxy may speak for; None if it is no proxy."""
        return None if proxy.uid == self._uid else self._lower.scope_of(proxy.uid)

    def told(self, proxy: Record, key: bytes) -> wire.AgentTold | None:
        """Return what a proxy is to know of an agent; None while nobody here knows: then it is asked above."""
        record, scope = self._book.find(key), self.scope(proxy)
        if record is None and scope is not None and key not in self._gone:
            self._handing.ask(proxy, key)
            return None
        given = record is not None and scope is not None and scope.has(record)
        if record is None or not given or self._is_itself(proxy, record) or self._has_left(proxy, key):
            return wire.AgentTold(key=key, gone=True)
        if record.relay is not None:
            record.relay.ordered = record.orders is not None
        told = tell_agent(record)
        told.want_state, told.want_bundle = record.want_state, key in self._wanted
        told.say = key in self._unheard
        if record.via[:1] != (proxy.uid,):
            held = self.placed.is_held(proxy, record)
            told.want_state |= held and bool(record.public_key)
            told.say |= self.placed.is_claimed(proxy, record) and not held
        further = self._lower.told_of(record.uid)
        if further is not None:
            told.proxy.CopyFrom(further)
        return told

    def _is_itself(self, proxy: Record, record: Record) -> bool:
        return record.uid in {proxy.uid, self._uid}

    def _has_left(self, proxy: Record, key: bytes) -> bool:
        return self.placed.is_gone(proxy.uid, key)

    def group_told(self, proxy: Record, name: str) -> wire.GroupTold | None:
        """Return what the agents of a group are to have; None while that is not here."""
        scope = self.scope(proxy)
        if scope is None or name not in self._groups_of(scope):
            return wire.GroupTold(name=name, gone=True)
        wanted = self._book.wanted(name)
        return tell_group(wanted) if wanted is not None else None

    def _groups_of(self, scope: Scope) -> frozenset[str]:
        records = (self._book.record(uid) for uid in scope.agents)
        return scope.groups | {record.group for record in records if record is not None}

    def places(self, proxy: Record) -> Iterable[wire.PlaceTold] | None:
        """Return where a proxy is to visit agents, and where those are to that may stand below it."""
        scope, found = self.scope(proxy), self._lower.places_of(proxy.key)
        if scope is None or found is None:
            return None
        for uid in self._lower.uids():
            further = self._book.record(uid)
            if further is not None and uid != proxy.uid and scope.has(further):
                found += self._lower.places_of(further.key) or ()
        return [_place(one, proxy) for one in found]

    def body(self, proxy: Record, sha256: str) -> bytes | None:
        """Return a body that a bundle of the proxy's groups names."""
        return next((blobs.get(sha256) for blobs in self._naming(proxy, sha256)), None)

    async def fetch(self, proxy: Record, sha256: str) -> int:
        """Have such a body in memory, since it is about to be asked for; return its bytes."""
        return await self._book.fetch(sha256) if any(self._naming(proxy, sha256)) else 0

    def _naming(self, proxy: Record, sha256: str) -> Iterator[Mapping[str, bytes]]:
        """Yield the bodies of each bundle of the proxy's groups that names one that is here."""
        scope = self.scope(proxy)
        known = self._book.groups.names()
        for name in self._groups_of(scope).intersection(known) if scope is not None else ():
            wanted = self._book.wanted(name)
            if wanted is not None and sha256 in wanted.blobs:
                yield wanted.blobs

    def nonce(self, proxy: Record) -> bytes:  # noqa: ARG002  # the form of Desk
        """Return the newest nonce: the Manager's, of the proxy next to it."""
        return self._nonce()

    def visitor(self, proxy: Record) -> bytes:
        """Return the Manager's statement that lets a proxy visit agents; empty while there is none."""
        told = self._lower.told_of(proxy.uid)
        return told.visitor if told is not None else b""

    # What lower proxies say.

    async def said(self, proxy: Record, said: wire.AgentSaid) -> bool:
        """Take note of what an agent said: it goes up. Raises PophamError."""
        record = self.given(proxy, said.key)
        if record is None:
            if said.key not in self._gone:
                _remember(self._unheard, said.key)
                self._handing.ask(proxy, said.key)
            return True
        if shut_out(record) is not None:
            return True
        message = parse_agent(said.message)
        if message.instance_uid != said.key:
            raise WireError("instance_uid", "what a proxy says of an agent is another agent's")
        self._check_way(said.via)
        self.placed.check_way(proxy, record, said.via)
        # Whether what it signed is late enough the Manager says; that nobody here knew it shows where it was signed.
        claim = self.placed.claim(proxy, record, said, lambda: find_newer(record, message) is not None)
        if claim is not Claim.TAKEN:
            return True
        before = (record.via, self._unvisited(record), record.promise)
        relay = self.placed.place(proxy, record, said)
        if said.token:
            self._book.note_token(said.key, said.token)
        note_offered(self._ordering, record, said.offered)
        await self._reports.relayed(record, message, lambda _state: True)
        if record.relay is not relay:
            return True  # it went elsewhere meanwhile
        note_promise(record, relay, said)
        relay.unvisited = said.unvisited[:_SENTENCE]
        again = self._unheard.pop(said.key, record) is None
        if before != (record.via, self._unvisited(record), record.promise) or again:
            self.on_said(record)
        return again or record.orders is not None or record.want_state

    @staticmethod
    def _unvisited(record: Record) -> str:
        return record.relay.unvisited if record.relay is not None else ""

    def _check_way(self, via: Sequence[bytes]) -> None:
        if uuid.UUID(self._uid).bytes in via:
            raise WireError("relay", "a proxy is behind itself", "Let none of two proxies be given the other")

    def arrived(self, proxy: Record, key: bytes, heard: Sequence[str]) -> None:  # noqa: ARG002  # the form of Desk
        """Take note that results were named as durable."""
        record = self._book.find(key)
        if record is not None and note_arrived(record, heard):
            self.changed(record.uid)

    def left(self, proxy: Record, keys: Iterable[bytes]) -> None:
        """Take note that agents are not at a proxy any more; those above are told."""
        records = [record for record in map(self._book.find, keys) if record is not None]
        found = [record.key for record in records if record.via[:1] == (proxy.uid,)]
        self.placed.left(proxy, records)
        self.on_left(found)

    def present(self, proxy: Record, boot: int, presence: bytes) -> None:
        """Take note of when the agents of a proxy were heard of; it is here itself, whoever said otherwise."""
        if proxy.via:
            self.placed.came(proxy)
            self.on_said(proxy)
        self.placed.note_presence(proxy, boot, presence)
        for uid in self.placed.released(proxy):
            self.changed(uid)

    def stood(self, proxy: Record, status: bytes) -> None:
        """Take note of how a proxy says that it stands."""
        self.placed.note_status(proxy.uid, status)

    async def append(self, proxy: Record, carried: wire.Carried) -> Sequence[wire.Stood]:
        """Keep frames of an agent; those of one that is not known here are said again once it is."""
        try:
            record = self.given(proxy, carried.key)
        except GrantError as error:
            record = self._book.find(carried.key)
            if record is None or self._is_itself(proxy, record):
                raise
            return await self._streams.fill(record, carried, error)
        if record is None:
            _remember(self._unheard, carried.key)
            self._handing.ask(proxy, carried.key)
            return ()
        return await self._streams.append(record, carried)

    async def call(self, proxy: Record, call: wire.RelayCall) -> bytes:
        """Answer how far a stream is, where that is known; all other calls are handed on."""
        record = self.given(proxy, call.key)
        if call.kind != "standing" or record is None:
            raise NotFoundError("message", f"there is no call {call.kind[:32]!r} here", "Upgrade this proxy")
        if not self._handing.stands(call.key):
            raise LinkError("busy", "how far the stream is above is not known yet", retry_after=1.0)
        try:
            said = wire.StandingCall.FromString(call.body)
        except DecodeError as error:
            raise WireError("malformed", "the body of a call is malformed") from error
        return await self._streams.standing(record, said.stream, said.epoch)

    def hand_on(self, proxy: Record, call: wire.RelayCall, done: Answer) -> bool:
        """Ask above, and have ``done`` told; False for what is answered here."""
        if call.kind == "standing" and self._handing.stands(call.key):
            return False
        try:
            self._check_way(call.via)
            self.given(proxy, call.key)
        except PophamError as error:
            done(error)
            return True
        self._handing.hand_on(proxy, call, done, self._taking(proxy))
        return True

    def _taking(self, proxy: Record) -> Callable[[wire.AgentTold], None]:
        """Return what takes the answers about agents: they are this proxy's by that, too."""

        def take(told: wire.AgentTold) -> None:
            scope = self.scope(proxy)
            uid = str(uuid.UUID(bytes=told.key)) if len(told.key) == _KEY else ""
            if scope is None or not (told.group in scope.groups or uid in scope.agents):
                raise not_given(told.name or "of this token", told.group, proxy)
            if uid:
                self._book.tell(told)
                self._known(proxy, told.key)

        return take

    def _known(self, proxy: Record, key: bytes) -> None:
        """Take note of an agent of which something was told at the word of a proxy; or that it is none."""
        record = self._book.find(key)
        if record is None:
            _remember(self._gone, key)
            self._unheard.pop(key, None)
        else:
            self.placed.met(proxy, record)
        self.changed(str(uuid.UUID(bytes=key)))

    def given(self, proxy: Record, key: bytes) -> Record | None:
        """Return an agent that a proxy may speak for; None if it is not known. Raises GrantError ``grant.proxy``."""
        record, scope = self._book.find(key), self.scope(proxy)
        if record is None or (scope is not None and scope.has(record) and not self._is_itself(proxy, record)):
            return record
        raise not_given(record.name, record.group, proxy)


def not_given(name: str, group: str, proxy: Record) -> GrantError:
    """Return the error of an agent for which a proxy may not speak."""
    problem = f"agent {name} is in the group {group}, which was not given to the proxy {proxy.name}"
    return GrantError("proxy", problem, "Name the group, or the agent, in the definition of the proxy")


def _place(told: wire.PlaceTold, proxy: Record) -> wire.PlaceTold:
    """Return a place as the one hears it that visits there, or stands above that."""
    found = wire.PlaceTold()
    found.CopyFrom(told)
    if found.proxy == proxy.key:
        found.ClearField("proxy")
    return found


def _remember(kept: dict[bytes, None], key: bytes) -> None:
    """Remember an agent, of very many the newest only."""
    kept.pop(key, None)
    kept[key] = None
    if len(kept) > STRANGERS_MAX:
        del kept[next(iter(kept))]
