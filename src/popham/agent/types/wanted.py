"""What policies want of this machine, checked: files, directories, data for programs, what is to be collected."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from popham import posix
from popham.agent.collect.wanted import WantedCollect


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file or directory is: the parent directory without links in it, and the name there."""

    folder: Path
    name: str
    root: Path

    @property
    def path(self) -> Path:
        """The whole path."""
        return self.folder / self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFile:
    """A file that a policy wants, checked.

    Attributes:
        path: As the policy writes it.
        uid: Number of the owner; None where the policy is silent.
        gid: Number of the group; None where the policy is silent.
        locked: Whether a change of it on the machine is put back.
    """

    path: str
    place: Place
    content: bytes
    mode: int
    uid: int | None
    gid: int | None
    locked: bool = True

    def fits(self) -> bool:
        """Return whether the file is there with the wanted bytes, mode and owner."""
        try:
            with posix.Folder.open(self.place.folder) as folder:
                held = folder.status(self.place.name)
                if held is None or not stat.S_ISREG(held.st_mode) or held.st_size != len(self.content):
                    return False
                if not fits_status(held, self.mode, self.uid, self.gid):
                    return False
                return folder.read(self.place.name, len(self.content) + 1) == self.content
        except OSError:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFolder:
    """A directory that a policy wants, checked; fields as of a file."""

    path: str
    place: Place
    mode: int
    uid: int | None
    gid: int | None

    def fits(self) -> bool:
        """Return whether the directory is there with the wanted mode and owner."""
        try:
            with posix.Folder.open(self.place.folder) as folder:
                held = folder.status(self.place.name)
        except OSError:
            return False
        if held is None or not stat.S_ISDIR(held.st_mode):
            return False
        return fits_status(held, self.mode, self.uid, self.gid)


@dataclass(frozen=True, slots=True)
class Check:
    """A command that looks at staged files: its name in sentences, and its arguments."""

    name: str
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WantedHanding:
    """Data for a program: the name of a permitted command, and what it reads."""

    command: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedPolicy:
    """A policy, checked.

    Attributes:
        validate: Commands that look at the staged files.
        reload: Name of a permitted command.
        handing: Data for a program; None for none.
        collect: What is to be looked at and brought; None for nothing.
        secrets: What no sentence may show.
    """

    name: str
    files: tuple[WantedFile, ...] = ()
    folders: tuple[WantedFolder, ...] = ()
    validate: tuple[Check, ...] = ()
    reload: str | None = None
    handing: WantedHanding | None = None
    collect: WantedCollect | None = None
    secrets: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[Place, ...]:
        """Where its files and directories are."""
        return (*(file.place for file in self.files), *(folder.place for folder in self.folders))


def fits_status(held: os.stat_result, mode: int, uid: int | None, gid: int | None) -> bool:
    """Return whether mode and owner are as wanted; None leaves an owner open."""
    return stat.S_IMODE(held.st_mode) == mode and uid in {None, held.st_uid} and gid in {None, held.st_gid}
