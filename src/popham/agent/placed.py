"""What the applier has placed on this machine, and what was there before.

A policy that is withdrawn has no effect any more: what it placed goes, and
what it had replaced comes back.  The record is also the commit: a placement
whose name it carries holds, any other that is found in the middle is undone.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from popham import posix
from popham.agent.journal import Change, HandedStep
from popham.agent.permission import Permission
from popham.agent.types.wanted import Place, WantedFile, fits_status
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
        mode: As it was placed; None if that is not known.
        uid: Its owner if the policy named one.
        gid: Its group if the policy named one.
        length: Its bytes; None if that is not known.
        locked: Whether a change of it on the machine is put back.
    """

    sha256: str
    policy: str
    reload: str | None
    former: Former | None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    length: int | None = None
    locked: bool = True


class FolderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Mode and owner of a directory; None where they are open."""

    mode: int
    uid: int | None = None
    gid: int | None = None


class PlacedFolder(msgspec.Struct, frozen=True, kw_only=True):
    """One directory in force.

    Attributes:
        policy: The policy that wants it; empty for a parent that was made for something below.
        placed: Mode and owner as they were placed.
        former: As it was before; None where a policy made it.
    """

    policy: str
    placed: FolderStatus
    former: FolderStatus | None


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """What a program was handed last.

    Attributes:
        sha256: Digest of the data.
        sure: Whether the program ended well with it; if not, it is handed it again.
    """

    policy: str
    sha256: str
    sure: bool = True


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """All that is in force, and the placement that brought the last change.

    Attributes:
        files: Path → file.
        folders: Path → directory.
        handed: Name of a command → its data.
        left: Paths that no policy wants any more and that somebody changed, so they were left.
    """

    change: str = ""
    files: dict[str, PlacedFile] = {}
    folders: dict[str, PlacedFolder] = {}
    handed: dict[str, Handed] = {}
    left: tuple[str, ...] = ()


class PlacedRecord:
    """The record, the former files and what programs were handed, on disk under ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "placed.json"
        self._former = folder / "former"
        self._handed = folder / "handed"

    def load(self) -> Placed:
        """Return the record; an empty one if nothing was ever placed.

        Raises:
            StateError: ``state.corrupt``.
        """
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Placed)
        except FileNotFoundError:
            return Placed()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
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

    def keep_data(self, data: bytes) -> str:
        """Keep what a program is to be handed, and return its digest."""
        sha256 = digest(data)
        self._handed.mkdir(mode=0o700, exist_ok=True)
        if not (self._handed / sha256).exists():
            replace_file(self._handed / sha256, data)
        return sha256

    def data_file(self, sha256: str) -> Path:
        """Return the file of what :meth:`keep_data` kept."""
        return self._handed / sha256

    def doubt(self, step: HandedStep) -> None:
        """Note that a program could not be given back what it had: that is tried again with the next set."""
        placed = self.load()
        known = placed.handed.get(step.command)
        sha256 = step.former or step.now or ""
        doubted = Handed(policy=known.policy if known else "", sha256=sha256, sure=False)
        self.save(msgspec.structs.replace(placed, handed=placed.handed | {step.command: doubted}))

    def withdraw(self, path: str, placed: PlacedFile, permission: Permission) -> tuple[Change | None, bool]:
        """Return the change that takes back what a policy placed, and whether something is left there.

        What somebody changed since, or what this machine no longer permits to touch, is left alone.

        Raises:
            StateError: ``state.corrupt``: the former file is damaged.
        """
        try:
            place = permission.find_again(path)
            as_placed = _as_placed(place, placed)
        except FileNotFoundError:
            return None, False
        except (PolicyError, OSError):
            return None, os.path.lexists(path)
        if as_placed is None:
            return None, True
        content_now, status = as_placed
        former = placed.former
        if former is None:
            return Change(folder=place.folder, name=place.name, content=None), False
        try:
            content = (self._former / former.sha256).read_bytes()
        except OSError:
            content = b""
        if digest(content) != former.sha256:
            problem = f"what {path} held before a policy replaced it is damaged"
            raise StateError("corrupt", problem, f"Restore {self._former / former.sha256}, or remove {path}")
        uid, gid = (former.uid, former.gid) if posix.may_give_files() else (None, None)
        if content == content_now and fits_status(status, former.mode, uid, gid):
            return None, False
        change = Change(
            folder=place.folder, name=place.name, content=content, mode=former.mode, uid=uid, gid=gid
        )
        return change, False

    def prune(self, placed: Placed) -> None:
        """Remove former files that nothing in force has replaced, and data that no program has."""
        former = {file.former.sha256 for file in placed.files.values() if file.former}
        for folder, needed in (
            (self._former, former),
            (self._handed, {held.sha256 for held in placed.handed.values()}),
        ):
            for kept in folder.iterdir() if folder.is_dir() else ():
                if kept.name not in needed:
                    kept.unlink()


def _as_placed(place: Place, placed: PlacedFile) -> tuple[bytes, os.stat_result] | None:
    """Return content and status of a file that is still as it was placed, None if somebody changed it."""
    with posix.Folder.open(place.folder) as folder:
        held = folder.status(place.name)
        if held is None:
            raise FileNotFoundError(place.path)
        if placed.mode is not None and not fits_status(held, placed.mode, placed.uid, placed.gid):
            return None
        content = folder.read(place.name, MAX_FORMER + 1)
    return (content, held) if digest(content) == placed.sha256 else None
