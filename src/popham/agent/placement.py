"""Puts a set of files in place, all or none, and back again.

A journal says what is under way, so that a process that ends in the middle
leaves a whole set to the next one.  The order::

    journal "staging" → directories, staged files and kept files, durable
    journal "placing" → renames, durable
    (reload, then the commit, which is the applier's)
    finish: kept files and journal go

Before "placing" nothing that anybody reads has changed.  From then until the
commit, :meth:`Placement.undo` brings the former set back, in this process or
in the next one.  Staged and kept files lie beside their target under hidden
names: a rename is atomic only within one file system.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from popham import posix
from popham.errors import PolicyError, StateError
from popham.statedir import replace_file

FailPoint = Callable[[str], None]
"""Called with the name of each step, so that a test can end the process there."""
FOLDER_MODE = 0o755


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


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One change as the journal says it: names beside the target."""

    folder: str
    name: str
    staged: str
    kept: str
    existed: bool


class Journal(msgspec.Struct, kw_only=True):
    """What is under way.

    Attributes:
        id: Names this change; the applier's commit repeats it.
        made: Directories to make, parents first.
        reload: Names of commands that tell programs about the files.
    """

    id: str
    phase: Literal["staging", "placing"]
    entries: list[Entry]
    made: list[str]
    reload: list[str]


class Placement:
    """One set of changes on its way."""

    def __init__(self, file: Path, journal: Journal, changes: Sequence[Change], failpoint: FailPoint) -> None:
        self.journal = journal
        self._file = file
        self._changes = changes
        self._failpoint = failpoint

    @classmethod
    def prepare(
        cls, file: Path, changes: Sequence[Change], *, token: str, reload: Sequence[str], failpoint: FailPoint
    ) -> Placement:
        """Return the placement of ``changes``; nothing is written yet.

        Args:
            file: The journal's path.
            changes: What to do, one per path.
            token: A name that no other placement has.
            reload: Commands to run again should the change be undone later.
            failpoint: Called at each step.

        Raises:
            OSError: A directory cannot be looked at.
        """
        entries = [
            Entry(
                folder=str(change.folder),
                name=change.name,
                staged=f".popham-{token}-{number}.new",
                kept=f".popham-{token}-{number}.old",
                existed=change.path.exists(),
            )
            for number, change in enumerate(changes)
        ]
        made: dict[str, None] = {}
        for change in changes:
            for parent in reversed((change.folder, *change.folder.parents)):
                if not parent.exists():
                    made[str(parent)] = None
        journal = Journal(id=token, phase="staging", entries=entries, made=list(made), reload=list(reload))
        return cls(file, journal, changes, failpoint)

    @classmethod
    def load(cls, file: Path, failpoint: FailPoint) -> Placement | None:
        """Return the placement that an earlier process left in the middle, None if there is none.

        Raises:
            StateError: ``state.corrupt``: the journal cannot be read.
        """
        try:
            journal = msgspec.json.decode(file.read_bytes(), type=Journal)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            problem = f"{file} cannot be read: {error}"
            hint = "Look for files named .popham-* under the allowed roots, then remove this one"
            raise StateError("corrupt", problem, hint) from error
        return cls(file, journal, (), failpoint)

    def stage(self) -> None:
        """Write everything that will be needed beside the targets, and make it durable.

        Raises:
            OSError: Something cannot be written; :meth:`undo` takes back what was.
            PolicyError: ``policy.account``: an owner cannot be given.
        """
        self._write_journal("staging")
        self._failpoint("journal")
        for made in map(Path, self.journal.made):
            with posix.Folder.open(made.parent) as parent:
                parent.make_folder(made.name, FOLDER_MODE)
                parent.sync()
        for number, (entry, change) in enumerate(zip(self.journal.entries, self._changes, strict=True)):
            with posix.Folder.open(change.folder) as folder:
                if entry.existed:
                    _keep(folder, entry)
                if change.content is not None:
                    _write(folder, entry.staged, change)
                folder.sync()
            self._failpoint(f"staged:{number}")

    def place(self) -> None:
        """Rename all that is staged to its place, and make it durable."""
        self._write_journal("placing")
        self._failpoint("placing")
        for number, (entry, change) in enumerate(zip(self.journal.entries, self._changes, strict=True)):
            with posix.Folder.open(change.folder) as folder:
                if change.content is None:
                    folder.remove(entry.name)
                else:
                    folder.rename(entry.staged, entry.name)
                folder.sync()
            self._failpoint(f"placed:{number}")

    def undo(self) -> bool:
        """Bring the former files back; return whether any had been replaced.

        It may run again after it was cut short.

        Raises:
            OSError: A file cannot be put back; the journal stays, for another attempt.
        """
        placing = self.journal.phase == "placing"
        for number, entry in enumerate(self.journal.entries):
            try:
                folder = posix.Folder.open(Path(entry.folder))
            except FileNotFoundError:
                continue
            with folder:
                if placing:
                    _put_back(folder, entry)
                folder.remove(entry.staged)
                folder.remove(entry.kept)
                folder.sync()
            self._failpoint(f"undone:{number}")
        for made in map(Path, reversed(self.journal.made)):
            try:
                with posix.Folder.open(made.parent) as parent:
                    parent.remove_folder(made.name)
                    parent.sync()
            except FileNotFoundError:
                continue
        self._file.unlink(missing_ok=True)
        posix.fsync_directory(self._file.parent)
        return placing

    def finish(self) -> None:
        """Forget the former files: the new ones hold."""
        for number, entry in enumerate(self.journal.entries):
            try:
                with posix.Folder.open(Path(entry.folder)) as folder:
                    folder.remove(entry.staged)
                    folder.remove(entry.kept)
            except (FileNotFoundError, NotADirectoryError):
                continue
            self._failpoint(f"finished:{number}")
        self._file.unlink(missing_ok=True)
        posix.fsync_directory(self._file.parent)

    def _write_journal(self, phase: Literal["staging", "placing"]) -> None:
        self.journal.phase = phase
        replace_file(self._file, msgspec.json.encode(self.journal))


def disk_error(error: OSError) -> PolicyError:
    """Return what people are told when a file could not be written."""
    hints = {
        errno.ENOSPC: "Make room on the machine's disk",
        errno.EDQUOT: "Raise the quota of the agent's account",
        errno.EROFS: "The file system is read-only; remount it, or use another path",
        errno.EACCES: "Let the agent's account write there, or run the agent as root",
        errno.EPERM: "Let the agent's account write there, or run the agent as root",
        errno.ENOTDIR: "Something on the machine changed while the files were placed; look at the path",
    }
    what = error.filename if isinstance(error.filename, str) else "a file"
    problem = f"{what} cannot be written: {error.strerror or error}"
    return PolicyError("disk", problem, hints.get(error.errno or 0, "Look at the machine's disk"))


def _keep(folder: posix.Folder, entry: Entry) -> None:
    """Give the former file a second name, or copy it where the file system has none to give."""
    folder.remove(entry.kept)
    try:
        folder.link(entry.name, entry.kept)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EACCES, errno.EXDEV}:
            raise
        held = folder.status(entry.name)
        if held is None:
            raise
        data = folder.read(entry.name, held.st_size + 1)
        try:
            folder.create(entry.kept, data, held.st_mode & 0o7777, held.st_uid, held.st_gid)
        except PermissionError:
            folder.remove(entry.kept)
            folder.create(entry.kept, data, held.st_mode & 0o777, None, None)


def _write(folder: posix.Folder, name: str, change: Change) -> None:
    folder.remove(name)
    if change.content is None:
        return
    try:
        folder.create(name, change.content, change.mode, change.uid, change.gid)
    except PermissionError as error:
        if folder.status(name) is None:
            raise
        problem = f"the agent may not give {change.path} to the owner or group that the policy names"
        hint = "Run the agent as root, or leave owner and group out"
        raise PolicyError("account", problem, hint) from error


def _put_back(folder: posix.Folder, entry: Entry) -> None:
    """Undo one rename, if it happened."""
    if entry.existed:
        if folder.status(entry.kept) is not None:
            folder.rename(entry.kept, entry.name)
    elif folder.status(entry.staged) is None:
        folder.remove(entry.name)
