"""What the Manager answers to its Proxy Managers; a :class:`popham.upstream.relaying.Desk`.

Rules:

1. A proxy speaks for the groups and agents that were given to it, and for nobody else (SEC-30); it may still bring what
   an agent gave to it before that was taken from it.
2. Of an agent that has a key nothing is believed that this key has not signed, but where and when it was heard.
3. A state record that is new has to be signed lately, by a nonce that went through this proxy.
4. Only such a state record moves an agent here that was heard elsewhere within its promise (SEC-27).  Agents older than
   nonces are moved by any that is new; whoever signs nothing, once it is not heard of where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Final

from popham.clock import Clock
from popham.errors import GrantError, PophamError, VisitError, WireError
from popham.manager.proxies.directory import ProxyDirectory
from popham.manager.relays.calls import Calls
from popham.manager.relays.given import find_given
from popham.manager.relays.nonces import Nonces
from popham.manager.relays.statements import Statements
from popham.model.generation import PROXIES, generation_of
from popham.model.status import StateRecord
from popham.opamp.codec import parse_agent, parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.book import Book
from popham.upstream.callers import shut_out
from popham.upstream.directive import wants_bundle
from popham.upstream.hearing import find_newer
from popham.upstream.orders import Ordering
from popham.upstream.record import Record
from popham.upstream.relay_carried import RelayedStreams
from popham.upstream.relay_notes import note_arrived, note_offered, note_promise
from popham.upstream.relay_placed import Claim, Placed
from popham.upstream.relay_told import tell_agent, tell_group, tell_scope
from popham.upstream.relayed import Relayed
from popham.upstream.relaying import Answer, Scope
from popham.upstream.reports import Reports

FOLLOWED: Final = 512
"""Agents that are followed, of which one message of a proxy says that they were in contact; the others are next."""
_SENTENCE = 500


class ManagerDesk:
    """Answers from the Manager's records.

    Attributes:
        placed: At which proxy agents are.
        told_anew: Told the uid of an agent of which a proxy is to be told more.
    """

    def __init__(
        self,
        book: Book,
        directory: ProxyDirectory,
        placed: Placed,
        reports: Reports,
        statements: Statements,
        streams: RelayedStreams,
        calls: Calls,
        clock: Clock,
        *,
        nonces: Nonces | None = None,
        ordering: Ordering | None = None,
        unreached: Callable[[str, PophamError], None] = lambda _uid, _error: None,
    ) -> None:
        """Keep what is needed.

        Args:
            book: Who is known.
            directory: Who is a proxy, and whom it may speak for.
            placed: At which proxy agents are.
            reports: Takes note of what agents say.
            statements: Makes visitor statements.
            streams: Keeps frames.
            calls: Answers calls.
            clock: Wall time.
            nonces: Of proxies; None for some of its own.
            ordering: Who keeps operations; None if nothing is ordered.
            unreached: Told the uid of an agent that its proxy could not visit, and why.
        """
        self.placed = placed
        self.told_anew: Callable[[str], None] = lambda _uid: None
        self._book = book
        self._directory = directory
        self._reports = reports
        self._statements = statements
        self._streams = streams
        self._calls = calls
        self._clock = clock
        self._nonces = nonces or Nonces()
        self._ordering = ordering
        self._unreached = unreached
        self._followed: dict[str, dict[bytes, None]] = {}
        self._told_visitors: dict[str, bytes] = {}
        calls.complete = self._complete

    # What proxies are told.

    def scope(self, proxy: Record) -> Scope | None:
        """Return whom a proxy may speak for; None if it is no proxy."""
        return self._directory.scope_of(proxy.uid)

    def told(self, proxy: Record, key: bytes) -> wire.AgentTold:
        """Return what a proxy is to know of an agent; ``gone`` if it is not its."""
        record, scope = self._book.find(key), self.scope(proxy)
        if record is None or scope is None or not scope.has(record) or self.placed.is_gone(proxy.uid, key):
            return wire.AgentTold(key=key, gone=True)
        orders, relay = record.orders, record.relay
        if relay is not None:
            relay.ordered = orders is not None
        if orders is not None and orders.followed:
            self._followed.setdefault(proxy.uid, {})[key] = None
        return self._complete(proxy, record, tell_agent(record))

    def _complete(self, proxy: Record, record: Record, told: wire.AgentTold) -> wire.AgentTold:
        """Say of an agent that is a proxy itself whom it may speak for, to the one that it may stand below."""
        scope = self._directory.scope_of(record.uid) if record is not proxy else None
        if scope is not None:
            tell_scope(told, scope, self.visitor(record))
            self._told_visitors[record.uid] = told.proxy.visitor
        if record.via[:1] != (proxy.uid,):
            # What it comes with is the first that it signs there.
            told.want_state = bool(record.public_key) and self.placed.is_held(proxy, record)
            told.say = self.placed.is_claimed(proxy, record) and not self.placed.is_held(proxy, record)
        return told

    def outdated(self) -> list[str]:
        """Return the uids of proxies behind others that are to be told of a newer visitor statement."""
        records = ((uid, self._book.record(uid), shown) for uid, shown in self._told_visitors.items())
        return [uid for uid, record, shown in records if record is not None and self.visitor(record) != shown]

    def group_told(self, proxy: Record, name: str) -> wire.GroupTold:
        """Return what the agents of a group are to have; ``gone`` if the proxy was not given any of them."""
        wanted, scope = self._book.wanted(name), self.scope(proxy)
        if wanted is None or scope is None or name not in self._groups_of(scope):
            return wire.GroupTold(name=name, gone=True)
        return tell_group(wanted)

    def _groups_of(self, scope: Scope) -> frozenset[str]:
        records = (self._book.record(uid) for uid in scope.agents)
        return scope.groups | {record.group for record in records if record is not None}

    def places(self, proxy: Record) -> Iterable[wire.PlaceTold]:
        """Return where this proxy is to visit agents, and where those are to that may stand below it."""
        found, scope = self._directory.places_of(proxy.uid), self.scope(proxy)
        for uid in self._directory.uids():
            lower = self._book.record(uid)
            if scope is None or lower is None or uid == proxy.uid or not scope.has(lower):
                continue
            for place in self._directory.places_of(uid):
                below = wire.PlaceTold(proxy=lower.key)
                below.MergeFrom(place)
                found.append(below)
        return found

    def body(self, proxy: Record, sha256: str) -> bytes | None:
        """Return a body that a bundle of the proxy's groups names."""
        scope = self.scope(proxy)
        for name in self._groups_of(scope) if scope is not None else ():
            wanted = self._book.wanted(name)
            if wanted is not None and sha256 in wanted.blobs:
                return wanted.blobs[sha256]
        return None

    async def fetch(self, proxy: Record, sha256: str) -> int:  # noqa: ARG002  # the form of Desk
        """Return 0: all bodies are in memory."""
        return 0

    def nonce(self, proxy: Record) -> bytes:
        """Return the newest nonce of a proxy."""
        return self._nonces.newest(proxy.uid, proxy.promise, self._clock.now())

    def visitor(self, proxy: Record) -> bytes:
        """Return the signed statement that lets a proxy visit agents; empty while it has shown no key for that."""
        scope = self.scope(proxy)
        key = self.placed.status(proxy.uid).get("visitor_key")
        if scope is None or not key or not isinstance(key, str):
            return b""
        return self._statements.find(proxy, scope, key)

    # What proxies say.

    async def said(self, proxy: Record, said: wire.AgentSaid) -> bool:
        """Take note of what an agent said; the coroutine ends once that is durable."""
        record = self.given(proxy, said.key)
        if record is None or shut_out(record) is not None:
            return True
        message = parse_agent(said.message)
        if message.instance_uid != said.key:
            raise WireError("instance_uid", "what a proxy says of an agent is another agent's")
        self.placed.check_way(proxy, record, said.via)
        claim = self.placed.claim(proxy, record, said, partial(self._proves, proxy, record, message))
        if claim is Claim.UNPROVEN:
            self._nonces.outdate(proxy.uid)
        if claim is not Claim.TAKEN:
            return True
        relay = self.placed.place(proxy, record, said)
        before = (relay.want_state, relay.want_bundle, relay.ordered)
        note_offered(self._ordering, record, said.offered)
        await self._reports.relayed(record, message, partial(self._believes, proxy, record, relay))
        if record.relay is not relay:
            return True  # it went elsewhere meanwhile
        note_promise(record, relay, said)
        if relay.want_state:
            relay.want_state = not self._is_known(record, message)
        relay.want_bundle = wants_bundle(record, self._book.wanted(record.group))
        self._note_unvisited(record, relay, said.unvisited)
        return any((relay.want_state, relay.want_bundle, record.orders is not None, *before))

    def _believes(self, proxy: Record, record: Record, relay: Relayed, state: StateRecord) -> bool:
        """Return whether a new state record was signed lately, as far as its agent can say so."""
        relay.want_state = not self._is_fresh(proxy, record, state)
        return not relay.want_state

    def _is_fresh(self, proxy: Record, record: Record, state: StateRecord) -> bool:
        """Return whether a state record names a nonce that its proxy was given lately, or is of an agent that names none."""
        if generation_of(state.agent_version, state.generation) < PROXIES:
            return True
        promises = max(state.promise + proxy.promise, record.promise)  # that of all on its way
        return self._nonces.serves(proxy.uid, state.nonce, promises, self._clock.now())

    def _proves(self, proxy: Record, record: Record, message: AgentToServer) -> bool:
        """Return whether an agent signed what is new here since it came to a proxy. Raises WireError, TrustError."""
        state = find_newer(record, message)
        return state is not None and self._is_fresh(proxy, record, state)

    def _is_known(self, record: Record, message: AgentToServer) -> bool:
        """Return whether a message has a report, and the state record in it is the newest that is known."""
        report = parse_custom(message.custom_message)
        known = isinstance(report, wire.Report) and report.state in {b"", record.envelope}
        return known and bool(record.envelope)

    def _note_unvisited(self, record: Record, relay: Relayed, text: str) -> None:
        text = text[:_SENTENCE]
        if text == relay.unvisited:
            return
        relay.unvisited = text
        code, _, sentence = text.partition(" ")
        if code.startswith("visit.off"):
            self._unreached(record.uid, VisitError("off", sentence))
        elif code.startswith("visit.refused"):
            self._unreached(record.uid, VisitError("refused", sentence))

    def arrived(self, proxy: Record, key: bytes, heard: Sequence[str]) -> None:  # noqa: ARG002  # the form of Desk
        """Take note that results were named as durable."""
        record = self._book.find(key)
        if record is not None and note_arrived(record, heard):
            self.told_anew(record.uid)

    def left(self, proxy: Record, keys: Iterable[bytes]) -> None:
        """Take note that agents are not at a proxy any more."""
        self.placed.left(proxy, filter(None, map(self._book.find, keys)))

    def present(self, proxy: Record, boot: int, presence: bytes) -> None:
        """Take note of when the agents of a proxy were heard of; it is here itself, whoever said that it is at another."""
        if proxy.via:
            self.placed.came(proxy)
        self.placed.note_presence(proxy, boot, presence)
        for uid in self.placed.released(proxy):
            self.told_anew(uid)
        followed = self._followed.get(proxy.uid, {})
        for key in list(islice(followed, FOLLOWED)):
            del followed[key]
            record = self._book.find(key)
            if record is None or record.orders is None or not record.orders.followed:
                continue
            if record.via[:1] == (proxy.uid,):
                followed[key] = None  # behind all others
                self._reports.tell(record, changed=False)

    def stood(self, proxy: Record, status: bytes) -> None:
        """Take note of how a proxy says that it stands."""
        self.placed.note_status(proxy.uid, status)
        below = self.placed.status(proxy.uid).get("below")
        for uid, said in below.items() if isinstance(below, dict) else ():
            lower, scope = self._book.record(uid), self.scope(proxy)
            if lower is None or scope is None or not scope.has(lower) or not isinstance(said, dict):
                continue
            if proxy.uid in lower.via and self._directory.has(uid):
                self.placed.keep_status(uid, said)
                if self.visitor(lower) != self._told_visitors.get(uid):
                    self.told_anew(uid)

    async def append(self, proxy: Record, carried: wire.Carried) -> Sequence[wire.Stood]:
        """Keep frames of an agent; of one that was taken from a proxy, those that it had given to that and left out since."""
        try:
            record = self.given(proxy, carried.key)
        except GrantError as error:
            record = self._book.find(carried.key)
            if record is None or record is proxy:
                raise
            return await self._streams.fill(record, carried, error)
        return await self._streams.append(_known(record), carried)

    async def call(self, proxy: Record, call: wire.RelayCall) -> bytes:
        """Answer a call."""
        return await self._calls.answer(proxy, call)

    def hand_on(self, proxy: Record, call: wire.RelayCall, done: Answer) -> bool:  # noqa: ARG002  # the form of Desk
        """Hand nothing on: nobody stands above."""
        return False

    def given(self, proxy: Record, key: bytes) -> Record | None:
        """Return an agent that a proxy may speak for; None if nobody has this uid.

        Raises:
            GrantError: ``grant.proxy``: it was not given to the proxy.
        """
        return find_given(self._book, self._directory, proxy, key)

    def keep(self) -> None:
        """Forget what belongs to those that are no proxies any more."""
        proxies = set(self._directory.uids())
        for gone in self._followed.keys() - proxies:
            del self._followed[gone]
        self.placed.keep(proxies, self._book.records())
        self._nonces.keep(proxies)
        for gone in self._told_visitors.keys() - proxies:
            del self._told_visitors[gone]
        self._statements.keep(proxies)


def _known(record: Record | None) -> Record:
    if record is None:
        raise GrantError("proxy", "a proxy brought records of an agent that is not known here")
    return record
