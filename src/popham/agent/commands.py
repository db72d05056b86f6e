"""Runs what the machine's own configuration permits: argument lists, never a shell.

1. A command starts with an empty environment but for PATH and LANG, without
   input but for a file that is named, in a group of its own.
2. It ends within its time, or its whole group is ended.
3. Of its output the beginning is kept; the rest is read and dropped.
4. One that only looks at something has bounds of processor time and memory too, and nothing that it
   started outlives it.  One that changes something has not: it may start what is to stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from popham import posix
from popham.errors import PolicyError

OUTPUT = 16 * 1024
"""Bytes of output kept."""
ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
_LAST_OUTPUT = 0.5
"""Seconds to wait for the end of the output once the command itself has ended; a daemon may hold it open."""
MEMORY = 1024 * 1024 * 1024
"""Bytes that each process of a command that looks may write to. Source: guarantees REL-11."""
_KILLED = 5.0
"""Seconds to wait for a killed command."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        status: Exit status; negative for the signal that ended it; None if its time was over.
        output: The beginning of what it wrote, standard output and error together.
    """

    status: int | None
    output: str


async def run_command(
    argv: Sequence[str],
    *,
    folder: Path,
    timeout: float,  # noqa: ASYNC109  # the command's own bound, not the caller's
    given: Path | None = None,
    looks: bool = False,
    yields: bool = False,
    kept: Kept | None = None,
) -> Ended:
    """Run one command to its end and return how it ended; who stops waiting ends it, with its group.

    Args:
        argv: The absolute path of the program, and its arguments.
        folder: Its working directory.
        timeout: Seconds it may take.
        given: A file to be its standard input; None for nothing.
        looks: Whether it only looks at something, so that it is bounded, and ended with all that it started.
        yields: Whether it gives way to all else on the machine, and only its standard output counts.
        kept: What takes its output; None to keep the beginning.

    Raises:
        PolicyError: ``policy.command``: the program cannot be started.
        OSError: ``given`` cannot be read.
    """
    with _input(given) as data:
        return await _run(argv, folder, timeout, data, kept or Kept(), looks=looks, yields=yields)


async def _run(
    argv: Sequence[str],
    folder: Path,
    seconds: float,
    data: int,
    kept: Kept,
    *,
    looks: bool,
    yields: bool,
) -> Ended:
    reading, writing = os.pipe()
    try:
        transport = await _listen(reading, kept)
        try:
            errors = asyncio.subprocess.DEVNULL if yields else writing
            process = await _start(argv, folder, data, writing, errors)
            os.close(writing)
            writing = -1
            if looks:
                # It runs already; the moments until now count.
                posix.bound_process(process.pid, seconds=math.ceil(seconds), memory=MEMORY)
            if yields:
                posix.give_way(process.pid)
            status = await _wait(process, seconds)
            if looks:
                posix.kill_group(process.pid)
            await kept.ended(_LAST_OUTPUT)
        finally:
            transport.close()
    except OSError as error:
        problem = f"{argv[0]} cannot be started: {error.strerror}"
        hint = "Correct the path under [commands] in the agent's configuration"
        raise PolicyError("command", problem, hint) from error
    finally:
        if writing >= 0:
            os.close(writing)
    return Ended(status, kept.text())


@contextlib.contextmanager
def _input(given: Path | None) -> Iterator[int]:
    """Open what a command reads: a file, or nothing."""
    if given is None:
        yield asyncio.subprocess.DEVNULL
        return
    data = os.open(given, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield data
    finally:
        os.close(data)


async def _listen(reading: int, kept: Kept) -> asyncio.ReadTransport:
    """Read from a pipe; its descriptor belongs to the transport from then on."""
    pipe = os.fdopen(reading, "rb", buffering=0)
    try:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: kept, pipe)
    except BaseException:
        pipe.close()
        raise
    return transport


async def _start(
    argv: Sequence[str], folder: Path, data: int, writing: int, errors: int
) -> asyncio.subprocess.Process:
    """Start a program as the first of a group of its own.

    Who is cancelled meanwhile ends the group: asyncio by itself would end the program alone, not what that started.
    """
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv,
            stdin=data,
            stdout=writing,
            stderr=errors,
            cwd=folder,
            env=dict(ENVIRONMENT),
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _end(await starting)
        raise


async def _wait(process: asyncio.subprocess.Process, seconds: float) -> int | None:
    """Return the exit status, None if the time was over and the group was ended."""
    try:
        async with asyncio.timeout(seconds):
            return await process.wait()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a program with its group."""
    posix.kill_group(process.pid)
    with contextlib.suppress(TimeoutError):  # it hangs in the kernel; nothing can end it now
        async with asyncio.timeout(_KILLED):
            await process.wait()


class Kept(asyncio.Protocol):
    """Keeps the beginning, and perhaps the end, of what comes through a pipe; the rest is counted."""

    def __init__(self, head: int = OUTPUT, tail: int = 0) -> None:
        """Keep at most ``head`` bytes of the beginning, and ``tail`` of the end."""
        self._most, self._last = head, tail
        self._head, self._tail = bytearray(), bytearray()
        self._all = 0
        self._end = asyncio.Event()

    @property
    def left_out(self) -> int:
        """Bytes that are not kept."""
        return max(0, self._all - len(self._head) - min(len(self._tail), self._last))

    @property
    def data(self) -> bytes:
        """What is kept; between beginning and end stands how much is not."""
        if not self._tail:
            return bytes(self._head)
        gap = f"\n[{self.left_out} bytes left out]\n".encode() if self.left_out else b""
        return bytes(self._head) + gap + bytes(self._tail[-self._last :])

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._all += len(data)
        room = self._most - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data and self._last:
            self._tail += data[-self._last :]
            if len(self._tail) > 2 * self._last:
                del self._tail[: -self._last]

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that nothing comes any more."""
        del exc
        self._end.set()

    async def ended(self, seconds: float) -> None:
        """Wait for the end of the output, no longer than ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._end.wait()
        except TimeoutError:
            return

    def text(self) -> str:
        """Return what is kept as text."""
        return self.data.decode(errors="replace").strip()
