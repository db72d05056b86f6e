"""What the kernel says of changes in directories: inotify of Linux, asked through the C library.

Rules:

1. A directory tells of its entries and of its own end; those above it only of theirs.
2. An event says that something may be another than it was, never what: whoever hears of it looks.
3. Reading pauses after each read, longer where what is heard concerns nobody: a log that is written
   beside a managed file costs a few reads a second.
4. What the kernel does not tell is said by :meth:`FileEvents.watch`: a directory that is not there or
   may not be watched, one too many, a file system that others change as well.

Why not watchfiles: it takes 1.9 MB of an agent's memory (0.7 MB for its import, with anyio, and 1.2 MB for a
watcher with its thread), this 0.2 MB.  It cannot say either which directories it fails to watch.

Source: inotify(7), linux/inotify.h; proc_pid_mountinfo(5).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

MAX_WATCHES: Final = 2048
"""Directories; the kernel's own limit holds for all processes of an account."""
REST: Final = 0.2
"""Seconds from one read to the next."""
LONGEST: Final = 2.0
"""Seconds to which that grows where what is heard concerns nobody."""
_READ: Final = 64 * 1024
_READS: Final = 64
"""Reads at a time; only the first is understood, since whoever says more speaks of everything."""

_SELF: Final = 0x400 | 0x800
"""IN_DELETE_SELF and IN_MOVE_SELF."""
_ENTRIES: Final = 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200
"""IN_MODIFY, IN_ATTRIB, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE and IN_DELETE."""
_HOW: Final = 0x0100_0000 | 0x0200_0000 | 0x0400_0000
"""IN_ONLYDIR, IN_DONT_FOLLOW and IN_EXCL_UNLINK."""
_UNMOUNT, _OVERFLOW, _IGNORED = 0x2000, 0x4000, 0x8000
_EVENT: Final = struct.Struct("=iIII")
_MOUNTS: Final = Path("/proc/self/mountinfo")
_SHARED: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "gfs2", "glusterfs", "lustre", "nfs", "nfs4", "ocfs2", "smb3", "virtiofs"}
)
"""File systems that other machines change without a word to this one's kernel."""


class FileEvents:
    """Hears of changes in directories, for as long as it is open.

    Attributes:
        stale: Whether a directory is not any more what was watched, so that :meth:`watch` is due.
    """

    def __init__(self, library: Any, descriptor: int, heard: Callable[[], None]) -> None:
        """Tell ``heard`` whenever something may have changed; use :meth:`open`."""
        self.stale = False
        self._library = library
        self._descriptor = descriptor
        self._heard = heard
        self._names: dict[int, frozenset[str]] = {}
        self._rest = REST
        self._later: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._read)

    @classmethod
    def open(cls, heard: Callable[[], None]) -> FileEvents | None:
        """Return events that call ``heard``; None where the kernel has none, or none left."""
        try:
            library = ctypes.CDLL(None, use_errno=True)
            descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, AttributeError):
            return None
        return None if descriptor < 0 else cls(library, descriptor, heard)

    def close(self) -> None:
        """Hear no more."""
        self._loop.remove_reader(self._descriptor)
        if self._later is not None:
            self._later.cancel()
        os.close(self._descriptor)

    def watch(self, places: Mapping[Path, frozenset[str]]) -> bool:
        """Hear of ``places`` from now on, and of nothing else; may be called in a thread.

        Args:
            places: Directory, without links in its path → names in it.

        Returns:
            Whether each change of them will be heard; if not, somebody has to look now and then.
        """
        self.stale = False
        watched: dict[int, frozenset[str]] = {}
        whole = len(places) <= MAX_WATCHES and not any(_shared(places))
        for folder, names in _with_parents(places):
            number = -1
            if len(watched) < MAX_WATCHES:
                mask = _HOW | _SELF | (_ENTRIES if names else 0)
                number = self._library.inotify_add_watch(self._descriptor, os.fsencode(folder), mask)
            if number < 0:
                whole = False
            else:
                watched[number] = names | watched.get(number, frozenset())
        former, self._names = self._names, watched
        for number in former.keys() - watched.keys():
            # The kernel has removed that of a directory that is gone already.
            self._library.inotify_rm_watch(self._descriptor, number)
        return whole

    def _read(self) -> None:
        self._loop.remove_reader(self._descriptor)
        concerns = self._take()
        self._rest = REST if concerns else min(LONGEST, 2 * self._rest)
        self._later = self._loop.call_later(self._rest, self._listen)
        if concerns:
            self._heard()

    def _listen(self) -> None:
        self._loop.add_reader(self._descriptor, self._read)

    def _take(self) -> bool:
        """Read what was said, and return whether it may concern what is watched."""
        concerns = False
        with contextlib.suppress(BlockingIOError):
            concerns = self._concerns(os.read(self._descriptor, _READ))
            for _ in range(_READS):
                if os.read(self._descriptor, _READ):
                    concerns = self.stale = True
        return concerns

    def _concerns(self, data: bytes) -> bool:
        concerns, end = False, 0
        while end < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, end)
            begin, end = end + _EVENT.size, end + _EVENT.size + length
            name = data[begin:end].rstrip(b"\0")
            names = self._names.get(number)
            if mask & _OVERFLOW or (names is not None and mask & (_SELF | _UNMOUNT | _IGNORED)):
                concerns = self.stale = True
            elif names is None:
                # It was said before the watch was known here, or after it ended.
                concerns = concerns or not mask & _IGNORED
            else:
                concerns = concerns or os.fsdecode(name) in names
        return concerns


def _with_parents(places: Mapping[Path, frozenset[str]]) -> Iterator[tuple[Path, frozenset[str]]]:
    """Yield each directory with its names, and then those above them, of which only the end counts."""
    yield from places.items()
    above = dict.fromkeys(parent for folder in places for parent in folder.parents)
    yield from ((folder, frozenset()) for folder in above if folder not in places)


def _shared(folders: Iterable[Path]) -> Iterator[bool]:
    """Yield of each directory that is there whether its file system tells this kernel too little."""
    kinds: dict[tuple[int, int], str] = {}
    with contextlib.suppress(OSError):
        # The kernel escapes line feeds only; a mount point may hold what else splitlines() takes for a line's end.
        for line in _MOUNTS.read_bytes().decode("utf-8", "surrogateescape").removesuffix("\n").split("\n"):
            before, _, after = line.partition(" - ")
            major, _, minor = before.split(" ")[2].partition(":")
            kinds[int(major), int(minor)] = after.split(" ")[0]
    for folder in folders:
        with contextlib.suppress(OSError):
            device = folder.stat().st_dev
            kind = kinds.get((os.major(device), os.minor(device)), "")
            yield kind in _SHARED or kind.startswith("fuse.")
