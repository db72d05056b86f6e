"""Who on this machine listens where the service wants to: named, so that people know what to stop.

It reads what Linux tells of processes; where that is not to be had, nobody is named.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

_PROC = Path("/proc")
_LISTENS = "0A"
_WORDS = 3
"""Words of a command that are shown; what follows may be anything."""


def who_listens(port: int) -> str:
    """Return who listens on a TCP port of this machine, for people; empty if that cannot be told."""
    inodes = set[str]()
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text("ascii", "replace").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for pid in _processes() if inodes else ():
        if _holds(pid, inodes):
            return _describe(pid)
    return ""


def who_serves(path: str) -> str | None:
    """Return who listens on a Unix socket, for people, empty if that cannot be told; None if nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1.0)
        try:
            asking.connect(path)
        except OSError:
            return None
        credentials = getattr(socket, "SO_PEERCRED", None)
        if credentials is None:
            return ""
        size = struct.calcsize("3i")
        pid, _, _ = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, credentials, size))
    return _describe(pid) if pid > 0 else ""


def _processes() -> list[int]:
    try:
        return sorted(int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())
    except OSError:
        return []


def _holds(pid: int, inodes: set[str]) -> bool:
    folder = _PROC / str(pid) / "fd"
    try:
        for entry in folder.iterdir():
            if os.readlink(entry) in inodes:  # noqa: PTH115  # the link leads to no path
                return True
    except OSError:
        return False  # another user's, or gone meanwhile
    return False


def _describe(pid: int) -> str:
    """Return ``popham agent run (process 123)``, or what else the process is."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return f"process {pid}"
    names = [word.rpartition("/")[2] for word in words if word]
    if "popham" in names:
        names = names[names.index("popham") :]
    shown = []
    for name in names[:_WORDS]:
        if name.startswith("-"):
            break
        shown.append(name[:64])
    return f"'{' '.join(shown)}' (process {pid})" if shown else f"process {pid}"
