"""What is fetched and brought beside rounds: trust documents, bodies that bundles name, outputs, streams, OTLP."""

from __future__ import annotations

import re
from collections.abc import Mapping

from popham.errors import ContentError, GrantError, NotFoundError, PophamError, StateError
from popham.model.fleet import Admission
from popham.model.registry import Listener, find_route, require
from popham.net.route import OTLP, STREAMS
from popham.net.seam import Refusal, Refused, Request, Response
from popham.opamp.relay import RELAY_PATH
from popham.upstream.book import Book, Identity
from popham.upstream.callers import shut_out
from popham.upstream.intake import OtlpIntake
from popham.upstream.otlp import Otlp, as_otlp
from popham.upstream.outputs import OUTPUTS_PATH, Outputs, no_output
from popham.upstream.record import Record
from popham.upstream.relay_door import RelayDoor
from popham.upstream.shedding import Shedder
from popham.upstream.streams import Streams

CONTENT_PATH = "/v1/content/"
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
            status = _CODE.get(error.code) or _STATUS.get(type(error), 400)
            return Response(status=status, body=str(error).encode(), content_type="text/plain")

    async def _serve(self, request: Request, identity: Identity) -> Response:
        path = request.path
        if path == RELAY_PATH:
            return await self._relaying.answer(request, self._accepted(identity))
        if path.startswith(OUTPUTS_PATH):
            return await self._take(request, identity)
        if path.startswith(STREAMS):
            return await self._streams.answer(request, self._known(identity))
        return await self._otlp.answer(request, identity) if path in OTLP else self._find(path, identity)

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

    def _find(self, path: str, identity: Identity) -> Response:
        if path in self._trust:
            return Response(body=self._trust[path], content_type="application/octet-stream")
        match, record = _CONTENT.fullmatch(path), self._accepted(identity)
        body = self._content(match[1], record) if match and record else None
        if body is None:
            raise NotFoundError(
                "content", "this agent's bundle names no such body", "Ask for a round; it may be old"
            )
        return Response(body=body, headers={"Cache-Control": "private, immutable, max-age=31536000"})

    def _content(self, sha256: str, record: Record) -> bytes | None:
        """Return a body that the agent may have; raises ContentError ``content.serial`` if not yet."""
        wanted = self._book.wanted(record.group)
        if wanted is not None and sha256 in wanted.guarded and wanted.guards(record):
            problem = f"policies with secrets are given once serial {wanted.minimum_serial} is in force"
            raise ContentError("serial", problem, "Apply the rest, report it, and ask again")
        return self._book.content(sha256, record.group)


def refused(refusal: Refusal) -> Response:
    """Return a refusal as an answer to a request for another path."""
    wait = refusal.retry_after
    headers = {} if wait is None else {"Retry-After": str(max(1, round(wait)))}
    return Response(
        status=refusal.status, body=refusal.body.encode(), content_type="text/plain", headers=headers
    )
