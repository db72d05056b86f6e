"""All log files that are followed: found, opened, read and let go.

One thread at a time; all of it may wait for the disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from popham.agent.collect.tail.checkpoint import ROWS, Checkpoint, Row, Step, save, take_up
from popham.agent.collect.tail.finding import FILES, Key, changed_at, find_files, find_moved
from popham.agent.collect.tail.followed import LONG, Followed, Loss
from popham.agent.collect.tail.packing import Advance, Batch, Packer
from popham.agent.collect.tail.source import Source
from popham.agent.collect.tail.wire import Envelope, Heads, attributes
from popham.agent.storage import Storage

READ: Final = 2 * 1024 * 1024
"""Bytes that one look takes of all files."""
FORGET: Final = 24 * 3600
"""Seconds for which a file is remembered that is gone: a directory may come back."""
TOLD: Final = 16
"""Problems with files that are told at once, at most."""
_FOLDERS: Final = 64
"""Directories that are searched after a start for files with another name."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How one source is.

    Attributes:
        files: How many files are followed.
        waiting: Bytes of them that are not durable yet.
    """

    files: int = 0
    waiting: int = 0


class Reader:
    """Follows the files of sources.

    Attributes:
        over: How many files were left aside, since there are too many.
        problems: What is wrong with files, by their path.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        storage: Storage,
        envelope: Envelope,
        may_read: Callable[[str], bool],
        most: int = FILES,
    ) -> None:
        self.over = 0
        self.problems: dict[str, str] = {}
        self._sources = tuple(sources)
        self._known: dict[str, str] = {}
        self._storage = storage
        self._envelope = envelope
        self._may_read = may_read
        self._most = most
        self._files: dict[Key, Followed] = {}
        self._rows: dict[Key, Row] = {}
        self._unsaved = False
        self._moved = False
        self._folders: Mapping[str, int] = {}

    def start(self, epoch: int, end: int) -> None:
        """Take up what the checkpoint says; the stream ends at ``end`` now. Raises StateError, OSError."""
        checkpoint = take_up(self._storage, epoch, end)
        if checkpoint is not None:
            self._known = dict(checkpoint.sources)
            self._rows = {(row.device, row.inode): row for row in checkpoint.rows}
            self._moved = True

    def assign(self, sources: Sequence[Source]) -> None:
        """Follow the files of these sources from the next search on."""
        self._sources = tuple(sources)

    def end(self, wall: float) -> None:
        """Let go of all files. Raises StateError, OSError: how far they are could not be written."""
        try:
            self.save(wall)
        finally:
            for file in self._files.values():
                file.close()
            self._files.clear()

    def search(self, now: float, wall: float) -> list[Loss]:
        """Look which files there are, and let go of others; return what was lost; :meth:`save` comes next."""
        sources = self._sources  # others may be assigned meanwhile, of which nothing is known then
        found = find_files(sources, most=self._most)
        self.over, self._folders = found.over, found.folders
        self.problems = {}
        wanted = {source.name: source for source in sources}
        for key, file in list(self._files.items()):
            path, source = found.files.get(key, (file.path, wanted.get(file.source.name)))
            if source is None:
                self._drop(key, file, wall)
                continue
            if source != file.source:
                file.assign(source)
            file.path = path
            file.gone = None if key in found.files else now if file.gone is None else file.gone
        for key, (path, source) in found.files.items():
            if key not in self._files and len(self._files) < self._most:
                self._open(source, path, key, now)
        if self._moved:
            self._moved = False
            self._find_moved(wanted, now)
        losses = []
        for key, file in list(self._files.items()):
            over = file.is_over(now)
            losses += file.take_losses()
            if over:
                self._drop(key, file, wall)
        self._known = {source.name: source.meaning for source in sources}
        self._forget(wall)
        return losses

    def look(self, now: float) -> tuple[bool, bool]:
        """Return whether a search would find the same files, and whether there is something to read."""
        due = False
        for file in self._files.values():
            try:
                due = file.look(now) or due
            except OSError as error:
                self._note(file.path, error)
        return all(changed_at(folder) == changed for folder, changed in self._folders.items()), due

    def read(self, now: float, at: int) -> tuple[Batch, bool]:
        """Return new lines, and whether there are more; ``at`` is unix nanoseconds."""
        packer, left, more = Packer(self._envelope), READ, False
        due = [file for file in self._files.values() if file.due]
        share = max(LONG, READ // max(len(due), 1)) & ~1
        for file in due:
            if left <= 0:
                more = True
                break
            # Whoever was served is last next time.
            self._files[file.key] = self._files.pop(file.key)
            try:
                piece = file.read(share, now)
            except OSError as error:
                self._note(file.path, error)
                continue
            more = more or file.full or file.due
            left -= share if file.full else 0
            if piece is not None:
                left -= 0 if file.full else len(piece.data)
                packer.add(file, piece, Heads(at, _labels(file)))
        return packer.finish(), more

    def note(self, batch: Batch, wall: float, epoch: int, end: int) -> None:
        """Write what a batch is about to bring, appended to a stream that ends at ``end``. Raises StateError, OSError."""
        self._write(wall, epoch, end, batch.advances)

    def advance(self, batch: Batch, taken: int) -> None:
        """Note that so many records of a batch are durable; what is not is read again."""
        self._unsaved = True
        for step in batch.advances:
            taken -= step.count
            if taken >= 0:
                step.file.place = step.place
            else:
                step.file.due = True

    def status(self) -> Mapping[str, SourceStatus]:
        """Return how each source is, by its name."""
        found = {source.name: SourceStatus() for source in self._sources}
        for file in list(self._files.values()):
            if file.source.name in found:
                held = found[file.source.name]
                unread = max(file.size - file.place.offset, 0)
                found[file.source.name] = SourceStatus(held.files + 1, held.waiting + unread)
        return found

    def save(self, wall: float) -> None:
        """Write how far the files are, unless it is written. Raises StateError, OSError."""
        if self._unsaved:
            self._write(wall, 0, 0, ())
            self._unsaved = False

    def _write(self, wall: float, epoch: int, end: int, advances: Iterable[Advance]) -> None:
        rows = [_row(file, wall) for file in self._files.values()]
        numbers = {key: number for number, key in enumerate(self._files)}
        steps = [Step(numbers[one.file.key], one.place.offset, one.place.mark, one.count) for one in advances]
        rows += list(self._rows.values())[-(ROWS - len(rows)) :]
        saved = Checkpoint(sources=self._known, rows=tuple(rows), epoch=epoch, next=end, steps=tuple(steps))
        save(self._storage, saved)

    def _open(self, source: Source, path: str, key: Key, now: float) -> Followed | None:
        real = os.path.realpath(path)
        if not self._may_read(real):
            self._note(path, "this machine does not permit it to be read")
            return None
        try:
            file = Followed.open(source, path, real, key, now)
            if file is None:
                return None
            row = self._rows.get(key)
            if not (row is not None and file.resume(row.offset, row.mark)):
                new = self._known.get(source.name) == source.meaning or row is not None
                if not (new or source.whole):
                    file.skip()
        except OSError as error:
            self._note(path, error)
            return None
        self._rows.pop(key, None)
        self._files[key] = file
        self._unsaved = True
        return file

    def _find_moved(self, wanted: Mapping[str, Source], now: float) -> None:
        """Read to their ends the files that got another name while nobody looked."""
        missing = [row for row in self._rows.values() if row.source in wanted]
        folders = dict.fromkeys(_path(row).rpartition("/")[0] for row in missing)
        inodes = frozenset(row.inode for row in missing)
        for folder in list(folders)[:_FOLDERS]:
            for key, path in find_moved(folder, inodes):
                row = self._rows.get(key)
                if row is not None and row.source in wanted and len(self._files) < self._most:
                    file = self._open(wanted[row.source], path, key, now)
                    if file is not None:
                        file.gone = now

    def _drop(self, key: Key, file: Followed, wall: float) -> None:
        """Follow a file no more, but remember how far it is."""
        file.close()
        self._rows.pop(key, None)
        self._rows[key] = _row(file, wall)
        del self._files[key]
        self._unsaved = True

    def _forget(self, wall: float) -> None:
        self._rows = {
            key: row for key, row in self._rows.items() if 0 <= wall - row.seen + FORGET < 2 * FORGET
        }

    def _note(self, path: str, problem: object) -> None:
        if len(self.problems) < TOLD:
            said = problem.strerror if isinstance(problem, OSError) else problem
            self.problems[path] = str(said)


def _labels(file: Followed) -> bytes:
    """Return the attributes of the records of a file, encoded."""
    path = os.fsencode(file.path).decode("utf-8", "replace")
    said = {
        "log.file.name": path.rpartition("/")[2],
        "log.file.path": path,
        "popham.source": file.source.name,
    }
    return attributes(0x32, {**file.source.attributes, **said})


def _row(file: Followed, wall: float) -> Row:
    device, inode = file.key
    path = os.fsencode(file.path).decode("latin-1")
    return Row(device, inode, file.place.offset, file.place.mark, int(wall), path, file.source.name)


def _path(row: Row) -> str:
    return os.fsdecode(row.path.encode("latin-1"))
