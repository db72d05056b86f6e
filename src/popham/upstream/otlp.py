"""Plain OTLP over HTTP: whose it is, whether there is room, and how it is answered.

Rules:

1. What is answered by 200 is durable.  Whoever got no answer sends it again: it is kept at least once.
2. To be sent again is only what 429 or 503 say; whatever is wrong with a request stays wrong.
3. An agent writes into its own data and no other's.  A token stands for the stock agents of its group: a resource
   whose ``service.instance.id`` is the instance_uid of one of them is that agent's; any other is the token's own.
4. Through a Proxy Manager only a token's is taken: what comes by an agent's certificate nobody above could tell from
   what the proxy made up, and agents sign what is theirs.

Source: OTLP 1.9, OTLP/HTTP.
"""

from __future__ import annotations

import json
import uuid
from typing import Any, Final

from popham.errors import GrantError, LinkError, NotFoundError, WireError
from popham.model.fleet import Admission
from popham.model.registry import IdentityKind
from popham.net.route import PROTOBUF
from popham.net.seam import Refusal, Refused, Request, Response
from popham.streams.frame import Stream
from popham.upstream.book import Book, Identity
from popham.upstream.callers import explain_impostor, shut_out
from popham.upstream.intake import OtlpIntake, Rejected, Source
from popham.upstream.shedding import Shedder, Work

RETRY: Final = 30.0
"""Seconds after which a sender may come again, where nobody says how many."""
JSON: Final = "application/json"
_STREAMS: Final = {"/v1/logs": Stream.LOGS, "/v1/metrics": Stream.METRICS}
_ALSO: Final = frozenset({"/v1/traces", "/v1development/profiles"})
"""Paths of OTLP at which nothing is taken; senders of these too read answers of OTLP."""
_NOT_TAKEN: Final = b"Logs and metrics are taken here, and nothing else of OTLP (not_found.route)"
_REJECTED: Final = {Stream.LOGS: "rejectedLogRecords", Stream.METRICS: "rejectedDataPoints"}
_CODES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 413: 3, 415: 3, 429: 8, 503: 14}
"""HTTP status → code of google.rpc.Status; where silent, 2: unknown."""


class Otlp:
    """Answers requests of OTLP."""

    def __init__(self, book: Book, intake: OtlpIntake | None, shedder: Shedder) -> None:
        """Hand records on to ``intake``, None where nothing is taken; leave out under load what ``shedder`` says."""
        self._book = book
        self._intake = intake
        self._shedder = shedder

    async def answer(self, request: Request, identity: Identity) -> Response:
        """Take the records of a request.

        Raises:
            Refused: There is no room now, or this agent is shut out.
            NotFoundError: Nothing is taken here.
            PophamError: As :meth:`popham.upstream.intake.OtlpIntake.take`, and GrantError if the agent was not
                accepted yet.
        """
        self._need()
        stream, form = _STREAMS[request.path], _form(request)
        if form not in {PROTOBUF, JSON}:
            raise WireError(
                "encoding", f"the body's content type is {PROTOBUF} or {JSON}", "Send one of them"
            )
        rejected = await self.take(identity, stream, request.body, is_json=form == JSON)
        body = _json_success(stream, rejected) if form == JSON else _success(rejected)
        return Response(body=body, content_type=form)

    async def take(self, identity: Identity, stream: Stream, body: bytes, *, is_json: bool) -> Rejected:
        """Take the records of an export request of whoever this is; raises as :meth:`answer`."""
        intake, source = self._need(), self._source(identity)
        refusal = self._shedder.refusal(Work.DATA) or intake.refusal(source.uid, stream)
        if refusal is not None:
            raise Refused(refusal)
        try:
            return await intake.take(source, stream, body, is_json=is_json)
        except LinkError as error:
            wait = RETRY if error.retry_after is None else error.retry_after
            raise Refused(Refusal(status=503, retry_after=wait, body=str(error))) from error

    def _need(self) -> OtlpIntake:
        if self._intake is None:
            raise NotFoundError("route", "no OTLP is taken here")
        return self._intake

    def _source(self, identity: Identity) -> Source:
        """Return who it is. Raises Refused or GrantError."""
        if identity.caller is IdentityKind.STOCK:
            own = uuid.uuid5(uuid.NAMESPACE_URL, f"urn:popham:token:{identity.token}").bytes
            return Source(own, lambda name: self._owner(identity, name) or own)
        record = self._book.record(identity.uid)
        shut = shut_out(record)
        if shut is not None:
            raise Refused(shut)
        if record is None or record.admission is not Admission.ACCEPTED:
            raise GrantError("not_permitted", "this agent was not accepted yet", "Wait until it is")
        key = record.key
        return Source(key, lambda _name: key)

    def _owner(self, identity: Identity, name: str) -> bytes:
        """Return the instance_uid of a stock agent that a token stands for, by its text; empty if it is none."""
        try:
            uid = str(uuid.UUID(name))
        except ValueError:
            return b""
        record = self._book.record(uid)
        if record is None or record.admission is not Admission.ACCEPTED:
            return b""
        return b"" if explain_impostor(identity, uid, record) else record.key


def unsigned_otlp(name: str) -> GrantError:
    """Return the error of plain OTLP of one of our agents through a Proxy Manager: nothing shows that it is the agent's."""
    problem = f"records of {name} that it has not signed are not taken through a Proxy Manager"
    return GrantError(
        "proxy", problem, "Have the agent collect them, or send them with a stock agents' token"
    )


def as_otlp(request: Request, response: Response) -> Response:
    """Return a refusal as senders of OTLP read it; any other answer, and those of other paths, as they are."""
    if response.status < 400 or request.path not in _STREAMS.keys() | _ALSO:
        return response
    code, text = _CODES.get(response.status, 2), _NOT_TAKEN if request.path in _ALSO else response.body
    if _form(request) == JSON:
        body = _dump({"code": code, "message": text.decode()})
        return Response(status=response.status, body=body, content_type=JSON, headers=response.headers)
    body = b"\x08" + _varint(code) + _text(text)
    return Response(status=response.status, body=body, content_type=PROTOBUF, headers=response.headers)


def _form(request: Request) -> str:
    """Return the content type of a request, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _success(rejected: Rejected) -> bytes:
    """Return an ExportLogsServiceResponse; one for metrics has the same form."""
    if not rejected.records:
        return b""
    partial = b"\x08" + _varint(rejected.records) + _text(rejected.why.encode())
    return b"\x0a" + _varint(len(partial)) + partial


def _json_success(stream: Stream, rejected: Rejected) -> bytes:
    if not rejected.records:
        return b"{}"
    partial = {_REJECTED[stream]: str(rejected.records), "errorMessage": rejected.why}
    return _dump({"partialSuccess": partial})


def _dump(found: Any) -> bytes:
    return json.dumps(found, separators=(",", ":")).encode()


def _text(text: bytes) -> bytes:
    """Return field 2 of protobuf: a text."""
    return b"\x12" + _varint(len(text)) + text


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))
