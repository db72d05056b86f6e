"""What becomes of files: which are merged, and which are dropped. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from popham.manager.data.catalog import PartFile

TOGETHER = 8
"""Files of one level that are merged."""
LARGE = 256 * 1024 * 1024
"""Bytes of a file above which it is merged no more."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of a stream is kept.

    Attributes:
        seconds: For how long.
        bytes: Of all its files.
    """

    seconds: float
    bytes: int


def find_merge(files: Sequence[PartFile]) -> tuple[PartFile, ...]:
    """Return the files that are to be merged next: some of one day and level; none if there are few."""
    for _, same in groupby(sorted(files, key=_rank), key=lambda file: (file.day, file.level)):
        found = _run([file for file in same if file.bytes < LARGE])
        if found:
            return found
    return ()


def _rank(file: PartFile) -> tuple[str, int, int]:
    return file.day, file.level, file.first


def _run(files: Sequence[PartFile]) -> tuple[PartFile, ...]:
    """Return the first files, as many as make one that is not too large; none if they are too few."""
    found: list[PartFile] = []
    for file in files:
        if found and sum(one.bytes for one in found) + file.bytes > LARGE:
            break
        found.append(file)
        if len(found) == TOGETHER:
            return tuple(found)
    return tuple(found) if len(found) > 1 and len(files) >= TOGETHER else ()


def find_dropped(
    files: Sequence[PartFile], keep: Keep, today: str, oldest: str
) -> Iterator[tuple[str, PartFile]]:
    """Yield what is to be dropped, the oldest first, with the cause: ``age`` or ``bytes``.

    Args:
        files: All of a stream.
        keep: How much is kept.
        today: The day, in UTC.
        oldest: The first day that is kept.
    """
    left = sum(file.bytes for file in files)
    for file in sorted(files, key=lambda file: (file.day, file.first)):
        if file.day < oldest:
            left -= file.bytes
            yield "age", file
        elif left > keep.bytes:
            left -= file.bytes
            yield "bytes", file


def count_rows(dropped: Sequence[tuple[str, PartFile]]) -> Counter[str]:
    """Return cause → rows."""
    found: Counter[str] = Counter()
    for cause, file in dropped:
        found[cause] += file.rows
    return found
