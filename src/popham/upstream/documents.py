"""What is fetched and brought beside rounds: trust documents, bodies that bundles name, outputs, streams, OTLP."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping

from popham.errors import ContentError, GrantError, NotFoundError, PophamError, StateError
from popham.model.fleet import Admission
from popham.model.registry import IdentityKind, Listener, find_route, require
from popham.net.route import OTLP, STREAMS
from popham.net.seam import Answer, Peer, Refusal, Refused, Request, Response
from popham.opamp.relay import RELAY_PATH
from popham.upstream.book import Book, Identity, Reading
from popham.upstream.callers import shut_out
from popham.upstream.intake import OtlpIntake
from popham.upstream.otlp import Otlp, as_otlp
from popham.upstream.outputs import OUTPUTS_PATH, Outputs, no_output
from popham.upstream.record import Record
from popham.upstream.relay_door import RelayDoor
from popham.upstream.shedding import Shedder
from popham.upstream.streams import Streams

CONTENT_PATH = "/v1/content/"
COMING = Refusal(
    status=503, retry_after=5.0, body="what the bundle names is still on its way here (link.busy)"
)
"""For a body that is to be here soon."""
_CONTENT = re.compile(CONTENT_PATH + r"sha256/([0-9a-f]{64})")
_OUTPUT = re.compile(OUTPUTS_PATH + r"([0-9a-f]{64})")
_CODE = {
    "grant.missing": 401,
    "stream.scattered": 409,
    "wire.encoding": 415,
    "wire.method": 405,
    "wire.too_large": 413,
}
"""HTTP status by error code; where silent, by family; else 400."""
_STATUS = {ContentError: 403, GrantError: 403, NotFoundError: 404}
_RELAY = find_route(Listener.AGENTS, "POST", RELAY_PATH)
_RELAYING = {IdentityKind.AGENT, IdentityKind.PROXY}


class Documents:
    """Answers every path of the agents' listener but ``/v1/opamp``."""

    def __init__(
        self,
        book: Book,
        trust: Mapping[str, bytes],
        outputs: Outputs,
        streams: Streams,
        otlp: OtlpIntake | None,
        shedder: Shedder,
        relaying: RelayDoor,
    ) -> None:
        """Serve what ``book`` has, and ``trust``: path to document; give the others what is brought."""
        self._relaying = relaying
        self._book = book
        self._trust = dict(trust)
        self._outputs = outputs
        self._streams = streams
        self._otlp = Otlp(book, otlp, shedder)

    async def answer(self, request: Request) -> Response:
        """Answer one request, for an identity that the registry admits to it."""
        return as_otlp(request, await self._answer(request))

    async def _answer(self, request: Request) -> Response:
        try:
            if request.path == RELAY_PATH:
                await self._relaying.settle()
            identity: Identity = self._book.identify(request.peer)
            require(find_route(Listener.AGENTS, request.method, request.path), identity.caller)
            return await self._serve(request, identity)
        except Refused as error:
            return refused(error.refusal)
        except StateError:
            raise
        except PophamError as error:
            return Response(status=_status(error), body=str(error).encode(), content_type="text/plain")

    def may_relay(self, peer: Peer) -> Refusal | None:
        """Return why somebody who has shown a certificate may not relay; None if it may, or nobody knows yet."""
        if not self._relaying.is_settled():
            return None
        try:
            identity: Identity = self._book.identify(peer)
            require(_RELAY, identity.caller)
            self._relaying.check(self._relays(identity))
        except Refused as refused:
            return refused.refusal
        except PophamError as error:
            return _refused(error).refusal
        return None

    def relay(self, peer: Peer, body: bytes) -> Answer:
        """Answer one exchange of a Proxy Manager as :meth:`answer` does, at once where memory is enough.

        Raises:
            Refused: Now or later: it may not, or the message is malformed.
            StateError: What is in it could not be written.
        """
        try:
            answer = self._relay(peer, body) if self._relaying.is_settled() else self._settle(peer, body)
        except StateError:
            raise
        except PophamError as error:
            raise _refused(error) from error
        return answer if isinstance(answer, bytes) else self._finish(answer)

    def _relay(self, peer: Peer, body: bytes) -> Answer:
        identity: Identity = self._book.identify(peer)
        peer.identity = identity
        require(_RELAY, identity.caller)
        return self._relaying.take(self._relays(identity), body)

    def _relays(self, identity: Identity) -> Record | None:
        """Return who relays; None if it may not. Raises Refused: whether it may has to be asked above first."""
        if identity.caller in _RELAYING and self._book.record(identity.uid) is None:
            unknown = self._relaying.unknown(identity.uid)
            if unknown is not None:
                raise Refused(unknown)
        return self._accepted(identity)

    async def _settle(self, peer: Peer, body: bytes) -> bytes:
        await self._relaying.settle()
        answer = self._relay(peer, body)
        return answer if isinstance(answer, bytes) else await answer

    async def _finish(self, answer: Awaitable[bytes]) -> bytes:
        try:
            return await answer
        except StateError:
            raise
        except PophamError as error:
            raise _refused(error) from error

    async def _serve(self, request: Request, identity: Identity) -> Response:
        path = request.path
        if path == RELAY_PATH:
            return await self._relaying.answer(request, self._accepted(identity))
        if path.startswith(OUTPUTS_PATH):
            return await self._take(request, identity)
        if path.startswith(STREAMS):
            return await self._streams.answer(request, self._known(identity))
        return await (self._otlp.answer(request, identity) if path in OTLP else self._find(path, identity))

    async def _take(self, request: Request, identity: Identity) -> Response:
        match, record = _OUTPUT.fullmatch(request.path), self._accepted(identity)
        if match is None or record is None:
            raise no_output()
        await self._outputs.take(record, match[1], request.body)
        return Response(status=204)

    def _known(self, identity: Identity) -> Record | None:
        """Return the agent, if it is known; raises Refused for one that is shut out."""
        record = self._book.record(identity.uid)
        shut = shut_out(record)
        if shut is not None:
            raise Refused(shut)
        return record

    def _accepted(self, identity: Identity) -> Record | None:
        """Return the agent, if it may have and bring something; raises as :meth:`_known`."""
        record = self._known(identity)
        return record if record is not None and record.admission is Admission.ACCEPTED else None

    async def _find(self, path: str, identity: Identity) -> Response:
        if path in self._trust:
            return Response(body=self._trust[path], content_type="application/octet-stream")
        match, record = _CONTENT.fullmatch(path), self._accepted(identity)
        body = self._content(match[1], record) if match and record else None
        if body is not None and not isinstance(body, bytes):
            body = await body()
            if body is None:
                raise Refused(COMING)
        if body is None:
            raise NotFoundError(
                "content", "this agent's bundle names no such body", "Ask for a round; it may be old"
            )
        return Response(body=body, headers={"Cache-Control": "private, immutable, max-age=31536000"})

    def _content(self, sha256: str, record: Record) -> bytes | Reading | None:
        """Return a body that the agent may have; raises ContentError ``content.serial`` if not yet."""
        wanted = self._book.wanted(record.group)
        if wanted is not None and sha256 in wanted.guarded and wanted.guards(record):
            problem = f"policies with secrets are given once serial {wanted.minimum_serial} is in force"
            raise ContentError("serial", problem, "Apply the rest, report it, and ask again")
        return self._book.content(sha256, record.group)


def _status(error: PophamError) -> int:
    return _CODE.get(error.code) or _STATUS.get(type(error), 400)


def _refused(error: PophamError) -> Refused:
    return Refused(Refusal(status=_status(error), body=str(error)))


def refused(refusal: Refusal) -> Response:
    """Return a refusal as an answer to a request for another path."""
    wait = refusal.retry_after
    headers = {} if wait is None else {"Retry-After": str(max(1, round(wait)))}
    return Response(
        status=refusal.status, body=refusal.body.encode(), content_type="text/plain", headers=headers
    )
