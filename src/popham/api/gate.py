"""The gate before the API: nobody passes whom the registry does not name.

Rules:

1. It decides by method, path and headers; the body is read afterwards (SEC-2).
2. A route that does not stand in the registry is not served (SEC-4).
3. A body is bounded in bytes and seconds (SEC-9).
"""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from popham.api.problems import problem
from popham.errors import PophamError, WireError
from popham.manager.grant import Grant
from popham.manager.service import ManagerService
from popham.model.registry import NONE, IdentityKind, Listener, Route, find_route, require

MAX_BODY = 24 * 1024 * 1024
"""Bytes of one request: 12 MiB of definitions, escaped as JSON."""
BODY_TIMEOUT = 60.0
"""Seconds from the first to the last byte of a body."""
MAX_BEARER = 512
"""Characters of a token; ours have under 100."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
"""Sent with every answer that does not say otherwise."""


class Gate:
    """ASGI middleware: looks up the route, asks for the grant, bounds the body."""

    def __init__(self, app: ASGIApp, *, service: ManagerService, body_timeout: float = BODY_TIMEOUT) -> None:
        self._app = app
        self._service = service
        self._body_timeout = body_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            # No WebSocket is served to people; closing before it is accepted answers 403.
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            entry = find_route(Listener.PEOPLE, scope["method"], scope["path"])
            headers = Headers(scope=scope)
            scope.setdefault("state", {})["grant"] = await self._grant(entry, headers, scope)
            bounded = _Body(receive, headers, self._body_timeout)
        except PophamError as error:
            await problem(error)(scope, receive, send)
            return
        await self._app(scope, bounded, _with_headers(send))

    async def _grant(self, entry: Route, headers: Headers, scope: Scope) -> Grant | None:
        """Return who asks; None on routes that are open to anybody.

        Raises:
            GrantError: No token, an unknown one, or one that may not do this.
        """
        if entry.allows(NONE):
            return None
        bearer = _bearer(headers.get("authorization", ""))
        if not bearer:
            require(entry, NONE)
        client = scope.get("client")
        grant = await self._service.authenticate(bearer, client[0] if client else "")
        require(entry, IdentityKind(grant.role))
        return grant


class _Body:
    """A ``receive`` that stops at :data:`MAX_BODY` bytes and after ``timeout`` seconds."""

    def __init__(self, receive: Receive, headers: Headers, timeout: float) -> None:
        self._receive = receive
        self._timeout = timeout
        self._bytes = 0
        self._complete = False
        self._deadline: float | None = None
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length[:12]) > MAX_BODY:
            raise _too_large()

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as error:
            problem = f"the body took longer than {self._timeout:g} seconds"
            raise WireError("slow", problem, "Send it again") from error
        self._bytes += len(message.get("body", b""))
        if self._bytes > MAX_BODY:
            raise _too_large()
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or len(token) > MAX_BEARER or not token.isascii():
        return ""
    return token


def _too_large() -> WireError:
    return WireError("too_large", f"a request has at most {MAX_BODY} bytes", "Send it in parts")
