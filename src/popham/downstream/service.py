"""What an agent's service believes of those who visit it, and what it answers.

Checks in order: size, signature, audience, nonce, operation, and only then what is asked.  A refusal is problem+json; it
is signed where the request was, by a key that is believed.

Rules:

1. A nonce is this end's, in memory only, one for each visitor, and used up by the request that has it.  Whoever has
   another one, or none, is told the current one and nothing else; so a lost answer costs one repeat, as a restart does.
2. One exchange is worked on at a time.  One that takes long goes on while the visitor is told how far it is.
3. No stranger makes this machine work: an unknown key is refused unread, and of those who claim to have a known one so
   many a second are looked at.  Whoever has the current nonce, which no stranger knows, has a share of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from popham.clock import Clock
from popham.downstream.accepted import AcceptedLink
from popham.downstream.entry import Entry, Unheard
from popham.downstream.visited import TurnedAway, Visited, Visitor
from popham.errors import LinkError, PophamError, VisitError, WireError
from popham.net.http import FAMILY
from popham.net.route import FRAMES, OCTETS, PROTOBUF
from popham.net.seam import HeldLink, LinkHandler, Request, Response
from popham.net.signing import (
    ANYBODY,
    STALE,
    Asked,
    Claim,
    Frames,
    Operation,
    read_asked,
    sign_answer,
)
from popham.net.visited import Accepted
from popham.streams.frame import Stream
from popham.trust.birth import AlreadyBorn
from popham.trust.verify import check_blob

_log = logging.getLogger(__name__)
PATIENCE = 10.0
"""Seconds after which an exchange that is still worked on is answered with how far it is."""
TAKING = 4
"""Bodies that may be worked on at once."""
STREAM_LIMIT = 1024 * 1024
"""Bytes of frames in one answer, whatever is asked. Source: the bound of an append."""
PROBLEM = "application/problem+json"
_SENTENCE = 500
_KINDS: Mapping[Operation, str] = MappingProxyType({Operation.OUTPUT: OCTETS, Operation.STREAM: FRAMES})
"""Content type of an answer; PROTOBUF where silent."""
_QUERY = re.compile(r"sha256=([0-9a-f]{64})")
_STREAM = re.compile(rf"stream=({'|'.join(Stream)})&limit=([1-9][0-9]{{0,8}})")
_STATUS: Mapping[str, int] = MappingProxyType(
    {"visit.audience": 421, "visit.born": 409, "visit.no_output": 404, "wire.too_large": 413}
)
_FAMILY = ((VisitError, 400), *FAMILY)


class VisitService:
    """Answers visits; a listener brings them.

    Attributes:
        visitor: Who came last and was believed; None before the first.
        refused: The last refusal; None before the first.
    """

    def __init__(
        self,
        world: Visited,
        *,
        clock: Clock,
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(18),
    ) -> None:
        """Begin without a nonce; called in a running loop.

        Args:
            world: Whoever is behind it.
            clock: Wall time for people and signatures; monotonic time for shares.
            nonce: Returns a new nonce, at most 64 characters that nobody can guess.
        """
        self.visitor: Visitor | None = None
        self.refused: TurnedAway | None = None
        self._world = world
        self._clock = clock
        self._entry = Entry(world, clock=clock, nonce=nonce)
        self._turn = asyncio.Lock()
        self._work: asyncio.Task[bytes] | None = None
        self._taking: set[asyncio.Task[None]] = set()
        self._link: AcceptedLink | None = None
        self._links: set[asyncio.Task[None]] = set()

    @property
    def held(self) -> bool:
        """Whether a visitor holds a link now."""
        return bool(self._links)

    async def aclose(self) -> None:
        """Close the held link, and wait for the end of what is worked on."""
        tasks: set[asyncio.Task[None] | asyncio.Task[bytes]] = {*self._links, *self._taking}
        if self._link is not None:
            await self._link.close(1001, "the service ends")
        if self._work is not None:
            tasks.add(self._work)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close_links(self) -> None:
        """Close the held link: the service is stopped; what is worked on goes on."""
        if self._link is not None:
            await self._link.close(1001, "the service is stopped")

    # Requests.

    def heeds(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request may be believed by its headers; the body of any other need not be read."""
        return self._entry.heeds(headers)

    async def answer(self, request: Request) -> Response:
        """Answer a POST."""
        entered = await self._enter(request)
        if isinstance(entered, Response):
            return entered
        asked, claim, _ = entered
        try:
            body = await self._do(claim, request)
        except PophamError as error:
            return self._refuse_signed(error, asked, claim, request)
        except Exception:  # noqa: BLE001  # whatever it is, the agent stays, and its log says it
            _log.exception("a visit could not be answered")
            fault = VisitError("failed", "this agent failed while it answered", "See its log")
            return self._refuse_signed(fault, asked, claim, request, status=500)
        self._note(claim, request)
        kind = _KINDS.get(claim.operation, PROTOBUF)
        return self._sign(asked, claim, 204 if body is None else 200, body or b"", kind)

    async def upgrade(self, request: Request) -> Response | Accepted:
        """Answer a GET that wants to hold a link."""
        entered = await self._enter(request)
        if isinstance(entered, Response):
            return entered
        asked, claim, theirs = entered
        if claim.operation is not Operation.HOLD:
            return self._refuse_signed(_not_so(claim), asked, claim, request)
        self._note(claim, request)

        def opened(link: HeldLink) -> LinkHandler:
            frames = Frames(self._world.identity.crypto, theirs, nonce=claim.nonce, up=True)
            return self._open(
                link,
                frames,
                request.peer.address,
                lambda: self._entry.find(claim.keyid, request.headers) is not None,
            )

        return Accepted(headers=self._headers(asked, claim, 101, b""), opened=opened)

    async def _enter(self, request: Request) -> tuple[Asked, Claim, Ed25519PublicKey] | Response:
        """Return a request that is to be answered, what it says and who does; or the answer that it gets without that."""
        asked = read_asked(request.method, request.raw_query, request.headers, request.body)
        try:
            claim, key = await self._entry.believe(asked, request)
        except Unheard as unheard:
            return self._refuse(unheard, request)
        uid = self._world.uid
        audiences = {uid, ANYBODY} if claim.operation is Operation.BIRTH else {uid}
        if not claim.audience or claim.audience not in audiences:
            problem = f"the request is for {claim.audience[:64] or 'nobody'!r}, and this is {uid or 'not born yet'!r}"
            hint = "Correct the address of one of the two, or what the web server in between sends where"
            return self._refuse_signed(VisitError("audience", problem, hint), asked, claim, request)
        if not self._entry.take_nonce(claim):
            return self._sign(asked, claim, STALE, b"")
        return asked, claim, key

    def _headers(self, asked: Asked, claim: Claim, status: int, body: bytes) -> dict[str, str]:
        """Return the headers of an answer, with the nonce that is current now."""
        nonce = self._entry.current(claim.keyid)
        key = self._world.identity
        return sign_answer(
            key.crypto, key.keyid, asked, status=status, body=body, nonce=nonce, now=self._clock.now()
        )

    def _sign(self, asked: Asked, claim: Claim, status: int, body: bytes, kind: str = PROTOBUF) -> Response:
        return Response(
            status=status, body=body, content_type=kind, headers=self._headers(asked, claim, status, body)
        )

    # Operations.

    async def _do(self, claim: Claim, request: Request) -> bytes | None:
        """Return the answer's body; None for none."""
        operation = claim.operation
        if operation is Operation.HOLD:
            raise _not_so(claim)
        if operation is Operation.VISIT:
            return await self._visit(request.body)
        if operation is Operation.BIRTH:
            return await self._world.birth(request.body)
        if operation is Operation.RELAY:
            return await self._world.relay(request.body)
        if operation is Operation.STREAM:
            return await self._stream(request)
        found = _QUERY.fullmatch(request.raw_query)
        if found is None:
            raise WireError("content", "the request does not say which digest it is about")
        if operation is Operation.OUTPUT:
            return await self._output(found[1])
        check_blob(request.body, found[1], len(request.body))
        await self._take(found[1], request.body)
        return None

    async def _stream(self, request: Request) -> bytes | None:
        found = _STREAM.fullmatch(request.raw_query)
        if found is None:
            problem = "the request does not say which stream it is about, and how much of it is wanted"
            raise WireError("stream", problem, "Upgrade this agent, or the Manager")
        limit = min(int(found[2]), STREAM_LIMIT)
        return await self._world.stream(Stream(found[1]), request.body, limit)

    async def _output(self, sha256: str) -> bytes:
        body = await self._world.output(sha256)
        if body is None:
            problem = "this agent does not keep that output, or not any more"
            raise VisitError("no_output", problem, "Order the operation once more, if its output is needed")
        return body

    async def _take(self, sha256: str, body: bytes) -> None:
        """Hand on a body; if what comes of it takes long, that goes on."""
        if len(self._taking) >= TAKING:
            raise LinkError("busy", "this agent still works on what was brought before", retry_after=PATIENCE)
        task = asyncio.create_task(self._world.content(sha256, body), name="content of a visit")
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)
        task.add_done_callback(_note_failure)
        done, _ = await asyncio.wait({task}, timeout=PATIENCE)
        if done:
            task.result()

    async def _visit(self, body: bytes) -> bytes:
        """Work on one exchange; if that takes long, say how far it is."""
        async with self._turn:
            if self._work is not None:
                if not self._work.done():
                    if body:
                        # It is not taken; what it says is said again, as long as it does not hold.
                        self._world.lost()
                    return self._world.report()
                # Nobody was told what came of it.
                self._work = None
                self._world.lost()
            work = self._work = asyncio.create_task(self._world.visited(body), name="an exchange of a visit")
            work.add_done_callback(_note_failure)
            done, _ = await asyncio.wait({work}, timeout=PATIENCE)
            if not done:
                return self._world.report()
            self._work = None
            return work.result()

    def _open(
        self, link: HeldLink, frames: Frames, address: str, believed: Callable[[], bool]
    ) -> AcceptedLink:
        def refused(error: VisitError) -> None:
            self._note_refusal(error, address)

        former, accepted = self._link, AcceptedLink(link, frames, believed=believed, refused=refused)
        self._link = accepted
        others = frozenset(self._links)
        task = asyncio.create_task(self._hold(accepted, former, others), name="held link of a visitor")
        self._links.add(task)
        task.add_done_callback(self._links.discard)
        return accepted

    async def _hold(
        self, accepted: AcceptedLink, former: AcceptedLink | None, others: frozenset[asyncio.Task[None]]
    ) -> None:
        """Serve one link; it takes the place of a former one, which may be dead."""
        try:
            if former is not None:
                await former.close(1000, "another link was opened")
            if others:
                await asyncio.wait(others)
            await self._world.serve(accepted)
        except PophamError as error:
            _log.info("a visitor's link ended: %s", error)
        except Exception:  # noqa: BLE001  # whatever it is, the agent stays, and its log says it
            _log.exception("a visitor's link could not be served")
        finally:
            await accepted.close()
            if self._link is accepted:
                self._link = None

    # What people are told.

    def _note(self, claim: Claim, request: Request) -> None:
        self.visitor = Visitor(claim.keyid, request.peer.address, str(claim.operation), self._clock.now())

    def _note_refusal(self, error: PophamError, address: str) -> None:
        count = self.refused.count + 1 if self.refused else 1
        self.refused = TurnedAway(error.code, error.problem[:_SENTENCE], address, self._clock.now(), count)

    def _refuse(self, unheard: Unheard, request: Request) -> Response:
        self._note_refusal(unheard.error, request.peer.address)
        headers = {"Retry-After": str(max(1, round(unheard.retry_after)))} if unheard.retry_after else {}
        return Response(
            status=unheard.status, body=_problem(unheard.error), content_type=PROBLEM, headers=headers
        )

    def _refuse_signed(
        self, error: PophamError, asked: Asked, claim: Claim, request: Request, *, status: int = 0
    ) -> Response:
        self._note_refusal(error, request.peer.address)
        found = (
            status
            or _STATUS.get(error.code)
            or next((s for kind, s in _FAMILY if isinstance(error, kind)), 500)
        )
        return self._sign(asked, claim, found, _problem(error), PROBLEM)


def _problem(error: PophamError) -> bytes:
    found = {"code": error.code, "detail": error.problem[:_SENTENCE], "hint": error.hint[:_SENTENCE]}
    if isinstance(error, AlreadyBorn):
        found |= {"uid": error.uid, "certificate": error.certificate.decode()}
    return json.dumps(found | {"retryable": error.retryable}, separators=(",", ":")).encode()


def _not_so(claim: Claim) -> VisitError:
    problem = f"the operation {claim.operation} is not asked for in this way"
    return VisitError("operation", problem, "Upgrade the Manager, or this agent")


def _note_failure(work: asyncio.Task[bytes] | asyncio.Task[None]) -> None:
    if not work.cancelled() and (error := work.exception()) is not None:
        _log.warning("an exchange of a visit failed: %s", error)
