"""The stream ``logs``: lines of files, and what commands print, one after the other.

How far files are read is told from where the stream ends (:mod:`popham.agent.collect.tail.checkpoint`), so whoever
appends to it has its turn, and nobody has one before the checkpoint of the last process was compared with the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from popham.agent.collect.appends import Appends
from popham.agent.collect.encoding import Payload
from popham.agent.collect.tail.files import LogFiles
from popham.agent.collect.tail.followed import Loss
from popham.agent.collect.tail.source import sources_of
from popham.agent.storage import Storage
from popham.clock import Clock
from popham.errors import StateError, StreamError
from popham.streams.frame import Stream

_log = logging.getLogger(__name__)
RETRY: Final = 1.0
"""Seconds after which is tried again what the disk did not take."""


class Sink:
    """The stream, for whoever appends to it.

    Attributes:
        turn: Held by who appends.
    """

    def __init__(self, appends: Appends) -> None:
        self.turn = asyncio.Lock()
        self._appends = appends

    def position(self) -> tuple[int, int]:
        """Return the epoch, and where the stream ends."""
        view = self._appends.view(Stream.LOGS)
        return (view.epoch, view.next) if view is not None else (0, 0)

    async def append(self, payloads: Sequence[Payload]) -> None:
        """Append payloads in this order. Raises StreamError: not all were taken; those that were are the first."""
        # All of them are there before the disk is asked, so one commit takes them all, or none.
        appends = (self._appends.append(Stream.LOGS, payload, count) for payload, count in payloads)
        for error in await asyncio.gather(*appends, return_exceptions=True):
            if error is not None:
                raise error


class LogStream:
    """Brings lines into the stream ``logs``, as long as :meth:`run` runs.

    Args:
        appends: The streams.
        storage: Where is kept how far files are read.
        clock: Wall time.
        resource: Attributes of the resource of all records.
        lost: Told what of a file was gone before it was read.
        may_read: Whether a file may be read, by its path without links.
    """

    def __init__(
        self,
        appends: Appends,
        *,
        storage: Storage,
        clock: Clock,
        resource: Mapping[str, str],
        lost: Callable[[Loss], None],
        may_read: Callable[[str], bool],
    ) -> None:
        self._appends = appends
        self._sink = Sink(appends)
        self._ready = asyncio.Event()
        self._files = LogFiles(
            (),
            sink=self._sink,
            storage=storage,
            clock=clock,
            resource=resource,
            lost=lost,
            may_read=may_read,
        )

    def read(self, logs: Sequence[Mapping[str, Any]], *, paused: bool) -> None:
        """Follow the files of these entries of a policy from now on, and read them unless that is paused."""
        self._files.reconfigure(sources_of({"logs": logs}))
        (self._files.pause if paused else self._files.resume)()

    async def run(self) -> None:
        """Bring lines of files until cancelled."""
        said = ""
        while not self._ready.is_set():
            try:
                await self._appends.open(Stream.LOGS)
                await self._files.open()
            except (StreamError, StateError, OSError) as error:
                if said != str(error):
                    _log.warning("logs cannot be read yet: %s", error)
                said = str(error)
                await asyncio.sleep(RETRY)
            else:
                self._ready.set()
        await self._files.run()

    async def collect(self) -> None:
        """Look now; returns once all that the files have is durable, or nothing can be read."""
        if self._ready.is_set():
            await self._files.collect()

    async def bring(self, payloads: Iterable[Payload]) -> None:
        """Append what did not come from a file; waits until the disk takes it."""
        await self._ready.wait()
        async with self._sink.turn:
            for payload, count in payloads:
                await self._insist(payload, count)

    async def _insist(self, payload: bytes, count: int) -> None:
        while True:
            with contextlib.suppress(StreamError):
                await self._appends.append(Stream.LOGS, payload, count)
                return
            await asyncio.sleep(RETRY)


def permit(roots: Iterable[str], barred: Iterable[str]) -> Callable[[str], bool]:
    """Return what says whether a file may be read: it is below a root, and not below what is barred.

    Args:
        roots: Directories, with links in them or not.
        barred: What is the agent's own.
    """
    real_roots = tuple(map(os.path.realpath, roots))
    real_barred = tuple(map(os.path.realpath, barred))

    def may_read(path: str) -> bool:
        return any(_is_below(path, root) for root in real_roots) and not any(
            _is_below(path, own) for own in real_barred
        )

    return may_read


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")
