"""What the applier has placed on this machine, and what was there before.

A policy that is withdrawn has no effect any more: what it placed goes, and
what it had replaced comes back.  The record is also the commit: a placement
whose name it carries holds, any other that is found in the middle is undone.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

import msgspec

from popham import posix
from popham.agent.placement import Change
from popham.agent.types.files import Permission, Place, WantedFile, WantedPolicy
from popham.errors import PolicyError, StateError
from popham.model.names import digest
from popham.statedir import replace_file

MAX_FORMER = 16 * 1024 * 1024
"""Bytes of a file that a policy may replace; it is kept for the day the policy is withdrawn."""


class Former(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was there before any policy wanted its place."""

    sha256: str
    mode: int
    uid: int
    gid: int


class PlacedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file in force.

    Attributes:
        reload: The command to run should the file be withdrawn; None for none.
        former: What was there before; None for nothing.
    """

    sha256: str
    policy: str
    reload: str | None
    former: Former | None


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """All files in force by path, and the placement that brought the last change."""

    change: str = ""
    files: dict[str, PlacedFile] = {}


class PlacedRecord:
    """The record and the former files, on disk under ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "placed.json"
        self._former = folder / "former"

    def load(self) -> Placed:
        """Return the record; an empty one if nothing was ever placed.

        Raises:
            StateError: ``state.corrupt``.
        """
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Placed)
        except FileNotFoundError:
            return Placed()
        except (OSError, msgspec.DecodeError) as error:
            problem = f"{self._file} cannot be read: {error}"
            hint = "Restore it, or remove it: the files in force stay and count as the machine's own"
            raise StateError("corrupt", problem, hint) from error

    def save(self, placed: Placed) -> None:
        """Keep the record; once this returned, the placement it names holds."""
        replace_file(self._file, msgspec.json.encode(placed))

    def remember(self, wanted: WantedFile) -> Former | None:
        """Keep what stands at the place of a file that was not placed before.

        Raises:
            PolicyError: ``policy.size``: it is too large to be kept.
        """
        try:
            with posix.Folder.open(wanted.place.folder) as folder:
                held = folder.status(wanted.place.name)
                if held is None:
                    return None
                data = folder.read(wanted.place.name, MAX_FORMER + 1)
        except FileNotFoundError:
            return None
        if len(data) > MAX_FORMER:
            problem = f"{wanted.path} holds more than {MAX_FORMER} bytes, too much to be kept for later"
            raise PolicyError("size", problem, "Move that file away on the machine first")
        sha256 = digest(data)
        self._former.mkdir(mode=0o700, exist_ok=True)
        if not (self._former / sha256).exists():
            replace_file(self._former / sha256, data)
        return Former(sha256=sha256, mode=stat.S_IMODE(held.st_mode), uid=held.st_uid, gid=held.st_gid)

    def withdraw(self, path: str, placed: PlacedFile, permission: Permission) -> Change | None:
        """Return the change that takes back what a policy placed, None if nothing is to be done.

        What somebody changed since, or what this machine no longer permits to touch, is left alone.

        Raises:
            StateError: ``state.corrupt``: the former file is damaged.
        """
        try:
            place = permission.find_place(path)
            held = _content(place)
        except (PolicyError, OSError):
            return None
        if held is None or digest(held) != placed.sha256:
            return None
        former = placed.former
        if former is None:
            return Change(folder=place.folder, name=place.name, content=None)
        try:
            content = (self._former / former.sha256).read_bytes()
        except OSError:
            content = b""
        if digest(content) != former.sha256:
            problem = f"what {path} held before a policy replaced it is damaged"
            raise StateError("corrupt", problem, f"Restore {self._former / former.sha256}, or remove {path}")
        if content == held:
            return None
        root = posix.may_give_files()
        return Change(
            folder=place.folder,
            name=place.name,
            content=content,
            mode=former.mode,
            uid=former.uid if root else None,
            gid=former.gid if root else None,
        )

    def prune(self, placed: Placed) -> None:
        """Remove former files that nothing in force has replaced."""
        needed = {file.former.sha256 for file in placed.files.values() if file.former}
        if self._former.is_dir():
            for kept in self._former.iterdir():
                if kept.name not in needed:
                    kept.unlink()


def in_force(policies: Iterable[WantedPolicy], before: Placed, record: PlacedRecord) -> dict[str, PlacedFile]:
    """Return the files that will be in force, each with what was there before the first policy."""
    files: dict[str, PlacedFile] = {}
    for policy in policies:
        for wanted in policy.files:
            path = str(wanted.place.path)
            known = before.files.get(path)
            files[path] = PlacedFile(
                sha256=digest(wanted.content),
                policy=policy.name,
                reload=policy.reload,
                former=known.former if known else record.remember(wanted),
            )
    return files


def _content(place: Place) -> bytes | None:
    with posix.Folder.open(place.folder) as folder:
        if folder.status(place.name) is None:
            return None
        return folder.read(place.name, MAX_FORMER + 1)
