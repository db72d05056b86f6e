"""A way through a web proxy, as the agent goes it: CONNECT, with user and password where they are configured."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote, urlsplit

from popham.agent.doctor.finding import Finding, fail, ok
from popham.agent.doctor.probes import Address

CHECK: Final = "connect"
"""Name of the check that asks a web proxy for the way to a server."""
_KEY: Final = "'http_proxy' of this machine's configuration"
_MISSING = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
_REASON = 100


class TunnelError(Exception):
    """A web proxy does not lead there.

    Attributes:
        status: Of HTTP; 0 where what answered is no HTTP.
        reason: What it says.
    """

    def __init__(self, status: int, reason: str) -> None:
        """Keep what was answered."""
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class WebProxy:
    """A web proxy.

    Attributes:
        host, port: Where it listens.
        login: Value of ``Proxy-Authorization``; empty for none.
    """

    host: str
    port: int
    login: str

    @property
    def where(self) -> str:
        """Host and port, without user and password."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def open(
        self, address: Address, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a connection to a server through it, by one of its addresses.

        Raises:
            TunnelError: It answered, and does not lead there.
            OSError: It does not answer.
        """
        reader, writer = await asyncio.open_connection(address.host, self.port)
        try:
            target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            head = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
            head += [f"Proxy-Authorization: {self.login}"] if self.login else []
            writer.write("\r\n".join([*head, "", ""]).encode("latin-1"))
            await writer.drain()
            _expect(*_read_status(await reader.readuntil(b"\r\n\r\n")))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            writer.transport.abort()
            raise TunnelError(0, "") from error
        except BaseException:
            writer.transport.abort()
            raise
        return reader, writer

    async def examine(self, address: Address, url: str, *, seconds: float) -> Finding:
        """Return whether it leads to the server of ``url``, and what else is to blame: itself, the login, or the server."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        try:
            async with asyncio.timeout(seconds):
                _, writer = await self.open(address, host, port)
        except TunnelError as refused:
            return self._blame(refused, f"{host}:{port}", url)
        except TimeoutError:
            text = f"the web proxy {self.where} does not say within {seconds:g} s whether it leads to {host}:{port}"
            return fail(
                CHECK, text, "See the web proxy's log, and whether it reaches that server", server=url
            )
        except OSError as error:
            text = f"the connection to the web proxy {self.where} broke: {error.strerror or error}"
            return fail(CHECK, text, "See the web proxy's log", server=url)
        writer.transport.abort()
        return ok(CHECK, f"the web proxy {self.where} leads to {host}:{port}", server=url)

    def _blame(self, refused: TunnelError, target: str, url: str) -> Finding:
        status, said = refused.status, f"HTTP {refused.status} {refused.reason}".strip()
        if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            had = "another user or password" if self.login else "a user and a password"
            text = f"the web proxy {self.where} wants {had} ({said})"
            return fail(CHECK, text, f"Set {_KEY}: http://user:password@{self.where}", server=url)
        if status in _MISSING:
            text = f"the web proxy {self.where} does not reach {target} ({said})"
            step = "See whether the server runs, and what lies between the web proxy and it"
            return fail(CHECK, text, step, server=url)
        if not status:
            text = f"what answers at {self.where} is no web proxy"
            return fail(CHECK, text, f"Correct {_KEY}", server=url)
        text = f"the web proxy {self.where} refuses to lead to {target} ({said})"
        return fail(CHECK, text, f"Let the web proxy pass CONNECT to {target}", server=url)


def read_web_proxy(url: str) -> WebProxy | None:
    """Return the web proxy of a configuration: ``http://user:password@host:port``; None for an empty text."""
    if not url:
        return None
    parts = urlsplit(url)
    login = ""
    if parts.username is not None:
        named = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = f"Basic {b64encode(named.encode('latin-1', 'replace')).decode()}"
    return WebProxy(parts.hostname or "", parts.port or 80, login)


def _expect(status: int, reason: str) -> None:
    """Raise TunnelError, if the answer is no yes."""
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        raise TunnelError(status, reason)


def _read_status(head: bytes) -> tuple[int, str]:
    """Return status and reason of an answer; status 0 if it is no HTTP."""
    line = head.partition(b"\r\n")[0].decode("latin-1")
    version, _, rest = line.partition(" ")
    status, _, reason = rest.partition(" ")
    good = version.startswith("HTTP/1.") and status.isdecimal() and len(status) == len("200")
    return (int(status), reason.strip()[:_REASON]) if good else (0, "")
