"""What waits in the streams of an agent that does not run: read from its files, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from popham.agent.streams.spools import View
from popham.clock import SystemClock
from popham.streams.disk import SystemDisk
from popham.streams.frame import BOOT, Stream


class _Looking(SystemDisk):
    """The disk of this machine, of which nothing is changed: what a spool would mend stays as it is."""

    def make_folder(self, folder: Path) -> None:
        """Make nothing."""

    def append(self, path: Path, chunks: Iterable[bytes | memoryview], at: int) -> None:
        """Write nothing."""

    def sync(self, path: Path) -> None:
        """Do nothing."""

    def truncate(self, path: Path, size: int) -> None:
        """Cut nothing."""

    def replace(self, path: Path, data: bytes) -> None:
        """Write nothing."""

    def remove(self, path: Path) -> None:
        """Remove nothing."""


def describe_streams(folder: Path, uid: bytes) -> dict[str, Any]:
    """Return what waits in each stream that has records, as :meth:`popham.agent.streams.spools.Spools.describe`.

    Raises:
        StreamError: It cannot be read.
    """
    disk, found = _Looking(), {}
    for stream in Stream:
        if not disk.names(folder / stream):
            continue
        # Imported when there is something: it brings the library that decompresses.
        from popham.streams.spool import Spool

        spool = Spool.open(folder / stream, stream, uid, disk=disk, clock=SystemClock(), boot=bytes(BOOT))
        found[str(stream)] = View.of(spool).as_dict()
    return found
