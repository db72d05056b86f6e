"""Counts the bytes of connections on their way through this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_SEGMENT = 78
"""Bytes beside each piece: headers of TCP and IPv4 with timestamps (52), and half an acknowledgement."""
_OPENING = 7 * 52
"""Bytes of the segments that open and end a connection and carry nothing."""


@dataclass(slots=True)
class Tally:
    """What went by, both ways. Pieces are what was read at once, which on a quiet machine is one segment."""

    data: int = 0
    pieces: int = 0
    connections: int = 0

    @property
    def on_the_wire(self) -> int:
        """Bytes with the headers of TCP and IP, as a network would carry them."""
        return self.data + self.pieces * _SEGMENT + self.connections * _OPENING


@contextmanager
def counted(aim: int) -> Iterator[tuple[int, Tally]]:
    """Pass connections on to a port of this machine, and count; yields the port to dial, and the count."""
    tally = Tally()
    opened: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()

    async def run() -> None:
        over = asyncio.Event()
        server = await asyncio.start_server(lambda near, back: _pass(near, back, aim, tally), "127.0.0.1", 0)
        opened.append((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), over))
        ready.set()
        await over.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    ready.wait(10)
    port, loop, over = opened[0]
    try:
        yield port, tally
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)


async def _pass(near: asyncio.StreamReader, back: asyncio.StreamWriter, port: int, tally: Tally) -> None:
    tally.connections += 1
    try:
        far, forth = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        back.close()
        return
    try:
        await asyncio.gather(_carry(near, forth, tally), _carry(far, back, tally))
    finally:
        forth.close()
        back.close()


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, tally: Tally) -> None:
    try:
        while data := await source.read(65536):
            tally.data += len(data)
            tally.pieces += 1 + len(data) // 1448
            sink.write(data)
            await sink.drain()
        sink.write_eof()
    except OSError:
        sink.close()
