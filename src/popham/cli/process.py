"""How a process of ours runs: uvloop, signals, and what systemd wants to know."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn

from popham import posix
from popham.errors import StateError

Serve = Callable[[asyncio.Event, asyncio.Event], Awaitable[None]]
"""Takes ``ready``, which it sets, and ``stopping``, which ends it."""


def run_process(serve: Serve, env: Mapping[str, str], *, light: bool = False) -> bool:
    """Run ``serve`` until it returns, or SIGTERM or SIGINT asks it to stop; return whether one of them did.

    ``light`` is for who has few connections: uvloop is not worth its 2 MiB there.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    with asyncio.Runner(loop_factory=None if light else _loop_factory()) as runner:
        return runner.run(_run(serve, Notifier(env)))


def begin_anew(env: Mapping[str, str]) -> NoReturn:
    """Have this process begin anew: the same program and arguments, as they are installed now.

    It keeps its number, so a supervisor sees none end; systemd is told that it is not ready for a moment.

    Raises:
        StateError: ``state.restart``: the program is not to be had any more.
    """
    Notifier(env).reloads()
    try:
        posix.replace_process(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError as error:
        problem = f"{sys.executable} cannot be started again: {error.strerror or error}"
        raise StateError("restart", problem, "Install Popham again, and start it") from error


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run(serve: Serve, notifier: Notifier) -> bool:
    ready, stopping = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    notifying = asyncio.ensure_future(notifier.run(ready, stopping))
    try:
        await serve(ready, stopping)
    finally:
        notifying.cancel()
        await asyncio.gather(notifying, return_exceptions=True)
    return stopping.is_set()


class Notifier:
    """Tells systemd that a service is ready, alive and stopping; silent elsewhere.

    Source: sd_notify(3); half of WatchdogSec between two signs of life.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._path = env.get("NOTIFY_SOCKET", "")
        usec = env.get("WATCHDOG_USEC", "")
        self._every = int(usec) / 2e6 if usec.isdigit() and int(usec) else None

    async def run(self, ready: asyncio.Event, stopping: asyncio.Event) -> None:
        """Notify until cancelled."""
        await ready.wait()
        self._say(f"READY=1\nMAINPID={os.getpid()}")
        while not stopping.is_set():
            try:
                async with asyncio.timeout(self._every):
                    await stopping.wait()
            except TimeoutError:
                self._say("WATCHDOG=1")
        self._say("STOPPING=1")

    def reloads(self) -> None:
        """Say that the process is about to begin anew, and will be ready again."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def _say(self, text: str) -> None:
        if not self._path:
            return
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
            sock.sendto(text.encode(), address)
