"""Which Parquet files of a stream count, and how far they go: one small file, replaced as a whole.

Rules:

1. Files are written first; then the catalog names them and the position up to which they have everything, in one
   step.  So after a crash at any moment nothing is missing and nothing is doubled: what the catalog does not name does
   not count, and is deleted at the next start.
2. Whoever reads holds a :class:`Contents`; a file that went out of use is deleted once nobody holds one that names it.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from popham import posix
from popham.errors import StateError
from popham.statedir import replace_file

_log = logging.getLogger(__name__)
NAME: Final = "catalog.json"
_SUFFIX: Final = ".parquet"


class PartFile(msgspec.Struct, frozen=True, kw_only=True):
    """A Parquet file.

    Attributes:
        day: The day, in UTC, of all its records.
        name: Of the file.
        level: How often its records were merged into a larger file.
        rows: How many it has.
        bytes: Of the file.
        first, last: The lowest and the highest place of its entries.
        begin, end: The earliest and the latest time of its records, corrected, unix nanoseconds.
    """

    day: str
    name: str
    level: int
    rows: int
    bytes: int
    first: int
    last: int
    begin: int
    end: int


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What counts, as of one moment.

    Attributes:
        files: In the order of their days and places.
        place: Up to where the intake is in them.
        aside: Reason → records that could not be read, and were set aside.
        dropped: Cause (``age``, ``bytes``, ``damaged``) → records that are kept no more.
    """

    files: tuple[PartFile, ...] = ()
    place: int = 0
    aside: Mapping[str, int] = {}
    dropped: Mapping[str, int] = {}


class Catalog:
    """The catalog of one stream. Blocks on files: call what writes in a thread, one at a time."""

    def __init__(self, folder: Path) -> None:
        """Know the folder; :meth:`load` reads."""
        self.folder = folder
        self.contents = Contents()
        self._held: Counter[str] = Counter()
        self._doomed: set[str] = set()

    def load(self) -> None:
        """Read what counts, and delete the files that do not.

        Raises:
            StateError: ``state.corrupt``: it cannot be read.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / NAME
        try:
            self.contents = msgspec.json.decode(path.read_bytes(), type=Contents)
        except FileNotFoundError:
            pass
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            hint = f"Restore it from a backup, or move {self.folder} away to begin anew"
            raise StateError("corrupt", f"{path} is damaged: {error}", hint) from error
        self._sweep()

    def path(self, file: PartFile) -> Path:
        """Return where a file is."""
        return self.folder / file.day / file.name

    @contextmanager
    def hold(self) -> Iterator[Contents]:
        """Return what counts now; no file of it is deleted before the end. Called on the loop only."""
        contents = self.contents
        keys = [_key(file) for file in contents.files]
        self._held.update(keys)
        try:
            yield contents
        finally:
            self._held.subtract(keys)
            self._held += Counter()
            self._delete()

    def save(self, contents: Contents) -> None:
        """Make ``contents`` what counts, durably. Whoever reads sees it once :meth:`show` was called."""
        replace_file(self.folder / NAME, msgspec.json.encode(contents))

    def show(self, contents: Contents) -> None:
        """Let readers see what was saved, and delete what went out of use. Called on the loop only."""
        gone = {_key(file) for file in self.contents.files} - {_key(file) for file in contents.files}
        self.contents = contents
        self._doomed |= gone
        self._delete()

    def tidy(self) -> None:
        """Delete days without files. Blocks; never beside whoever writes files."""
        for day in [path for path in self.folder.iterdir() if path.is_dir()]:
            if not any(day.iterdir()):
                day.rmdir()

    def _delete(self) -> None:
        for key in [key for key in self._doomed if not self._held[key]]:
            self._doomed.discard(key)
            (self.folder / key).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Delete what a crash left: files that do not count, and days without any."""
        known = {_key(file) for file in self.contents.files}
        for path in sorted(self.folder.glob("*/*")):
            if f"{path.parent.name}/{path.name}" not in known and not path.name.endswith(".damaged"):
                path.unlink()
        missing = [key for key in known if not (self.folder / key).is_file()]
        for key in missing:
            _log.error("%s is missing: its records are gone", self.folder / key)
        self.tidy()
        kept = tuple(file for file in self.contents.files if _key(file) not in missing)
        lost = sum(file.rows for file in self.contents.files) - sum(file.rows for file in kept)
        if missing:
            dropped = Counter(self.contents.dropped)
            dropped["damaged"] += lost
            self.contents = msgspec.structs.replace(self.contents, files=kept, dropped=dict(dropped))


def finish_file(unfinished: Path, path: Path) -> None:
    """Give a written file its name, durably."""
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700)
        posix.fsync_directory(path.parent.parent)
    unfinished.replace(path)
    posix.fsync_directory(path.parent)


def _key(file: PartFile) -> str:
    return f"{file.day}/{file.name}"
