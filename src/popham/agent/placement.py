"""Puts a set of files in place, all or none, and back again.

A journal says what is under way, so that a process that ends in the middle
leaves a whole set to the next one.  The order::

    journal "staging" → directories, staged files and kept files, durable
    journal "placing" → renames, durable
    (reload, programs, then the commit, which is the applier's)
    finish: kept files go, directories that nothing needs, and then the journal

Before "placing" nothing that anybody reads has changed.  From then until the
commit, :meth:`Placement.undo` brings the former set back, in this process or
in the next one; :meth:`Placement.forget` ends that.  Once all of it is back the
journal gets another name, which needs no room on the disk: an undo that is cut
short later has nothing to put back any more, whatever somebody has written
there meanwhile.  Directories are removed last, and only empty ones, so that
nothing has to bring one back.  Staged and kept files lie beside their target
under hidden names: a rename is atomic only within one file system.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from popham import posix
from popham.agent.journal import Change, Entry, FolderChange, FolderEntry, Journal, Work
from popham.errors import PolicyError, StateError
from popham.statedir import replace_file

FailPoint = Callable[[str], None]
"""Called with the name of each step, so that a test can end the process there."""


class Placement:
    """One set of changes on its way."""

    def __init__(self, file: Path, journal: Journal, work: Work, failpoint: FailPoint) -> None:
        self.journal = journal
        self._file = file
        self._back = file.with_name(f"{file.stem}-undone{file.suffix}")
        self._changes = work.changes
        self._folders = {change.path: change for change in work.folders}
        self._failpoint = failpoint

    @classmethod
    def prepare(cls, file: Path, work: Work, *, token: str, failpoint: FailPoint) -> Placement:
        """Return the placement of ``work``; nothing is written yet.

        Args:
            file: The journal's path.
            work: What to do.
            token: A name that no other placement has.
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
                existed=os.path.lexists(change.path),
                removes=change.content is None,
            )
            for number, change in enumerate(work.changes)
        ]
        made: dict[str, None] = {}
        for folder in (
            *(change.path for change in work.folders),
            *(change.folder for change in work.changes),
        ):
            for parent in reversed((folder, *folder.parents)):
                if not parent.exists():
                    made[str(parent)] = None
        journal = Journal(
            id=token,
            phase="staging",
            entries=entries,
            made=list(made),
            reload=list(work.reload),
            folders=[_as_it_is(change.path) for change in work.folders if str(change.path) not in made],
            gone=list(work.gone),
            steps=list(work.steps),
            handed=0,
        )
        return cls(file, journal, work, failpoint)

    @classmethod
    def load(cls, file: Path, failpoint: FailPoint) -> Placement | None:
        """Return the placement that an earlier process left in the middle, None if there is none.

        Raises:
            StateError: ``state.corrupt``: the journal cannot be read.
        """
        found = cls(file, Journal(id="", phase="staging", entries=[], made=[], reload=[]), Work(), failpoint)
        for written in (file, found._back):
            try:
                found.journal = msgspec.json.decode(written.read_bytes(), type=Journal)
            except FileNotFoundError:
                continue
            except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
                problem = f"{written} cannot be read: {error}"
                hint = "Look for files named .popham-* under the allowed roots, then remove this one"
                raise StateError("corrupt", problem, hint) from error
            return found
        return None

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
                _make(parent, self._folders.get(made) or FolderChange(path=made))
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
        for number, held in enumerate(self.journal.folders):
            _adjust(self._folders[Path(held.path)])
            self._failpoint(f"adjusted:{number}")

    def undo(self) -> bool:
        """Bring the former files back; return whether any had been replaced.

        It may run again after it was cut short, until :meth:`forget` was called.

        Raises:
            OSError: A file cannot be put back; the journal stays, for another attempt.
        """
        placing = self.journal.phase == "placing"
        if placing and not self._back.exists():
            self._put_all_back()
        for number, entry in enumerate(self.journal.entries):
            try:
                folder = posix.Folder.open(Path(entry.folder))
            except (FileNotFoundError, NotADirectoryError):
                continue
            with folder:
                folder.remove(entry.staged)
                folder.remove(entry.kept)
                folder.sync()
            self._failpoint(f"undone:{number}")
        for number, made in enumerate(map(Path, reversed(self.journal.made))):
            try:
                with posix.Folder.open(made.parent) as parent:
                    parent.remove_folder(made.name)
                    parent.sync()
            except (FileNotFoundError, NotADirectoryError):
                continue
            self._failpoint(f"unmade:{number}")
        return placing

    def _put_all_back(self) -> None:
        """Undo what was placed, then say so by the journal's name. Any part of it may be done twice."""
        for held in self.journal.folders:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                _adjust(FolderChange(path=Path(held.path), mode=held.mode, uid=held.uid, gid=held.gid))
        for number, entry in enumerate(self.journal.entries):
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError),
                posix.Folder.open(Path(entry.folder)) as folder,
            ):
                _put_back(folder, entry)
                folder.sync()
            self._failpoint(f"back:{number}")
        self._file.rename(self._back)
        posix.fsync_directory(self._back.parent)
        self._failpoint("back")

    def hand(self, number: int) -> None:
        """Take note that the step of this number is about to be handed to its program.

        Raises:
            OSError: That cannot be written; the program must not be handed it.
        """
        self.journal.handed = number + 1
        self._write_journal("placing")

    def forget(self) -> None:
        """Remove the journal: nothing is under way any more."""
        self._file.unlink(missing_ok=True)
        self._back.unlink(missing_ok=True)
        posix.fsync_directory(self._file.parent)

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
        for number, gone in enumerate(map(Path, self.journal.gone)):
            try:
                with posix.Folder.open(gone.parent) as parent:
                    parent.remove_folder(gone.name)
                    parent.sync()
            except (FileNotFoundError, NotADirectoryError):
                continue
            self._failpoint(f"gone:{number}")
        self.forget()

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


def _as_it_is(path: Path) -> FolderEntry:
    held = path.stat(follow_symlinks=False)
    return FolderEntry(path=str(path), mode=stat.S_IMODE(held.st_mode), uid=held.st_uid, gid=held.st_gid)


def _make(parent: posix.Folder, change: FolderChange) -> None:
    try:
        parent.make_folder(change.path.name, change.mode, change.uid, change.gid)
    except PermissionError as error:
        if parent.status(change.path.name) is None:
            raise
        raise _not_given(change.path) from error


def _adjust(change: FolderChange) -> None:
    with posix.Folder.open(change.path.parent) as parent:
        try:
            parent.adjust_folder(change.path.name, change.mode, change.uid, change.gid)
        except PermissionError as error:
            raise _not_given(change.path) from error


def _not_given(path: Path) -> PolicyError:
    problem = f"the agent may not give {path} the owner, group or mode that the policy names"
    hint = "Run the agent as root, or leave owner and group out"
    return PolicyError("account", problem, hint)


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
        raise _not_given(change.path) from error


def _put_back(folder: posix.Folder, entry: Entry) -> None:
    """Undo one rename, if it happened: what was staged, or kept, is gone from its hidden name by that."""
    if folder.status(entry.staged) is not None:
        return
    if not entry.existed:
        # A rename, and no removal, so that a second undo sees that this was done.
        if folder.status(entry.name) is not None:
            folder.rename(entry.name, entry.staged)
    elif folder.status(entry.kept) is not None and not (entry.removes and folder.status(entry.name)):
        folder.rename(entry.kept, entry.name)
