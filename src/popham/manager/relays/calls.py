"""Calls of Proxy Managers: what only the Manager can answer, while an agent waits at the proxy."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.message import DecodeError, Message

from popham.clock import Clock
from popham.errors import EnrollmentError, GrantError, NotFoundError, WireError
from popham.manager.agent_definitions import bind
from popham.manager.book import ManagerBook
from popham.manager.grant import Grant, Role
from popham.manager.proxies.directory import ProxyDirectory
from popham.manager.relays.given import find_given, require_given, require_group, uid_of
from popham.model.registry import IdentityKind
from popham.net.seam import Peer, Refusal, Refused
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.store.seam import Store
from popham.trust.ca import Authority
from popham.trust.identity import check_csr, load_certificate
from popham.trust.renewal import verify_issued
from popham.upstream.book import Admitted, Identity
from popham.upstream.callers import explain_impostor
from popham.upstream.otlp import Otlp, unsigned_otlp
from popham.upstream.outputs import Outputs
from popham.upstream.record import Record
from popham.upstream.relay_carried import RelayedStreams, find_stream
from popham.upstream.relay_placed import HOPS_MAX, Placed
from popham.upstream.relay_told import tell_agent

PEM: Final = b"-----BEGIN CERTIFICATE-----\n"
_ADDRESS: Final = 64
_KEY: Final = 16
_UNKNOWN: Final = Refusal(
    status=401, body="this certificate's agent, or its key, is not known here (grant.missing)"
)
_M = TypeVar("_M", bound=Message)


class Calls:
    """Answers calls.

    Attributes:
        complete: Adds to what a proxy is told of an agent what makes that a proxy below it.
    """

    def __init__(
        self,
        book: ManagerBook,
        directory: ProxyDirectory,
        placed: Placed,
        store: Store,
        ca: Authority,
        clock: Clock,
        *,
        outputs: Outputs,
        streams: RelayedStreams,
        otlp: Otlp,
        changed: Callable[[str], None] = lambda _group: None,
        defined: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """Keep what is needed.

        Args:
            book: Admits, and knows who is known.
            directory: Whom a proxy may speak for.
            placed: At which proxy agents are.
            store: Has tokens and definitions.
            ca: Issued the agents' certificates.
            clock: Wall time.
            outputs: Takes outputs of operations.
            streams: Knows how far streams are.
            otlp: Takes plain OTLP.
            changed: Told a group whose bundle was raised above one that an agent held.
            defined: Told a definition of an agent that is bound to one by now.
        """
        self._book = book
        self._directory = directory
        self._placed = placed
        self._store = store
        self._ca = ca
        self._clock = clock
        self._outputs = outputs
        self._streams = streams
        self._otlp = otlp
        self._changed = changed
        self._defined = defined
        self.complete: Callable[[Record, Record, wire.AgentTold], wire.AgentTold] = _as_it_is
        self._kinds: dict[str, Callable[[Record, wire.RelayCall], Awaitable[bytes]]] = {
            "meet": self._meet,
            "enroll": self._enroll,
            "renew": self._renew,
            "claim": self._claim,
            "output": self._output,
            "otlp": self._take_otlp,
            "found": self._found,
            "standing": self._standing,
            "tell": self._tell_again,
        }

    async def answer(self, proxy: Record, call: wire.RelayCall) -> bytes:
        """Answer a call of a proxy.

        Raises:
            NotFoundError: There is no call of this kind.
            PophamError: As what is called.
            Refused: The agent may not join.
        """
        self._check_way(proxy, call)
        kind = self._kinds.get(call.kind)
        if kind is None:
            raise NotFoundError(
                "message", f"there is no call {call.kind[:32]!r} here", "Upgrade this Manager"
            )
        return await kind(proxy, call)

    def _check_way(self, proxy: Record, call: wire.RelayCall) -> None:
        """Return if what stands between an agent and a proxy may: each is a proxy that was given to the one above it.

        Raises:
            GrantError: ``grant.proxy``: it is not, or was not given the agent.
            WireError: ``wire.relay``: the way is a circle, or too long.
        """
        agent = self._book.find(call.key) if len(call.key) == _KEY else None
        for lower in self._way(proxy, call)[1:]:
            require_given(self._directory, proxy, lower)
            if agent is not None:
                require_given(self._directory, lower, agent)

    def _way(self, proxy: Record, call: wire.RelayCall) -> list[Record]:
        """Return the proxies from here to an agent. Raises GrantError, WireError."""
        found = [proxy]
        for key in call.via:
            lower = self._book.find(key) if len(key) == _KEY else None
            if lower is None or not self._directory.has(lower.uid):
                problem = f"{proxy.name} speaks for a proxy that is none"
                raise GrantError("proxy", problem, "Apply a definition of kind Proxy")
            found.append(lower)
        if len({one.uid for one in found}) != len(found) or len(found) > HOPS_MAX:
            raise WireError(
                "relay", f"{proxy.name} speaks for {len(call.via)} proxies: in a circle, or too far"
            )
        return found

    # Who comes.

    async def _meet(self, proxy: Record, call: wire.RelayCall) -> bytes:
        said = _read(wire.MeetCall(), call.body)
        if said.certificate:
            record = await self._meet_own(call, said)
            for lower in self._way(proxy, call)[1:]:
                require_given(self._directory, lower, record)
            return self._tell(proxy, record)
        return await self._meet_stock(proxy, call, said)

    async def _meet_own(self, call: wire.RelayCall, said: wire.MeetCall) -> Record:
        pem = said.certificate
        if not pem.startswith(PEM[:10]):
            pem = PEM + base64.encodebytes(pem) + PEM.replace(b"BEGIN", b"END")
        # Nobody has looked who issued it but the proxy.
        verify_issued(self._ca, pem, self._clock.now())
        peer = Peer(
            address=call.address[:_ADDRESS], certificate=load_certificate(pem).public_bytes(Encoding.DER)
        )
        peer.identity = identity = self._book.identify(peer)
        if identity.caller is IdentityKind.NONE:
            raise Refused(_UNKNOWN)
        record = self._book.record(identity.uid)
        if record is None:
            record = await self._book.meet(identity, bytes.fromhex(identity.uid.replace("-", "")), peer)
        if call.key and call.key != record.key:
            raise WireError("instance_uid", "the certificate names another agent than the proxy")
        return record

    async def _meet_stock(self, proxy: Record, call: wire.RelayCall, said: wire.MeetCall) -> bytes:
        """Let a stock agent in by its token; without its uid only the token is looked at."""
        peer = Peer(address=call.address[:_ADDRESS], bearer=said.bearer)
        peer.identity = identity = self._book.identify(peer)
        if identity.caller is not IdentityKind.STOCK:
            raise Refused(_UNKNOWN)
        for one in self._way(proxy, call):
            require_group(self._directory, one, identity.group)
        row = await self._store.read(lambda tx: tx.token(identity.token))
        until = identity.until if row is not None and not row.cidr else 0.0
        if not call.key:
            return wire.AgentTold(group=identity.group, kind="stock", token_until=until).SerializeToString()
        uid = uid_of(call.key)
        record = self._book.record(uid)
        problem = explain_impostor(identity, uid, record)
        if problem:
            raise Refused(Refusal(status=403, body=problem))
        if record is None:
            record = await self._book.meet(identity, call.key, peer)
        return self._tell(proxy, record, until)

    def _tell(self, proxy: Record, record: Record, token_until: float = 0.0) -> bytes:
        require_given(self._directory, proxy, record)
        self._placed.met(proxy, record)
        told = self.complete(proxy, record, tell_agent(record))
        told.token_until = token_until
        return told.SerializeToString()

    async def _enroll(self, proxy: Record, call: wire.RelayCall) -> bytes:
        asked = _read(wire.AdmitCall(), call.body)
        request = _read(wire.Enroll(), asked.request)
        row = await self._store.read(lambda tx: tx.token(request.token_id))
        if row is not None:
            # Before it is used up.
            for one in self._way(proxy, call):
                require_group(self._directory, one, row.group)
        uid = uid_of(call.key)
        key = check_csr(asked.csr, uid).public_key_der if asked.walled else b""
        peer = Peer(address=call.address[:_ADDRESS], key=key)
        return self._admitted(proxy, call.key, await self._book.enroll(peer, call.key, asked.csr, request))

    async def _renew(self, proxy: Record, call: wire.RelayCall) -> bytes:
        asked = _read(wire.AdmitCall(), call.body)
        request = _read(wire.Renew(), asked.request)
        uid_of(call.key)
        if find_given(self._book, self._directory, proxy, call.key) is None:
            problem = "this certificate's agent, or its key, is not known here"
            raise EnrollmentError("unknown_agent", problem, "Enroll it again")
        peer = Peer(address=call.address[:_ADDRESS])
        return self._admitted(proxy, call.key, await self._book.renew(peer, call.key, asked.csr, request))

    def _admitted(self, proxy: Record, key: bytes, admitted: Admitted) -> bytes:
        record = find_given(self._book, self._directory, proxy, key)
        found = wire.Admitted(
            admission=str(admitted.admission),
            certificate=admitted.certificate,
            ca=admitted.ca,
            assignment=admitted.assignment,
            retry_after=admitted.retry_after,
            text=admitted.text,
        )
        if record is not None:
            self._placed.met(proxy, record)
            found.agent.CopyFrom(self.complete(proxy, record, tell_agent(record)))
        return found.SerializeToString()

    async def _tell_again(self, proxy: Record, call: wire.RelayCall) -> bytes:
        """Tell of an agent that came to a proxy below, of which the one above it was never told."""
        record = self._given(proxy, call.key)
        if self._placed.is_gone(proxy.uid, record.key):
            return wire.AgentTold(key=record.key, gone=True).SerializeToString()
        return self._tell(proxy, record)

    # What they bring.

    async def _claim(self, proxy: Record, call: wire.RelayCall) -> bytes:
        record = self._given(proxy, call.key)
        await self._book.claim(record, call.body)
        self._changed(record.group)
        return b""

    async def _output(self, proxy: Record, call: wire.RelayCall) -> bytes:
        said = _read(wire.OutputCall(), call.body)
        await self._outputs.take(self._given(proxy, call.key), said.sha256, said.body)
        return b""

    async def _take_otlp(self, proxy: Record, call: wire.RelayCall) -> bytes:
        said = _read(wire.OtlpCall(), call.body)
        if not said.token:
            # An agent signs its streams (SEC-29); of this only the proxy says whose it is.
            raise unsigned_otlp(self._given(proxy, call.key).name)
        row = await self._store.read(lambda tx: tx.token(said.token))
        if row is None or row.kind != "stock" or row.revoked or row.expires <= self._clock.now():
            raise GrantError("unknown_token", "this stock agents' token is gone", "Make a new one")
        for one in self._way(proxy, call):
            require_group(self._directory, one, row.group)
        identity = Identity(caller=IdentityKind.STOCK, token=row.id, group=row.group)
        stream = find_stream(said.stream)
        rejected = await self._otlp.take(identity, stream, said.body, is_json=said.is_json)
        return wire.OtlpAnswer(rejected=rejected.records, why=rejected.why).SerializeToString()

    # What they ask.

    async def _found(self, proxy: Record, call: wire.RelayCall) -> bytes:
        name = _read(wire.FoundCall(), call.body).name
        visitor = self._way(proxy, call)[-1]
        if name not in {place.name for place in self._directory.places_of(visitor.uid)}:
            problem = f"the agent definition {name!r} is not one that the proxy {visitor.name} visits"
            raise GrantError("proxy", problem, "Name the proxy in the definition")
        record, now = self._given(proxy, call.key), self._clock.now()
        grant = Grant(actor=f"visit of {proxy.name}", role=Role.ADMIN, source=call.address[:_ADDRESS])
        await self._store.write(lambda tx: bind(tx, grant, name, record.uid, now=now))
        self._defined(name)
        return b""

    async def _standing(self, proxy: Record, call: wire.RelayCall) -> bytes:
        said = _read(wire.StandingCall(), call.body)
        return await self._streams.standing(self._given(proxy, call.key), said.stream, said.epoch)

    def _given(self, proxy: Record, key: bytes) -> Record:
        record = find_given(self._book, self._directory, proxy, key)
        if record is None:
            raise NotFoundError("agent", "the agent that a proxy speaks of is not known here")
        return record


def _read(message: _M, body: bytes) -> _M:
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise WireError("malformed", f"{len(body)} bytes are no {type(message).__name__}") from error
    return message


def _as_it_is(proxy: Record, record: Record, told: wire.AgentTold) -> wire.AgentTold:
    """Return what is told."""
    del proxy, record
    return told
