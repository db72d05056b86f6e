"""The agent's service as seen from the wire: one path, whatever stands before it, on TCP or a Unix socket.

Bounds are those of the agents' listener; what a request is worth is the service's matter.

Rules:

1. A request is a POST, or a GET with an upgrade, for a path that ends in ``/v1/visit``; any other is 404.
2. What goes wrong here is problem+json; whatever carries a signature, the service has made.
3. A Unix socket has its group and mode before anybody can connect; one that nobody serves any more is replaced,
   one that somebody serves never.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import random
import socket
import ssl
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from aiohttp import HttpVersion10, HttpVersion11, web

from popham import posix
from popham.clock import Clock
from popham.errors import ConfigError, PophamError, VisitError, WireError
from popham.net.connection import Connection, Gate
from popham.net.http import GZIP_FROM, accepts_gzip, deflate, explain, head_size, read_request
from popham.net.listener import ANSWER_TIME, BACKLOG, BaseListener, Opened
from popham.net.peers import Peers
from popham.net.route import FRAMES, VISIT
from popham.net.seam import Limits, Request, Response
from popham.net.signing import STALE
from popham.net.websocket import Upgrade

log = logging.getLogger(__name__)

UNADMITTED = 64
"""Connections that have not brought a believed request yet; the oldest goes first. Source: REL-14."""

_SIGNATURE = "signature"
_REPLAYED = frozenset({STALE, 421})
"""Signed answers that whoever captured a request gets as well: its nonce is old, or it is for another agent."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An upgrade that is let in.

    Attributes:
        headers: Of the answer 101, such as its signature.
        opened: Takes the link.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    opened: Opened = field(kw_only=True)


class VisitedService(Protocol):
    """What an agent's service answers."""

    async def answer(self, request: Request) -> Response:
        """Answer a POST."""
        ...

    async def upgrade(self, request: Request) -> Response | Accepted:
        """Answer an upgrade: let it in, or say why not."""
        ...


class VisitListener(BaseListener):
    """Serves visitors on one port, a Unix socket, or both.

    Args:
        service: What requests mean.
        context: TLS on the port; None for plain HTTP. A Unix socket never has it.
        limits: Bounds of everything that is read or kept.
        clock: Time of the rate limit.
        rng: Spreads the return of those who are sent away.
        unadmitted: Connections that may be open without having brought a believed request.
        peers: From which addresses anybody may come at all; None for all.
        heeds: Says by its headers whether a request may be believed; the body of any other is not read.
    """

    hint = "Choose another with 'port' in [service] of the agent's configuration, or stop what listens there"

    def __init__(
        self,
        service: VisitedService,
        *,
        context: ssl.SSLContext | None,
        limits: Limits,
        clock: Clock,
        rng: random.Random,
        unadmitted: int = UNADMITTED,
        peers: Peers | None = None,
        heeds: Callable[[Mapping[str, str]], bool] = lambda _headers: True,
    ) -> None:
        super().__init__(context=context, limits=limits, clock=clock, rng=rng, unadmitted=unadmitted)
        self._visited = service
        self._heeds = heeds
        self._peers = peers or Peers()
        self._paths: dict[Path, os.stat_result] = {}

    async def start_unix(self, path: Path, *, group: str = "", mode: int = 0o660) -> None:
        """Listen on a Unix socket, after :meth:`start` if there is a port as well.

        Args:
            path: Of the socket; its directory is there.
            group: Name or number of the group that may connect, such as the web server's; empty for this process's.
            mode: Permission bits.

        Raises:
            ConfigError: ``config.listen``: somebody serves it, something else is there, or it cannot be made.
        """
        try:
            bound, self._paths[path] = _bind(path, group, mode)
        except (OSError, LookupError) as error:
            reason = getattr(error, "strerror", None) or error
            problem = f"The Unix socket {path} cannot be listened on: {reason}"
            raise ConfigError("listen", problem, "Correct 'socket' or 'group' in [service]") from error
        if self._gate is None:
            self._gate = Gate(self._handle, limits=self._limits, unadmitted=self._unadmitted)
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_unix_server(self.protocol, sock=bound, backlog=BACKLOG))

    def protocol(self) -> asyncio.Protocol:
        """Return the protocol of one more socket."""
        gate = cast("Gate", self._gate)
        loop = asyncio.get_running_loop()
        return _Guarded(gate, loop=loop, limits=self._limits, admits=self._peers.admits)

    async def stop(self, *, retry_window: float = 0.0) -> None:
        """Accept no more, close held links with 1012, let requests finish, close the rest; as the agents' listener."""
        for path, made in self._paths.items():
            _remove(path, made)
        self._paths.clear()
        await super().stop(retry_window=retry_window)

    async def _dispatch(self, request: web.BaseRequest, connection: Connection) -> web.StreamResponse:
        try:
            return await self._visit(request, connection)
        except PophamError as error:
            refusal = explain(error)
            return await _render(request, problem(error, refusal.status))
        except TimeoutError:
            log.error("A visit's exchange took longer than %g s", ANSWER_TIME)  # noqa: TRY400 - where it waited says nothing
            late = VisitError("slow", "The agent took too long to answer", "See the agent's log")
            return await _render(request, problem(late, 500))

    async def _visit(self, request: web.BaseRequest, connection: Connection) -> web.StreamResponse:
        """Answer a request within its bounds; raises what is wrong with it."""
        refusal = self._refuse(request)
        upgrade = Upgrade(self._limits)
        held = request.method == "GET" and upgrade.can_prepare(request).ok
        if refusal is None and request.method == "GET" and not held:
            unheld = VisitError(
                "no_upgrade", "A GET is the upgrade to a held link", "Pass on the header Upgrade"
            )
            refusal = problem(unheld, 426, {"Upgrade": "websocket"})
        if refusal is not None:
            return await _render(request, refusal)
        asked = await read_request(request, self._limits, unread=not self._heeds(request.headers))
        async with asyncio.timeout(ANSWER_TIME):
            answer = await (self._visited.upgrade(asked) if held else self._visited.answer(asked))
        if isinstance(answer, Accepted):
            upgrade.headers.update(answer.headers)
            return await self._hold(request, connection, upgrade, answer.opened)
        if answer.status not in _REPLAYED and any(name.lower() == _SIGNATURE for name in answer.headers):
            connection.admitted()
        return await _render(request, answer)

    def _refuse(self, request: web.BaseRequest) -> Response | None:
        """Return why a request is not even read, or None."""
        size = self._limits.header
        if head_size(request) > size:
            return problem(WireError("too_large", f"The head is larger than {size} bytes"), 431)
        if request.version not in {HttpVersion10, HttpVersion11}:
            return problem(VisitError("failed", "An agent speaks HTTP/1.1"), 505)
        if not request.path.endswith(VISIT) or request.method not in {"GET", "POST"}:
            nothing = VisitError("not_found", f"An agent's service has only {VISIT}, by POST or upgrade")
            return problem(nothing, 404)
        wait = self._rate.admit()
        if wait is not None:
            busy = VisitError("busy", "Too many requests come at once", "Come again later")
            return problem(busy, 429, {"Retry-After": str(max(1, round(wait)))})
        if self._window is not None and request.method == "GET":
            return problem(VisitError("off", "This agent's service is being stopped"), 503)
        return None


class _Guarded(Connection):
    """Ends the connection of an address that may not come."""

    def __init__(
        self,
        gate: Gate,
        *,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        admits: Callable[[str, float], bool],
    ) -> None:
        super().__init__(gate, loop=loop, limits=limits)
        self._admits = admits

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, or not."""
        super().connection_made(transport)
        if not self._admits(self._address(), self._loop.time()):
            cast("asyncio.Transport", transport).abort()


def problem(error: PophamError, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer to a request that failed on purpose, without a signature. Source: RFC 9457."""
    body = {
        "status": status,
        "code": error.code,
        "detail": error.problem,
        "hint": error.hint,
        "retryable": error.retryable,
    }
    return Response(
        status=status,
        body=json.dumps(body).encode(),
        content_type="application/problem+json",
        headers=dict(headers or {}),
    )


async def _render(request: web.BaseRequest, answer: Response) -> web.Response:
    """Return an answer for the wire; compressed if that is worth it and wanted."""
    headers = dict(answer.headers)
    body = answer.body
    if body:
        headers["Content-Type"] = answer.content_type
    if len(body) > GZIP_FROM and answer.content_type != FRAMES:
        headers["Vary"] = "Accept-Encoding"
        if accepts_gzip(request.headers):
            body = await deflate(body)
            headers["Content-Encoding"] = "gzip"
    # A web server in front must keep nothing of it.
    headers.setdefault("Cache-Control", "no-store")
    return web.Response(status=answer.status, body=body or None, headers=headers)


def _bind(path: Path, group: str, mode: int) -> tuple[socket.socket, os.stat_result]:
    """Return a socket with its name, group and mode, to which nobody can connect yet, and what is on the disk.

    Raises:
        OSError: It cannot be made, or somebody serves it.
        LookupError: There is no such group.
    """
    _clear(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        try:
            posix.set_group(path, group)
            posix.set_mode(path, mode)
            made = path.lstat()
        except BaseException:
            path.unlink()
            raise
        bound.settimeout(0.0)
    except BaseException:
        bound.close()
        raise
    return bound, made


def _clear(path: Path) -> None:
    """Remove a socket that nobody serves any more. Raises OSError if there is anything else."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "there is something else of this name", str(path))
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.0)
        found = probe.connect_ex(str(path))
    if found != errno.ECONNREFUSED:
        said = "somebody serves it" if found in {0, errno.EAGAIN} else os.strerror(found)
        raise OSError(found or errno.EADDRINUSE, said, str(path))
    path.unlink()


def _remove(path: Path, made: os.stat_result) -> None:
    """Remove a socket of ours, unless another has taken its place."""
    with contextlib.suppress(OSError):
        found = path.lstat()
        if (found.st_ino, found.st_dev, found.st_ctime_ns) == (made.st_ino, made.st_dev, made.st_ctime_ns):
            path.unlink()
