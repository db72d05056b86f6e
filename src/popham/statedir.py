"""The directory in which a Manager, an Agent or a Proxy Manager keeps what outlives it.

It belongs to one process at a time, says in ``FORMAT`` whose it is and how
old, and is for its owner's eyes only (SEC-46).  Every write is all or
nothing: after a power loss a file is what it was, or what it was to be
(REL-2).  No name from outside ever becomes a path here (SEC-6): parts of
names are letters, digits, ``.``, ``_`` and ``-``, beginning with a letter or
digit.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Literal, Self

from popham import posix
from popham.errors import StateError

Kind = Literal["manager", "agent", "proxy"]

FORMAT: Final = "FORMAT"
FORMATS: Final[Mapping[Kind, int]] = MappingProxyType({"manager": 1, "agent": 2, "proxy": 1})
"""The newest form of each that this program understands; a new directory is of form 1."""
WALLED: Final = "popham-agent 2\n"
"""``FORMAT`` of an agent that may not dial: programs before 0.5.0 would dial on its state, and refuse this."""
LOCK: Final = "lock"

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FORMAT = re.compile(r"popham-([a-z]{1,20}) ([1-9][0-9]{0,8})\n?")
UNFINISHED: Final = ".tmp-"
"""What names begin with of what is removed at the next start, should a crash leave it behind."""


class StateDir:
    """A locked state directory. Use it as a context manager, or call ``close``.

    Attributes:
        root: The directory itself.
        kind: Whose it is.
    """

    def __init__(self, root: Path, kind: Kind, lock: int | None) -> None:
        self.root = root
        self.kind = kind
        self._lock = lock

    @classmethod
    def open(cls, path: Path, kind: Kind, *, create: bool) -> StateDir:
        """Lock the state directory at ``path`` and return it.

        Args:
            path: The directory.
            kind: Whose state is expected there.
            create: Whether a missing or empty directory becomes a new state directory.

        Raises:
            StateError: ``state.missing``, ``state.not_empty`` (to be created, but something else is
                there), ``state.format``, ``state.kind``, ``state.newer``, ``state.locked``,
                ``state.denied`` (this user may not use it).
        """
        try:
            return cls._open(path, kind, create=create)
        except PermissionError as error:
            raise _denied(path) from error
        except (NotADirectoryError, FileExistsError):
            raise StateError("format", f"{path} is not a directory", "Name a directory") from None

    @classmethod
    def _open(cls, path: Path, kind: Kind, *, create: bool) -> StateDir:
        if create:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not (path / FORMAT).exists():
                _check_empty(path)
        else:
            read_format(path, kind)
        lock = posix.lock_file(path / LOCK)
        try:
            posix.set_mode(path, 0o700)
            directory = cls(path, kind, lock)
            _remove_unfinished(path)
            if create and not (path / FORMAT).exists():
                directory.write(FORMAT, f"popham-{kind} 1\n".encode())
            read_format(path, kind)
        except BaseException:
            posix.unlock_file(lock)
            raise
        return directory

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def path(self, *names: str) -> Path:
        """Return the path of ``names`` below the directory; each may have parts divided by ``/``.

        Raises:
            StateError: ``state.name``: a part could leave the directory, or hide in it.
        """
        parts = [part for name in names for part in name.split("/")]
        for part in parts:
            if not _PART.fullmatch(part):
                hint = "Parts of names are letters, digits, '.', '_' or '-', and begin with a letter or digit"
                raise StateError("name", f"{part!r} cannot be part of a name in {self.root}", hint)
        return self.root.joinpath(*parts)

    def write(self, name: str, data: bytes, mode: int = 0o600) -> Path:
        """Write a whole file and return its path once it is durable.

        Directories in ``name`` are made with mode 0700.
        """
        path = self.path(name)
        self._make_directories(path.parent)
        replace_file(path, data, mode)
        return path

    def note(self, name: str, data: bytes) -> None:
        """Write a whole file that may be lost with the machine's power; one that was there may be, too."""
        replace_file(self.path(name), data, durable=False)

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the content of a file, None if it is not there.

        Raises:
            StateError: ``state.large``: it has more than ``limit`` bytes.
        """
        path = self.path(name)
        try:
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            return None
        if len(data) > limit:
            raise StateError("large", f"{path} has more than {limit} bytes", "It was not written by Popham")
        return data

    def remove(self, name: str) -> None:
        """Remove a file, if it is there, and return once that is durable."""
        path = self.path(name)
        if path.exists():
            path.unlink()
            posix.fsync_directory(path.parent)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in ``folder``, sorted; none if it is not there."""
        path = self.path(folder)
        return (
            sorted(entry.name for entry in path.iterdir() if _PART.fullmatch(entry.name))
            if path.is_dir()
            else []
        )

    def close(self) -> None:
        """Give the directory up. It may be called again."""
        if self._lock is not None:
            posix.unlock_file(self._lock)
            self._lock = None

    def _make_directories(self, path: Path) -> None:
        """Make ``path`` and what is missing above it, durably."""
        missing = [parent for parent in (path, *path.parents) if not parent.exists()]
        for directory in reversed(missing):
            directory.mkdir(mode=0o700)
            posix.fsync_directory(directory.parent)


class StateView(StateDir):
    """A state directory as it is read beside the process that has locked it; nothing is changed by it."""

    @classmethod
    def look(cls, path: Path, kind: Kind) -> StateView:
        """Return the state directory at ``path``, whoever uses it.

        Raises:
            StateError: ``state.missing``, ``state.format``, ``state.kind``, ``state.newer``, ``state.denied``.
        """
        try:
            read_format(path, kind)
        except PermissionError as error:
            raise _denied(path) from error
        except NotADirectoryError:
            raise StateError("format", f"{path} is not a directory", "Name a directory") from None
        return cls(path, kind, None)

    def write(self, name: str, data: bytes, mode: int = 0o600) -> Path:
        """Raise StateError ``state.read_only``."""
        del data, mode
        raise self._refuse(name)

    def note(self, name: str, data: bytes) -> None:
        """Raise StateError ``state.read_only``."""
        del data
        raise self._refuse(name)

    def remove(self, name: str) -> None:
        """Raise StateError ``state.read_only``."""
        raise self._refuse(name)

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the content of a file, None if it is not there.

        Raises:
            StateError: ``state.large``, ``state.denied``.
        """
        try:
            return super().read(name, limit)
        except PermissionError as error:
            raise _denied(self.root) from error

    def _refuse(self, name: str) -> StateError:
        problem = f"{self.path(name)} was to be changed by a program that only looks"
        return StateError("read_only", problem, "It is a fault of Popham; please report it")


def read_format(path: Path, kind: Kind) -> int:
    """Return the format version of the state directory at ``path``, without locking it.

    Raises:
        StateError: ``state.missing``, ``state.format``, ``state.kind`` or ``state.newer``.
    """
    try:
        with (path / FORMAT).open("rb") as file:
            text = file.read(64).decode("ascii", "replace")
    except FileNotFoundError:
        remedy = "popham init" if kind == "manager" else f"popham {kind} enroll"
        hint = f"Create it with '{remedy}', or name the right directory"
        raise StateError("missing", f"{path} is not a state directory of Popham", hint) from None
    found = _FORMAT.fullmatch(text)
    if found is None:
        hint = "Restore it from a backup"
        raise StateError("format", f"{path / FORMAT} does not say what this directory is", hint)
    if found[1] != kind:
        problem = f"{path} holds the state of a Popham {found[1]}, not of a Popham {kind}"
        raise StateError("kind", problem, "Name the right directory")
    if int(found[2]) > FORMATS[kind]:
        problem = f"{path} was written by a newer Popham (format {found[2]}, known here: {FORMATS[kind]})"
        raise StateError("newer", problem, "Use the newer Popham, or restore a backup made by this one")
    return int(found[2])


def replace_file(path: Path, data: bytes, mode: int = 0o600, *, durable: bool = True) -> None:
    """Replace ``path`` by a file with ``data``, all or nothing, and return once it is durable, if it is to be."""
    descriptor, name = tempfile.mkstemp(prefix=UNFINISHED, dir=path.parent)
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            posix.set_mode(unfinished, mode)
            if durable:
                os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()
        raise
    if durable:
        posix.fsync_directory(path.parent)


def _denied(path: Path) -> StateError:
    problem = f"This user may not use the state directory {path}"
    return StateError("denied", problem, "Run as the user that owns it, or name another directory")


def _check_empty(path: Path) -> None:
    """Refuse to make a state directory out of one that holds something else."""
    strange = sorted(
        entry.name for entry in path.iterdir() if entry.name != LOCK and not entry.name.startswith(UNFINISHED)
    )
    if strange:
        problem = f"{path} is not empty and not a state directory of Popham: it holds {strange[0]!r}"
        raise StateError("not_empty", problem, "Name an empty or a new directory")


def _remove_unfinished(path: Path) -> None:
    """Remove what a crash left behind: files half written, two levels deep, and directories made for a moment."""
    for unfinished in path.glob(f"{UNFINISHED}*"):
        if unfinished.is_dir() and not unfinished.is_symlink():
            shutil.rmtree(unfinished)
    for pattern in (f"{UNFINISHED}*", f"*/{UNFINISHED}*"):
        for unfinished in path.glob(pattern):
            if unfinished.is_file() and not unfinished.is_symlink():
                unfinished.unlink()
