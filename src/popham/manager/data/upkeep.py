"""What becomes of files: which are merged, and which are dropped. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

from popham.manager.data.catalog import PartFile

TOGETHER = 8
"""Files of one level that are merged."""
LARGE = 64 * 1024 * 1024
"""Bytes of a file from which it is merged no more."""


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
    small = sorted((file for file in files if file.bytes < LARGE), key=_rank)
    for _, same in groupby(small, key=lambda file: (file.day, file.level)):
        found = tuple(islice(same, TOGETHER))
        if len(found) == TOGETHER:
            return found
    return ()


def _rank(file: PartFile) -> tuple[str, int, int]:
    return file.day, file.level, file.first


def find_dropped(files: Sequence[PartFile], keep: Keep, oldest: str) -> Iterator[tuple[str, PartFile]]:
    """Yield what is to be dropped, the oldest first, with the cause: ``age`` or ``bytes``.

    Args:
        files: All of a stream.
        keep: How much is kept.
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
