"""Asks services whether they answer: by HTTP, a TCP connection, a look-up of a name, or an ICMP echo."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from popham import __version__
from popham.clock import Clock
from popham.net.lookups import Lookups

ANSWER_MAX: Final = 64 * 1024
"""Bytes of an answer that are read."""
_SAID: Final = 200
"""Characters of an error that are told."""
_GOOD: Final = 400
"""Statuses below it are right, where nobody says which is."""
_TYPES: Final = ((8, 0), (128, 129))
"""Types of an echo and of its reply, of IPv4 and of IPv6. Source: RFC 792, RFC 4443."""
_HEAD: Final = struct.Struct(">BBHHH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of a service, and which answer is right.

    Attributes:
        kind: ``http``, ``tcp``, ``dns`` or ``ping``.
        target: Who is asked: a URL, ``HOST:PORT``, a name or a host.
        host: The host in it, or the name that is looked up; an address without brackets.
        timeout: Seconds that the answer may take.
        status: Of ``http``: the one status that is right; None for all below 400.
        contains: Of ``http``: text in the answer; None for whatever comes.
        address: Of ``dns``: a range that one of the addresses is in; None for whatever comes.
    """

    kind: str
    target: str
    host: str
    timeout: float
    status: int | None = None
    contains: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a question.

    Attributes:
        up: Whether the service is as it should be; None if it could not be asked from here.
        seconds: How long the answer took.
        why: What is wrong, as the end of a sentence; empty if it is up.
    """

    up: bool | None
    seconds: float = 0.0
    why: str = ""


class _WrongError(Exception):
    """The service is not as it should be; says why, as the end of a sentence."""


class _UnableError(Exception):
    """This machine cannot ask; says why, as the end of a sentence."""


def open_echo(address: str) -> socket.socket:
    """Return a connected socket for ICMP echoes that needs no privilege, if the kernel lets this account have one."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if ":" in address else socket.IPPROTO_ICMP
    found = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, protocol)
    try:
        found.connect((address, 0))
    except BaseException:
        found.close()
        raise
    return found


class Asking:
    """Asks services; one session of HTTP for all of them, without cookies and kept connections."""

    def __init__(
        self, lookups: Lookups, clock: Clock, open_echo: Callable[[str], socket.socket] = open_echo
    ) -> None:
        """Ask nobody yet.

        Args:
            lookups: Look names up.
            clock: Measures how long an answer takes.
            open_echo: Opens a socket for echoes to an address.
        """
        self._lookups = lookups
        self._clock = clock
        self._open_echo = open_echo
        self._session: aiohttp.ClientSession | None = None
        self._ways: Mapping[str, Callable[[Question], Awaitable[None]]] = MappingProxyType(
            {"http": self._http, "tcp": self._tcp, "dns": self._dns, "ping": self._ping}
        )

    async def ask(self, question: Question) -> Found:
        """Return what came of a question, within its time."""
        now = self._clock.monotonic
        began = now()
        try:
            async with asyncio.timeout(question.timeout):
                await self._ways[question.kind](question)
        except TimeoutError:
            return Found(up=False, seconds=now() - began, why=f"did not answer within {question.timeout:g} s")
        except _WrongError as error:
            return Found(up=False, seconds=now() - began, why=str(error))
        except _UnableError as error:
            return Found(up=None, why=str(error))
        except aiohttp.ClientResponseError:
            return Found(up=False, seconds=now() - began, why="answered with something that is no HTTP")
        except (OSError, aiohttp.ClientError) as error:
            return Found(up=False, seconds=now() - began, why=f"cannot be reached: {_say(error)}")
        return Found(up=True, seconds=now() - began)

    async def aclose(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()

    async def _http(self, question: Question) -> None:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_Resolver(self._resolve), force_close=True, use_dns_cache=False, limit=0
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"popham/{__version__}", "Accept-Encoding": "identity"},
                auto_decompress=False,
            )
        async with self._session.get(question.target, allow_redirects=False) as answer:
            wanted = question.status
            if answer.status != wanted if wanted is not None else answer.status >= _GOOD:
                raise _WrongError(f"answered with status {answer.status}")
            if question.contains is not None:
                body = await _read(answer.content)
                if question.contains.encode() not in body:
                    raise _WrongError("answered without the text that is expected")

    async def _tcp(self, question: Question) -> None:
        port = int(question.target.rpartition(":")[2])
        addresses = await self._resolve(question.host, question.timeout)
        last: OSError | None = None
        for address in addresses:
            try:
                _, writer = await asyncio.open_connection(address, port)
            except OSError as error:
                last = error
                continue
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return
        raise last or OSError("it has no address")

    async def _dns(self, question: Question) -> None:
        addresses = await self._resolve(question.host, question.timeout)
        if question.address is None:
            return
        wanted = ipaddress.ip_network(question.address, strict=False)
        if not any(_read_address(address) in wanted for address in addresses):
            raise _WrongError(f"resolves to {', '.join(addresses[:4])}, and not to {question.address}")

    async def _resolve(self, host: str, seconds: float = 60.0) -> list[str]:
        """Return the addresses of a name, as the system resolves it."""

        def look() -> list[str] | str:
            try:
                found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            except OSError as error:
                return _say(error)
            except UnicodeError:
                return "it is no name of a host"
            return list(dict.fromkeys(str(one[4][0]) for one in found))

        found = await self._lookups.ask(f"probe {host}", look, seconds=seconds)
        if found is None:
            raise TimeoutError
        if isinstance(found, str):
            raise _WrongError(f"does not resolve: {found}")
        return found

    async def _ping(self, question: Question) -> None:
        address = (await self._resolve(question.host, question.timeout))[0]
        echo, reply = _TYPES[":" in address]
        try:
            asking = self._open_echo(address)
        except PermissionError as error:
            why = "this machine's kernel lets its account send no echoes (net.ipv4.ping_group_range)"
            raise _UnableError(f"cannot be asked, since {why}: {_say(error)}") from None
        with asking:
            loop = asyncio.get_running_loop()
            token = os.urandom(16)
            # The kernel fills in its identifier and the sum, and tells replies to us from others'.
            await loop.sock_sendall(asking, _HEAD.pack(echo, 0, 0, 0, 1) + token)
            while True:
                answer = await loop.sock_recv(asking, 1024)
                if answer[:1] == bytes((reply,)) and answer[_HEAD.size :] == token:
                    return


class _Resolver(AbstractResolver):
    """Resolves for aiohttp as all other probes do."""

    def __init__(self, resolve: Callable[[str], Awaitable[list[str]]]) -> None:
        self._resolve = resolve

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``, of whatever family."""
        del family
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._resolve(host)
        ]

    async def close(self) -> None:
        """Close nothing."""


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Return the beginning of an answer."""
    held = bytearray()
    while len(held) < ANSWER_MAX:
        part = await content.read(ANSWER_MAX - len(held))
        if not part:
            break
        held += part
    return bytes(held)


def _read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address without its zone; IPv4 within IPv6 is IPv4."""
    found = ipaddress.ip_address(text.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _say(error: BaseException) -> str:
    """Return why something failed, in the system's words."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ConnectionError) and cause.errno:
        return os.strerror(cause.errno)
    said = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return " ".join(said.split())[:_SAID]
