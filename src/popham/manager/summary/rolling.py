"""Roll-ups of the summary: files of ten minutes, hours and days, each made of those of the level below.

Rules:

1. A window has one file, ``rollups/<seconds of the level>/<UTC day>/<beginning>.parquet``.  It is made whole, of all
   that there is of the window, and takes the place of the one before: so it may be made any number of times.
2. A journal says up to which place the summary's own files were looked at, and which windows are still to be made.  A
   window is taken out of it once its file is durable; what a crash leaves undone is done again.
3. What comes late puts its window into the journal again, and then the windows above.
4. What is made of less than what is there is not kept: files of the level below may be gone already.
5. A file that is damaged is set aside, and stops nothing.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from popham.manager.data.catalog import Contents, PartFile, finish_file
from popham.manager.data.engine import Engine, EngineError, quote
from popham.manager.summary.items import FILESYSTEM, resource_of
from popham.manager.summary.levels import LEVELS, Level
from popham.model.types.collect_schema import INTERVAL
from popham.statedir import replace_file

if TYPE_CHECKING:
    from arro3.core import Table
    from duckdb import DuckDBPyConnection

_log = logging.getLogger(__name__)
FOLDER: Final = "rollups"
"""Name of the folder of all levels, beside those of the streams."""
JOURNAL: Final = "journal.json"
_UNFINISHED: Final = "unfinished.parquet"
_NANO: Final = 1_000_000_000
_GROUP: Final = 16_384
"""Rows of a row group, at most: one agent is found by reading little."""
_RAW: Final = """
    SELECT raw.uid, raw.name AS item, named.resource, min(value) AS min, max(value) AS max, sum(value) AS sum,
        count(*) AS count, coalesce(any_value(plans.samples), $samples) AS expected
    FROM read_parquet($paths) AS raw JOIN named USING (name, attributes) LEFT JOIN plans ON plans.uid = raw.uid
    WHERE raw."at" >= $begin AND raw."at" < $end AND raw.kind = 'gauge' AND raw.value IS NOT NULL
    GROUP BY ALL"""
_ROLLED: Final = """
    SELECT uid, item, resource, min(min) AS min, max(max) AS max, sum(sum) AS sum,
        CAST(sum(count) AS BIGINT) AS count, avg(expected) * $windows AS expected
    FROM read_parquet($paths) GROUP BY ALL"""


class Journal(msgspec.Struct, kw_only=True):
    """What was done, and what is to be done.

    Attributes:
        place: Up to where the summary was looked at.
        open: Seconds of a level → beginnings of windows that are to be made, in unix seconds.
    """

    place: int = -1
    open: dict[int, set[int]] = msgspec.field(default_factory=lambda: {one.seconds: set() for one in LEVELS})


class Rolling:
    """Makes roll-ups. Blocks on files: call it in a thread, one call at a time."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        """Make files below ``folder``, which is the data's, with ``engine``."""
        self._folder = folder / FOLDER
        self._engine = engine
        self._journal: Journal | None = None

    def note(self, contents: Contents, folder: Path) -> bool:
        """Put the windows into the journal that files of the summary brought something for.

        Returns whether windows can be made of these files: not of those from before what the journal has, as they
        are until somebody has read which there are.

        Args:
            contents: Which files there are; none of them is deleted meanwhile.
            folder: Where they are.
        """
        journal = self._open()
        if contents.place <= journal.place:
            return contents.place == journal.place
        paths = [_path(folder, file) for file in contents.files if file.last > journal.place]
        if paths:
            level = LEVELS[0]
            with self._engine.open() as connection:
                found = connection.execute(
                    'SELECT DISTINCT "at" // ? FROM read_parquet(?) WHERE place > ?',
                    [level.seconds * _NANO, paths, journal.place],
                ).fetchall()
            journal.open[level.seconds].update(number * level.seconds for (number,) in found)
        journal.place = contents.place
        self._save(journal)
        return True

    def due(self, now: float) -> bool:
        """Return whether a window is to be made at ``now``, in unix seconds."""
        return any(True for _ in self._due(now))

    def make(self, contents: Contents, folder: Path, plans: Mapping[str, float], now: float) -> bool:
        """Make the next window that is due, the finest first; return whether there was one.

        Args:
            contents: Which files of the summary there are; none of them is deleted meanwhile.
            folder: Where they are.
            plans: Agent → seconds between two samples, where that is not the default.
            now: Unix seconds.
        """
        level, number, window = next(self._due(now), (LEVELS[0], -1, 0))
        if number < 0:
            return False
        journal = self._open()
        if level.is_kept(window, now):
            try:
                self._make(number, window, contents, folder, plans)
            except EngineError as error:
                if self._set_aside(number, window):
                    return True
                _log.error(
                    "the window of %s from %d on cannot be made: %s", level.name, window, error
                )  # no fault of ours
            if number + 1 < len(LEVELS):
                above = LEVELS[number + 1]
                journal.open[above.seconds].add(above.window(window))
        journal.open[level.seconds].discard(window)
        self._save(journal)
        return True

    def drop(self, now: float) -> list[str]:
        """Delete the days that are kept no more; return ``600/2027-01-15`` of each."""
        gone = []
        for level in LEVELS:
            for day in sorted((self._folder / str(level.seconds)).glob("*")):
                if not level.is_kept(_begin(day.name), now):
                    shutil.rmtree(day)
                    gone.append(f"{level.seconds}/{day.name}")
        return gone

    def _due(self, now: float) -> Iterator[tuple[Level, int, int]]:
        opened = self._open().open
        for number, level in enumerate(LEVELS):
            yield from (
                (level, number, one) for one in sorted(opened[level.seconds]) if level.is_due(one, now)
            )

    def _make(
        self, number: int, window: int, contents: Contents, folder: Path, plans: Mapping[str, float]
    ) -> None:
        """Make the file of one window, of what there is of it at the level below."""
        level = LEVELS[number]
        with self._engine.open() as connection:
            if number == 0:
                paths = [_path(folder, file) for file in _within(contents.files, window, level.seconds)]
                if paths:
                    self._copy_raw(connection, level, window, paths, plans)
                return
            below = LEVELS[number - 1]
            begins = range(window, window + level.seconds, below.seconds)
            files = [path for begin in begins if (path := self.path(below, begin)).exists()]
            if files:
                parameters = {"windows": level.seconds // below.seconds, "paths": [*map(str, files)]}
                self._copy(connection, level, window, _ROLLED, parameters)

    def _set_aside(self, number: int, window: int) -> bool:
        """Set aside what cannot be read of a window's own files, and those that it is made of; return if it was any."""
        level = LEVELS[number]
        files = [self.path(level, window)]
        if number:
            below = LEVELS[number - 1]
            files += [self.path(below, at) for at in range(window, window + level.seconds, below.seconds)]
        bad = [path for path in files if path.exists() and not self._is_readable(path)]
        for path in bad:
            _log.error("%s is damaged, and is set aside", path)
            path.rename(path.with_name(path.name + ".damaged"))
        return bool(bad)

    def _is_readable(self, path: Path) -> bool:
        try:
            with self._engine.open() as connection:
                connection.execute("SELECT max(hash(file)) FROM read_parquet(?) file", [str(path)]).fetchall()
        except EngineError:
            return False
        return True

    def _copy_raw(
        self,
        connection: DuckDBPyConnection,
        level: Level,
        window: int,
        paths: Sequence[str],
        plans: Mapping[str, float],
    ) -> None:
        begin, end = window * _NANO, (window + level.seconds) * _NANO
        pairs = connection.execute(
            'SELECT DISTINCT name, attributes FROM read_parquet(?) WHERE "at" >= ? AND "at" < ?',
            [paths, begin, end],
        ).fetchall()
        connection.register("named", _named(pairs))
        connection.register("plans", _planned(plans, level.seconds))
        samples = level.seconds / INTERVAL
        parameters = {"samples": samples, "paths": paths, "begin": begin, "end": end}
        self._copy(connection, level, window, _RAW, parameters)

    def _copy(
        self,
        connection: DuckDBPyConnection,
        level: Level,
        window: int,
        query: str,
        parameters: Mapping[str, Any],
    ) -> None:
        """Make a file of what ``query`` finds, unless the one that is there was made of more."""
        path, unfinished = self.path(level, window), self._folder / _UNFINISHED
        path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection.execute(
            f'COPY (SELECT *, CAST({window} AS BIGINT) AS "at" FROM ({query}) ORDER BY uid, item, resource)'  # noqa: S608 - numbers, and texts of this file
            f" TO {quote(str(unfinished))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_GROUP})",
            dict(parameters),
        )
        if path.exists() and _count(connection, path) > _count(connection, unfinished):
            return
        finish_file(unfinished, path)

    def path(self, level: Level, window: int) -> Path:
        """Return where the file of a window is."""
        begin = datetime.fromtimestamp(window, UTC)
        return self._folder / str(level.seconds) / begin.date().isoformat() / f"{window}.parquet"

    def _open(self) -> Journal:
        if self._journal is None:
            try:
                self._journal = msgspec.json.decode((self._folder / JOURNAL).read_bytes(), type=Journal)
            except FileNotFoundError:
                self._journal = Journal()
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                # By the fourth rule nothing is lost by doing it all again.
                _log.warning("the journal of roll-ups is damaged, and is begun anew: %s", error)
                self._journal = Journal()
        return self._journal

    def _save(self, journal: Journal) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self._folder / JOURNAL, msgspec.json.encode(journal))


def _path(folder: Path, file: PartFile) -> str:
    return str(folder / file.day / file.name)


def _within(files: Sequence[PartFile], window: int, seconds: int) -> Iterator[PartFile]:
    begin, end = window * _NANO, (window + seconds) * _NANO
    return (file for file in files if file.begin < end and file.end >= begin)


def _named(pairs: Sequence[tuple[str, str]]) -> Table:
    """Return what each metric with these attributes is called; of the fullest filesystem, nothing."""
    from arro3.core import Array, DataType, Table

    resources = ["" if name == FILESYSTEM else resource_of(attributes) for name, attributes in pairs]
    columns = [[name for name, _ in pairs], [attributes for _, attributes in pairs], resources]
    arrays = [Array(column, DataType.utf8()) for column in columns]
    return Table.from_arrays(arrays, names=["name", "attributes", "resource"])


def _planned(plans: Mapping[str, float], seconds: int) -> Table:
    """Return how many samples each of these agents is to take in a window."""
    from arro3.core import Array, DataType, Table

    arrays = [
        Array(list(plans), DataType.utf8()),
        Array([seconds / interval for interval in plans.values()], DataType.float64()),
    ]
    return Table.from_arrays(arrays, names=["uid", "samples"])


def _count(connection: DuckDBPyConnection, path: Path) -> int:
    row = connection.execute("SELECT coalesce(sum(count), 0) FROM read_parquet(?)", [str(path)]).fetchone()
    return int(row[0]) if row else 0


def _begin(day: str) -> int:
    """Return when a day begins, in unix seconds; 0 for what is no day, which nobody keeps."""
    try:
        return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return 0
