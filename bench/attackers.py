"""Who attacks: one process, on addresses of its own, at bounded rates; says at the end what each got.

``python -m bench.attackers ORDER`` with a JSON object: ``port``, ``ca``, ``file`` (identities of stock
agents), ``seconds``, ``nice``, ``share`` (1 for the full rates), ``only`` (kinds whose name begins so).  It prints a line once it has begun, and
at the end one JSON object: kind → what it got → how often, and the seconds of CPU it took.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import socket
import ssl
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from popham.net.tls import client_context
from popham.opamp.wire import OPAMP_PATH
from popham.testing.load.identity import LoadIdentity, load_identities
from popham.testing.load.messages import Speech, frame, request, upgrade

HOST = "localhost"
MIB = 1024 * 1024
UNHEARD, NOTHING = "unheard", "nothing"
"""Ended before a word; no answer while this ran."""
_TEXT, _BINARY, _CLOSE, _PING = 1, 2, 8, 9
_NO_PORT = 24
_PATIENCE = 0.02
"""Seconds after which whoever was not turned away at once begins a handshake."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Siege:
    """All attackers of one process.

    Attributes:
        got: Kind → what it got → how often.
    """

    def __init__(self, order: dict[str, Any]) -> None:
        """Take the order."""
        self.got: dict[str, Counter[str]] = defaultdict(Counter)
        self._port = int(order["port"])
        self._share = float(order["share"])
        self._only = str(order["only"])
        self._stock: list[LoadIdentity] = load_identities(Path(order["file"]))
        self._context = client_context(order["ca"])
        self._bomb = gzip.compress(bytes(64 * MIB))
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def _good(self) -> str:
        return self._stock[0].bearer

    async def run(self, seconds: float) -> None:
        """Attack for so long."""
        kinds: tuple[tuple[str, float, int, Callable[[str], Awaitable[str]]], ...] = (
            # name, attempts a second, at once, what
            ("header bomb", 5, 10, self._header_bomb),
            ("head at a byte a second", 40, 200, self._drip),
            ("half a frame", 2, 20, self._half_frame),
            ("idle without a word", 100, 1000, self._idle),
            ("idle without a handshake", 400, 1000, self._idle_plain),
            ("gzip 1000:1", 5, 5, self._gzip_bomb),
            ("text frame", 5, 5, self._text),
            ("body of 64 MiB + 1", 5, 5, self._long_body),
            ("message of 64 MiB + 1", 5, 5, self._long_message),
            ("bad token", 5000, 200, self._bad_token),
            ("100 times the heartbeats", 2, 2, self._noisy),
            ("flood of pings", 2, 2, self._flood),
        )
        tasks = [
            # Four addresses each, so that what one kind is refused for is not held against another.
            asyncio.ensure_future(
                self._repeat(name, f"127.0.{kind + 2}", max(1.0, rate * self._share), at_once, what)
            )
            for kind, (name, rate, at_once, what) in enumerate(kinds)
            if name.startswith(self._only)
        ]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        for error in found:
            if isinstance(error, Exception):
                raise error
        for writer in list(self._open):
            writer.transport.abort()

    async def _repeat(
        self, name: str, network: str, rate: float, at_once: int, what: Callable[[str], Awaitable[str]]
    ) -> None:
        """Try again and again, so often a second, so many at once."""
        running: set[asyncio.Task[None]] = set()
        begin, number = time.monotonic(), 0
        try:
            while True:
                late = begin + number / rate - time.monotonic()
                if late > 0:
                    await asyncio.sleep(max(late, 0.005))
                while len(running) >= at_once:
                    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                if late < -1:
                    # Who could not keep the rate does not make up for it.
                    begin, number = time.monotonic(), 0
                number += 1
                task = asyncio.ensure_future(self._count(name, what, f"{network}.{1 + number % 4}"))
                running.add(task)
                task.add_done_callback(running.discard)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _count(self, name: str, what: Callable[[str], Awaitable[str]], source: str) -> None:
        try:
            outcome = await what(source)
        except asyncio.CancelledError:
            outcome = NOTHING
        except (OSError, EOFError):
            outcome = UNHEARD
        self.got[name][outcome] += 1

    # Ways to speak.

    async def _dial(self, source: str, *, tls: bool = True) -> Streams:
        sock = socket.socket()
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_IP, _NO_PORT, 1)
        sock.bind((source, 0))
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
            streams = await asyncio.open_connection(
                sock=sock, ssl=self._context if tls else None, server_hostname=HOST if tls else None
            )
        except BaseException:
            sock.close()
            raise
        self._open.add(streams[1])
        return streams

    async def _end(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        writer.transport.abort()

    async def _ask(self, source: str, *parts: bytes, pause: float = 0.0, tls: bool = True) -> str:
        """Send a request in parts and return the status."""
        reader, writer = await self._dial(source, tls=tls)
        try:
            answer = asyncio.ensure_future(_status(reader))
            try:
                for part in parts:
                    if answer.done():
                        break
                    writer.write(part)
                    await writer.drain()
                    if pause:
                        await asyncio.wait({answer}, timeout=pause)
                return await answer
            except ConnectionError:
                # What was answered before the connection broke may still be there.
                return await answer
            finally:
                answer.cancel()
        finally:
            await self._end(writer)

    async def _link(self, source: str) -> Streams:
        reader, writer = await self._dial(source)
        writer.write(upgrade(HOST, self._good))
        if await _status(reader) != "101":
            raise EOFError
        await reader.readuntil(b"\r\n\r\n")
        return reader, writer

    async def _linked(self, source: str, data: bytes) -> str:
        """Send bytes over a link and return the close code."""
        reader, writer = await self._link(source)
        try:
            writer.write(data)
            return await _close_code(reader)
        finally:
            await self._end(writer)

    # The attackers.

    async def _header_bomb(self, source: str) -> str:
        bomb = [b"X-%d: %s\r\n" % (number, b"y" * 500) for number in range(2000)]
        return await self._ask(source, f"POST {OPAMP_PATH} HTTP/1.1\r\nHost: x\r\n".encode(), *bomb)

    async def _drip(self, source: str) -> str:
        return await self._ask(source, *[bytes([byte]) for byte in request(b"x", HOST, "")], pause=1.0)

    async def _half_frame(self, source: str) -> str:
        return await self._linked(source, b"\x82")

    async def _idle(self, source: str) -> str:
        return await self._ask(source)

    async def _idle_plain(self, source: str) -> str:
        return await self._ask(source, tls=False)

    async def _gzip_bomb(self, source: str) -> str:
        asked = request(self._bomb, HOST, self._good)
        return await self._ask(source, asked.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1))

    async def _text(self, source: str) -> str:
        return await self._linked(source, frame(_TEXT, b"hello"))

    async def _long_body(self, source: str) -> str:
        asked = request(b"", HOST, self._good)
        length = b"Content-Length: %d\r\n" % (64 * MIB + 1)
        return await self._ask(source, asked.replace(b"Content-Length: 0\r\n", length), bytes(64 * 1024))

    async def _long_message(self, source: str) -> str:
        return await self._linked(source, b"\x82\xff" + (64 * MIB + 1).to_bytes(8, "big") + bytes(64 * 1024))

    async def _bad_token(self, source: str) -> str:
        reader, writer = await self._dial(source, tls=False)
        try:
            # Whoever is turned away needs no handshake, so that this process can try as often as it should.
            try:
                await asyncio.wait_for(reader.read(1), _PATIENCE)
                return UNHEARD
            except TimeoutError:
                await writer.start_tls(self._context, server_hostname=HOST, ssl_handshake_timeout=5)
            writer.write(request(b"x" * 100, HOST, "pops_0123456789abcdef_" + "0" * 64))
            return await _status(reader)
        finally:
            await self._end(writer)

    async def _noisy(self, source: str) -> str:
        """Be a good agent in all but number: 100 heartbeats a second, each answered."""
        speech = Speech(random.choice(self._stock[1:]))  # noqa: S311  # no secret
        reader, writer = await self._link(source)
        try:
            writer.write(frame(_BINARY, b"\0" + speech.hello()))
            over = asyncio.ensure_future(_close_code(reader))
            while not over.done():
                writer.write(frame(_BINARY, b"\0" + speech.heartbeat()))
                await asyncio.wait({over}, timeout=0.01)
            return over.result()
        finally:
            await self._end(writer)

    async def _flood(self, source: str) -> str:
        """Send what is cheapest to send, as fast as it is taken."""
        speech = Speech(random.choice(self._stock[1:]))  # noqa: S311  # no secret
        reader, writer = await self._link(source)
        try:
            writer.write(frame(_BINARY, b"\0" + speech.hello()))
            over = asyncio.ensure_future(_close_code(reader))
            flood = frame(_PING, b"") * 10_000
            while not over.done():
                if writer.transport.get_write_buffer_size() < len(flood):
                    writer.write(flood)
                await asyncio.wait({over}, timeout=0.02)
            return over.result()
        finally:
            await self._end(writer)


async def _status(reader: asyncio.StreamReader) -> str:
    line = await reader.readline()
    if not line:
        raise EOFError
    return line.split()[1].decode()


async def _close_code(reader: asyncio.StreamReader) -> str:
    while True:
        first, second = await reader.readexactly(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
        data = await reader.readexactly(size)
        if first & 0x0F == _CLOSE:
            return str(int.from_bytes(data[:2], "big"))


def main() -> None:
    """Attack as ordered."""
    order = json.loads(sys.argv[1])
    os.nice(int(order["nice"]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        async def attack() -> Siege:
            siege = Siege(order)
            # A handshake that is cut is what many of them are here for.
            asyncio.get_running_loop().set_exception_handler(lambda _, said: _complain(said))
            sys.stdout.write("begun\n")
            sys.stdout.flush()
            await siege.run(float(order["seconds"]))
            return siege

        siege = runner.run(attack())
    sys.stdout.write(json.dumps({"got": siege.got, "cpu_s": time.process_time()}) + "\n")


def _complain(said: dict[str, Any]) -> None:
    error = said.get("exception")
    # The last is uvloop's word for a socket that was cut in the middle of a handshake.
    if not isinstance(error, (OSError, ssl.SSLError, EOFError, RuntimeError)):
        sys.stderr.write(f"{said}\n")


if __name__ == "__main__":
    main()
