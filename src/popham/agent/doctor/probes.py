"""What a doctor tries things with: the machine's clock, disk and resolver, each within a bound."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from popham.clock import Clock
from popham.errors import PophamError
from popham.net.lookups import Lookups
from popham.statedir import UNFINISHED

T = TypeVar("T")
PATIENCE: Final = 5.0
"""Seconds that one check may take."""
_TRIED: Final = 4096
"""Bytes that are written to see whether the disk takes them."""


@dataclass(frozen=True, slots=True)
class Room:
    """What is left on a file system for this user.

    Attributes:
        free: Bytes.
        files: Files that can still be made; None where nobody counts.
    """

    free: int
    files: int | None


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a host.

    Attributes:
        family: IPv4 or IPv6.
        host: The address as text.
    """

    family: socket.AddressFamily
    host: str


def read_room(path: Path) -> Room:
    """Return what is left where ``path`` is. Raises OSError."""
    found = os.statvfs(path)
    return Room(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


def try_write(folder: Path) -> None:
    """Write a file in ``folder``, have it made durable, and remove it. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=UNFINISHED, dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(_TRIED))
            file.flush()
            os.fsync(file.fileno())
    finally:
        Path(name).unlink(missing_ok=True)


def find_addresses(host: str, port: int) -> list[Address]:
    """Return the addresses of a host, by the machine's resolver. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(Address(family, str(where[0])) for family, _, _, _, where in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Everything that checks need of the machine.

    Attributes:
        clock: Wall time.
        environ: The environment.
        seconds: How long one check may take.
        room: Returns what is left on a file system.
        write: Tries to write in a directory.
        resolve: Returns the addresses of a host.
    """

    clock: Clock
    environ: Mapping[str, str]
    seconds: float = PATIENCE
    room: Callable[[Path], Room] = read_room
    write: Callable[[Path], None] = try_write
    resolve: Callable[[str, int], list[Address]] = find_addresses
    _lookups: Lookups = field(default_factory=Lookups)

    async def ask(self, key: str, call: Callable[[], T]) -> T:
        """Return what a call returned that may block for long; one that hangs keeps nobody from ending.

        Args:
            key: Names the call.
            call: Runs in a thread.

        Raises:
            TimeoutError: It took longer than :attr:`seconds`.
            OSError, PophamError, ValueError: As the call.
        """

        def caught() -> tuple[T] | OSError | PophamError | ValueError:
            try:
                return (call(),)
            except UnicodeError as error:  # a name that cannot be one
                return OSError(str(error))
            except (OSError, PophamError, ValueError) as error:
                return error

        found = await self._lookups.ask(key, caught, seconds=self.seconds)
        if found is None:
            raise TimeoutError
        if not isinstance(found, tuple):
            raise found
        return found[0]
