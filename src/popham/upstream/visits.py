"""One visit, and one link that an upstream opens: what is signed, what is believed, and what is brought.

Only the first word differs from an agent that dials: the upstream says it, and says nothing in it.  Everything
after is the hub's, as in every cell.

Rules:

1. Nothing is believed that the agent's own key has not signed as the answer to this very request.
2. A request whose nonce is old is repeated once, with the one that came back; so a lost answer, or an agent
   that was started anew, costs one repeat.
3. What an agent lacks is brought by requests of this end, as it may not fetch; what its operations put out is
   fetched by them, as it may not dial; so are its streams.
4. What changed nothing is not said again in the same visit: under load the hub leaves out what it would offer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from popham.clock import Clock
from popham.errors import NotFoundError, TrustError, VisitError, WireError
from popham.model.names import digest
from popham.net.seam import HeldConnection, Peer, Refused, Service
from popham.net.signing import (
    ANYBODY,
    STALE,
    Answered,
    Asked,
    Frames,
    Operation,
    PrivateKey,
    PublicKey,
    show_visitor,
    sign_request,
    usable_nonce,
)
from popham.net.visiting import Reply
from popham.opamp.codec import parse_agent
from popham.streams.frame import Stream
from popham.trust.birth import AlreadyBorn
from popham.trust.keys import PublicKey as TrustedKey
from popham.upstream.birth import read_born, read_certificate, read_request
from popham.upstream.book import Reading
from popham.upstream.directive import quiet
from popham.upstream.outputs import AgentOutputs
from popham.upstream.replies import claimed_key, header_of, open_reply, refusal_of, restless

_log = logging.getLogger(__name__)
_OK, _NOTHING = 200, 204
MAX_EXCHANGES = 16
"""Exchanges of one visit; what is left waits for the next."""
_UNWANTED = "visit.unwanted"


class Dials(Protocol):
    """Opens connections to one agent's service, as :class:`popham.net.visiting.VisitDialer` does."""

    async def post(self, asked: Asked) -> Reply:
        """Send one request and return the answer. Raises VisitError."""
        ...

    async def hold(self, asked: Asked) -> tuple[HeldConnection | None, Reply]:
        """Open a held link; None and the answer if the agent answers otherwise. Raises VisitError."""
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


@dataclass(frozen=True, slots=True)
class Signer:
    """The key by which an upstream signs its requests, and its id.

    Attributes:
        statement: Returns the newest visitor statement, in its envelope, which is shown beside each request; empty for
            the director's own key, which needs none.
    """

    key: PrivateKey
    keyid: str
    statement: Callable[[], bytes] = bytes


@dataclass(slots=True)
class Nonce:
    """The newest nonce that an agent gave; empty before the first.

    Attributes:
        turn: Held from a request to its answer: two at once would take the nonce from each other for ever.
    """

    text: str = ""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False, compare=False)


class Visit:
    """What is asked of one agent.

    Attributes:
        uid, key: Who answers, as far as that is known.
        address: IP address that was dialled; empty before, and where a web proxy was.
    """

    def __init__(
        self,
        dials: Dials,
        signer: Signer,
        nonce: Nonce,
        *,
        uid: str,
        key: bytes,
        clock: Clock,
        known: Callable[[str], str] = lambda _keyid: "",
        also: Callable[[], Sequence[bytes]] = tuple,
    ) -> None:
        """Ask nothing yet.

        Args:
            dials: The way to its service.
            signer: Signs what is asked.
            nonce: Its newest; kept between visits by the caller.
            uid: Its instance_uid; empty if that is not known.
            key: DER of the key that it has to sign with; empty if that is not known.
            clock: For the time in signatures.
            known: keyid → name of another agent of this fleet, for sentences.
            also: Returns the keys that may stand for ``key``: the one it has by now, then the one it had before.
        """
        self._dials = dials
        self._signer = signer
        self._nonce = nonce
        self._clock = clock
        self._known, self._also = known, also
        self.uid = uid
        self.key = key
        self.address = ""

    async def run(
        self,
        service: Service,
        peer: Peer,
        lacks: Callable[[], Mapping[str, bytes | Reading]],
        outputs: AgentOutputs | None = None,
        *,
        said: bytes = b"",
    ) -> None:
        """Make one visit: hear the report, say the directive, hear the outcome.

        Args:
            service: The hub.
            peer: Who is visited; who that is follows from the key that signs.  Its address becomes the one dialled.
            lacks: Digest → body, or what reads it, of what the agent said that it lacks, and may have.
            outputs: What is to be fetched; None for nothing.
            said: What is said first: the hub's answer to what was heard before; nothing asks for the report.

        Raises:
            VisitError: The agent could not be reached, or not believed.
            WireError: It may not be served, or does not answer as an agent.
        """
        for _ in range(MAX_EXCHANGES):
            heard = await self.exchange(said)
            peer.address, peer.key = self.address or peer.address, self.key
            answer = await hear(service, peer, heard)
            brought = False
            if self._signs_now:
                for sha256, body in lacks().items():
                    brought |= await self.bring(sha256, body)
                if outputs is not None:
                    await self.fetch(outputs)
            if answer not in {said, quiet(parse_agent(heard).instance_uid)}:
                said = answer
            elif brought:
                said = b""
            else:
                return

    async def exchange(self, body: bytes) -> bytes:
        """Say ``body`` and return the agent's report."""
        reply, _ = await self._ask(Operation.VISIT, body)
        if parse_agent(reply.body).instance_uid.hex() != self.uid.replace("-", ""):
            raise WireError("instance_uid", "the agent's report is about another agent")
        return reply.body

    async def bring(self, sha256: str, body: bytes | Reading) -> bool:
        """Bring a body that the agent said it lacks; it may lack others by now. False for one that is not here yet."""
        read = body if isinstance(body, bytes) else await body()
        if read is None:
            return False
        try:
            await self._ask(Operation.CONTENT, read, query=f"sha256={sha256}")
        except VisitError as error:
            if error.code != _UNWANTED:
                raise
        return True

    async def fetch(self, outputs: AgentOutputs) -> None:
        """Fetch what the agent's operations put out; what it refuses, or is another, is left where it is.

        Raises:
            VisitError: The agent could not be reached, or not believed.
        """
        for sha256 in outputs.lacks():
            try:
                reply, _ = await self._ask(Operation.OUTPUT, b"", query=f"sha256={sha256}")
                await outputs.take(sha256, reply.body)
            except VisitError as error:
                if not error.status:
                    raise
                # It answered; what else is to be said does not wait for this.
                _log.info("an output of %s could not be fetched: %s", self.uid, error)
            except (NotFoundError, TrustError, WireError) as error:
                _log.warning("an output of %s was not taken: %s", self.uid, error)

    async def read(self, stream: Stream, standing: bytes, limit: int) -> tuple[bytes | None, int]:
        """Return frames of a stream from where this end is, and the agent's clock (unix seconds; 0 if it does not say).

        No bytes if nothing of it waits, None if nothing of any stream does.

        Args:
            stream: Which one.
            standing: How far this end is with it.
            limit: Bytes of the frames, at most.

        Raises:
            VisitError: The agent could not be reached, or not believed, or it refuses.
        """
        reply, answered = await self._ask(Operation.STREAM, standing, query=f"stream={stream}&limit={limit}")
        return reply.body if reply.status == _OK else None, answered.created

    async def relay(self, body: bytes) -> bytes:
        """Say a message to a Proxy Manager, and return its answer.

        Raises:
            VisitError: It could not be reached, or not believed; ``visit.operation``: it is none.
        """
        reply, _ = await self._ask(Operation.RELAY, body)
        return reply.body

    async def birth(self, documents: bytes, key_of: Callable[[str], bytes]) -> bytes:
        """Show whoever waits there the trust documents, and return its request for a certificate.

        It is believed by the key in its own request, which it has to have; the hub believes the token.

        Args:
            documents: The trust documents.
            key_of: instance_uid → DER of the key of an agent that is known; empty for nobody's.

        Raises:
            AlreadyBorn: An agent of this fleet answers, and has proven which.
            VisitError: As elsewhere; ``visit.unknown``: one that is not known here.
        """
        asked, reply = await self._repeat(Operation.BIRTH, documents, query="", audience=self.uid or ANYBODY)
        born, _ = read_born(reply)
        if born:
            key = key_of(born)
            if not key:
                problem = f"the agent {born} is there, which this Manager does not know"
                raise VisitError("unknown", problem, "Restore the Manager's backup, or enroll it again")
            self._nonce.text = self._open(asked, reply, key).nonce
            self.uid, self.key = born, key
            raise AlreadyBorn.of(born)
        if reply.status != 200:
            raise refusal_of(reply)
        message = parse_agent(reply.body)
        uid, key = read_request(message)
        answered = open_reply(asked, reply, key)
        self._nonce.text = answered.nonce
        self.uid, self.key = uid, key
        return reply.body

    async def prove(self, documents: bytes) -> bytes:
        """Return the certificate (PEM) that the agent shows, which has proven its key; nobody has looked who issued it.

        Raises:
            VisitError: As elsewhere; ``visit.signature``: it shows none, or that of another key.
        """
        async with self._nonce.turn:
            asked, reply = await self._repeat(
                Operation.BIRTH, documents, query="", audience=self.uid or ANYBODY
            )
            certificate, key = read_certificate(reply)
            self._nonce.text = open_reply(asked, reply, key).nonce
        return certificate

    async def hold(self) -> tuple[HeldConnection, Frames]:
        """Open a link, and return it with what signs its frames."""
        async with self._nonce.turn:
            return await self._hold()

    async def _hold(self) -> tuple[HeldConnection, Frames]:
        for _ in range(2):
            asked = self._sign("GET", Operation.HOLD, b"", "", self.uid)
            used = self._nonce.text
            link, reply = await self._dials.hold(asked)
            self.address = reply.address
            try:
                self._nonce.text = self._open(asked, reply, self.key).nonce
            except VisitError:
                if link is not None:
                    await link.close()
                raise
            if link is not None:
                return link, Frames(self._signer.key, self._expected(), nonce=used, up=False)
            if reply.status != STALE:
                raise refusal_of(reply)
        raise restless()

    # One request.

    async def _ask(self, operation: Operation, body: bytes, *, query: str = "") -> tuple[Reply, Answered]:
        async with self._nonce.turn:
            asked, reply = await self._repeat(operation, body, query=query, audience=self.uid)
            answered = self._open(asked, reply, self.key)
            self._nonce.text = answered.nonce
        if reply.status not in {_OK, _NOTHING}:
            raise refusal_of(reply)
        return reply, answered

    async def _repeat(
        self, operation: Operation, body: bytes, *, query: str, audience: str
    ) -> tuple[Asked, Reply]:
        """Send a request, and once more if its nonce was old."""
        for _ in range(2):
            asked = self._sign("POST", operation, body, query, audience)
            reply = await self._dials.post(asked)
            self.address = reply.address
            if reply.status != STALE:
                return asked, reply
            # A nonce that somebody else made up is refused by the agent; so it need not be believed.
            self._nonce.text = usable_nonce(header_of(reply, "popham-nonce"))
        raise restless()

    def _sign(self, method: str, operation: Operation, body: bytes, query: str, audience: str) -> Asked:
        asked = sign_request(
            self._signer.key,
            self._signer.keyid,
            method=method,
            query=query,
            body=body,
            audience=audience,
            operation=operation,
            nonce=self._nonce.text,
            now=self._clock.now(),
        )
        return show_visitor(asked, self._signer.statement())

    @property
    def _signs_now(self) -> bool:
        """Whether the key that signs is the agent's own by now, and not a former one."""
        return self.key == next(iter(self._also()), self.key)

    def _expected(self) -> PublicKey:
        return TrustedKey.from_der(self.key).crypto

    def _open(self, asked: Asked, reply: Reply, key: bytes) -> Answered:
        """Return what an answer says, and take note of the key that signed it, if it may be another."""
        try:
            if key == self.key:
                claimed = claimed_key(reply)
                self.key = next((one for one in self._also() if one and digest(one) == claimed), key)
                key = self.key
            return open_reply(asked, reply, key)
        except VisitError as error:
            name = self._known(claimed_key(reply))
            if not name:
                raise
            problem = f"the agent {name} answers instead"
            hint = "Correct the address of one of the two, or what the web server in between sends where"
            raise VisitError("identity", problem, hint) from error


async def hear(service: Service, peer: Peer, heard: bytes) -> bytes:
    """Return the hub's answer to what an agent said in a visit.

    Raises:
        WireError: It may not be served.
    """
    refusal = service.admit(peer, held=False, uid=b"")
    if refusal is not None:
        raise WireError("refused", refusal.body)
    try:
        answer = service.round(peer, heard)
        return answer if isinstance(answer, bytes) else await _settled(answer)
    except Refused as error:
        raise WireError("refused", error.refusal.body) from error


async def _settled(answer: Awaitable[bytes]) -> bytes:
    return await answer
