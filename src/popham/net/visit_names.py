"""Addresses of host names, for those who dial many hosts.

Looking a name up blocks a thread, for many seconds where its name server is dead.  Visits have threads of their
own for it, so that neither other work waits for them nor a few dead names for long.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

THREADS = 32
"""Names that are looked up at the same time."""

ADDRESSES = 8
"""Addresses of one name that are tried."""


class Names(AbstractResolver):
    """Looks names up in threads of its own; to be shared by all dialers of a process."""

    def __init__(self, threads: int = THREADS) -> None:
        """Start no thread yet."""
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name. Raises OSError if there are none."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._find, host, port, family)
        return found[:ADDRESSES]

    async def close(self) -> None:
        """Begin no lookup any more; those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    def _find(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        found = socket.getaddrinfo(
            host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
        return [_result(host, port, kind, proto, address) for kind, _, proto, _, address in found]


class Pin(AbstractResolver):
    """Asks once, and keeps to the address that was reached: whoever rules the name cannot lead on elsewhere."""

    def __init__(self, names: AbstractResolver) -> None:
        """Take who looks names up; it is not closed with this."""
        self._names = names
        self._found: list[ResolveResult] | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return what the first question found."""
        if self._found is None:
            self._found = await self._names.resolve(host, port, family)
        return list(self._found)

    def keep_to(self, address: str) -> None:
        """Keep the one address that was reached."""
        if self._found is not None:
            self._found = [one for one in self._found if one["host"] == address] or self._found

    def forget(self) -> None:
        """Ask anew the next time."""
        self._found = None

    async def close(self) -> None:
        """Do nothing: there is nothing of its own."""


def _result(host: str, port: int, family: int, proto: int, address: tuple[object, ...]) -> ResolveResult:
    number = str(address[0])
    if family == socket.AF_INET6 and len(address) > 3 and address[3]:
        number += f"%{address[3]}"
    return ResolveResult(
        hostname=host,
        host=number,
        port=port,
        family=family,
        proto=proto,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
