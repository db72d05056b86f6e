"""What an HTTP request asks and what its answer may look like: bodies, encodings, ranges.

Nothing here decides who may ask; it bounds what is read and shapes what is sent.
"""

from __future__ import annotations

import asyncio
import re
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from aiohttp import web

from popham.errors import (
    ConflictError,
    GrantError,
    LinkError,
    NotFoundError,
    PophamError,
    TrustError,
    WireError,
)
from popham.net.route import OTLP, RELAY
from popham.net.seam import Limits, Peer, Refusal, Request, Response

GZIP_FROM = 1024
"""Bytes from which an answer is worth compressing."""

GZIP_INLINE = 64 * 1024
"""Bytes up to which compressing does not hold up the loop; more goes to a thread."""

GZIP_PROBE = 256 * 1024
GZIP_RATIO = 200
"""A body that has grown to so many bytes, so many times its own size, is a bomb and no message. Source: SEC-9."""

SLOWEST = 16 * 1024
"""Bytes per second that a reader of a large answer must take."""

STATUS = {
    "wire.too_large": 413,
    "wire.encoding": 415,
    "wire.late": 408,
    "link.busy": 503,
}
"""HTTP status by error code; where silent, by family."""

FAMILY = (
    (WireError, 400),
    (TrustError, 403),
    (GrantError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (LinkError, 503),
)

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_QUALITY = re.compile(r"q\s*=\s*0(\.0{0,3})?\s*")


class Headers(Protocol):
    """Headers by name, in whatever case; a filling's own mapping is one."""

    def get(self, name: str, default: str, /) -> str:
        """Return a header's value."""
        ...


def uid_of(headers: Headers) -> bytes:
    """Return the OpAMP-Instance-UID header as 16 bytes; empty if absent or malformed."""
    text = headers.get("OpAMP-Instance-UID", "")
    try:
        return uuid.UUID(text).bytes if text else b""
    except ValueError:
        return b""


def head_size(request: web.BaseRequest) -> int:
    """Return the bytes of a request's head."""
    head = len(request.method) + len(request.raw_path) + len(" HTTP/1.1\r\n ")
    return head + sum(len(name) + len(value) + 4 for name, value in request.raw_headers)


def has_media_type(request: web.BaseRequest, name: str) -> bool:
    """Return whether the body is of that media type, whatever its parameters."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower() == name


async def read_body(request: web.BaseRequest, limits: Limits) -> bytes:
    """Return the body, decompressed.

    Raises:
        WireError: ``wire.too_large`` before or after decompression, ``wire.encoding``,
            ``wire.gzip`` or ``wire.late``. The rest of the body is not read.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"identity", "", "gzip", "x-gzip"}:
        raise WireError("encoding", f"The content encoding {encoding!r} is not known", "Use gzip or none")
    if (request.content_length or 0) > limits.message:
        raise too_large(limits)
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_time):
            async for part in request.content.iter_any():
                size += len(part)
                if size > limits.message:
                    raise too_large(limits)
                parts.append(part)
    except TimeoutError as error:
        raise WireError("late", f"The body took longer than {limits.body_time:g} s") from error
    except web.RequestPayloadError as error:
        raise WireError("body", "The body ended early or is malformed") from error
    body = b"".join(parts)
    return inflate(body, limits) if encoding in {"gzip", "x-gzip"} else body


def inflate(data: bytes, limits: Limits) -> bytes:
    """Return what a gzip member holds, never more than ``limits.message`` bytes.

    Raises:
        WireError: ``wire.too_large``, or ``wire.gzip`` if it is no single, whole member.
    """
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        body = reader.decompress(data, min(limits.message, GZIP_PROBE) + 1)
        if GZIP_PROBE < len(body) <= limits.message:
            taken = len(data) - len(reader.unconsumed_tail)
            if len(body) > GZIP_RATIO * taken:
                raise WireError("too_large", f"The body is gzip of more than {GZIP_RATIO} to 1")
            body += reader.decompress(reader.unconsumed_tail, limits.message + 1 - len(body))
    except zlib.error as error:
        raise WireError("gzip", "The body is not gzip") from error
    if len(body) > limits.message:
        raise too_large(limits)
    if not reader.eof or reader.unused_data:
        raise WireError("gzip", "The body is not one whole gzip member")
    return body


async def deflate(data: bytes) -> bytes:
    """Return ``data`` as gzip; large data is compressed beside the loop."""
    if len(data) <= GZIP_INLINE:
        return _gzip(data)
    return await asyncio.to_thread(_gzip, data)


def accepts_gzip(headers: Headers) -> bool:
    """Return whether Accept-Encoding names gzip (or ``*``) with a quality above 0."""
    chosen: bool | None = None
    for item in headers.get("Accept-Encoding", "").split(","):
        name, _, quality = item.partition(";")
        wanted = _QUALITY.fullmatch(quality.strip().lower()) is None
        if name.strip().lower() in {"gzip", "x-gzip"}:
            return wanted
        if name.strip() == "*":
            chosen = wanted
    return bool(chosen)


def refused(refusal: Refusal) -> web.Response:
    """Return the answer to somebody who is not let in; the connection ends with it."""
    problem = refusal.body.startswith("{")
    response = web.Response(
        status=refusal.status,
        text=refusal.body,
        content_type="application/problem+json" if problem else "text/plain",
    )
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
    if refusal.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    response.force_close()
    return response


def not_allowed(sentence: str) -> web.Response:
    """Return the answer to a method that the path of rounds and held links does not have."""
    response = refused(Refusal(status=405, body=sentence))
    response.headers["Allow"] = "GET, POST"
    return response


def explain(error: PophamError) -> Refusal:
    """Return the refusal for a request that failed on purpose."""
    status = STATUS.get(error.code) or next((s for kind, s in FAMILY if isinstance(error, kind)), 500)
    retry_after = error.retry_after if isinstance(error, LinkError) else None
    return Refusal(status=status, retry_after=retry_after, body=str(error))


def failed(error: PophamError) -> web.Response:
    """Return the answer to a request that failed on purpose."""
    return refused(explain(error))


async def read_request(request: web.BaseRequest, limits: Limits, *, unread: bool = False) -> Request:
    """Return a request for another path; header names in lower case. Raises as :func:`read_body`.

    Where it is ``unread`` its body is left where it is.
    """
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    body = await read_body(request, limits) if request.body_exists and not unread else b""
    return Request(
        method=request.method,
        path=request.path,
        peer=request.protocol.peer(request.headers),  # type: ignore[attr-defined]  # ours, made by the gate
        query=dict(request.query),
        raw_query=request.raw_path.partition("?")[2].partition("#")[0],
        headers=headers,
        body=body,
    )


async def read_other(request: web.BaseRequest, limits: Limits) -> Request:
    """Return a request for another path than that of rounds; raises as :func:`read_body`.

    The body of whoever shows no certificate stays where it is: nobody else has anything to bring, but for plain OTLP,
    which a token may bring that was looked at.
    """
    peer: Peer = request.protocol.peer(request.headers)  # type: ignore[attr-defined]  # ours, made by the gate
    brings_otlp = request.path in OTLP
    bounds = limits if brings_otlp or request.path == RELAY else replace(limits, message=limits.other)
    has_shown = peer.certificate is not None or (brings_otlp and bool(peer.bearer))
    return await read_request(request, bounds, unread=not has_shown)


def ranged(request: web.BaseRequest, response: Response) -> web.Response:
    """Return an answer, cut to the single range that was asked for.

    Several ranges, another unit, or an ``If-Range`` that does not match get the whole.

    Source: RFC 9110 section 14; bodies are immutable, so a range never mixes two versions.
    """
    headers = dict(response.headers)
    body, status = response.body, response.status
    if request.method in {"GET", "HEAD"} and status == 200:
        headers["Accept-Ranges"] = "bytes"
        wanted = _range(request, headers, len(body))
        if wanted is not None:
            first, last = wanted
            if first > last:
                headers["Content-Range"] = f"bytes */{len(body)}"
                return web.Response(status=416, headers=headers)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
            body, status = body[first : last + 1], 206
    headers["Content-Type"] = response.content_type
    return web.Response(status=status, body=body, headers=headers)


def _range(request: web.BaseRequest, headers: Mapping[str, str], size: int) -> tuple[int, int] | None:
    """Return first and last byte wanted, (1, 0) if that is impossible, None for the whole."""
    if request.method != "GET":
        return None
    match = _RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    guard = request.headers.get("If-Range")
    tag = next((value for name, value in headers.items() if name.lower() == "etag"), None)
    if match is None or (guard is not None and guard != tag):
        return None
    start, end = match.groups()
    if not start and not end:
        return None
    if not start:
        first, last = max(0, size - int(end)), size - 1
        return (first, last) if int(end) else (1, 0)
    first, last = int(start), min(int(end), size - 1) if end else size - 1
    if end and int(end) < int(start):
        return None
    return (first, last) if first < size else (1, 0)


def _gzip(data: bytes) -> bytes:
    writer = zlib.compressobj(level=1, wbits=zlib.MAX_WBITS | 16)
    return writer.compress(data) + writer.flush()


def too_large(limits: Limits) -> WireError:
    """Return the fault of a body over the limit."""
    return WireError("too_large", f"The body is larger than {limits.message} bytes", "Send less at a time")
