"""What a placement is to do, and the journal that says so to the next process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

FOLDER_MODE: Final = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One file to write, or to remove where ``content`` is None."""

    folder: Path
    name: str
    content: bytes | None
    mode: int = 0o644
    uid: int | None = None
    gid: int | None = None

    @property
    def path(self) -> Path:
        """The whole path."""
        return self.folder / self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderChange:
    """One directory to make, or to give another mode or owner; None leaves an owner as is."""

    path: Path
    mode: int = FOLDER_MODE
    uid: int | None = None
    gid: int | None = None


class HandedStep(msgspec.Struct, frozen=True, kw_only=True):
    """What a program is handed: digests of the data it is to have and of what it had.

    Attributes:
        now: None where its policy is withdrawn.
        former: None where there was none.
    """

    command: str
    now: str | None
    former: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be done.

    Attributes:
        changes: Files, one per path.
        folders: Directories; those that are missing are made.
        gone: Directories to remove if they are empty, the deepest first.
        reload: Names of commands that tell programs about the files.
        steps: What programs are handed.
    """

    changes: tuple[Change, ...] = ()
    folders: tuple[FolderChange, ...] = ()
    gone: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    steps: tuple[HandedStep, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes or self.folders or self.gone or self.steps)


class FolderEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A directory that gets another mode or owner, as it was."""

    path: str
    mode: int
    uid: int
    gid: int


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One change as the journal says it: names beside the target.

    Attributes:
        removes: Whether the target is to go, so that nothing is staged for it.
    """

    folder: str
    name: str
    staged: str
    kept: str
    existed: bool
    removes: bool = False


class Journal(msgspec.Struct, kw_only=True):
    """What is under way.

    Attributes:
        id: Names this change; the applier's commit repeats it.
        made: Directories to make, parents first.
        reload: Names of commands that tell programs about the files.
        folders: Directories to adjust, as they were.
        gone: Directories to remove at the end, the deepest first.
        steps: What programs are handed.
        handed: How many of these were begun, the one that is under way among them; None where an older
            version did not count.
    """

    id: str
    phase: Literal["staging", "placing"]
    entries: list[Entry]
    made: list[str]
    reload: list[str]
    folders: list[FolderEntry] = []
    gone: list[str] = []
    steps: list[HandedStep] = []
    handed: int | None = None

    @property
    def begun(self) -> list[HandedStep]:
        """The steps that programs may know of."""
        return self.steps if self.handed is None else self.steps[: self.handed]
