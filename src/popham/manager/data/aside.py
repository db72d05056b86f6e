"""What agents sent and nobody can read: kept for whoever looks into it, within bounds, and counted by reason."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Final
from uuid import UUID

from popham.manager.data.payload import Reason
from popham.manager.data.rows import Entry

_log = logging.getLogger(__name__)
LIMIT: Final = 64 * 1024 * 1024
"""Bytes of all that is kept of one stream."""


class Shelf:
    """The frames of one stream that could not be read, whole or in part. Blocks on files."""

    def __init__(self, folder: Path, *, limit: int = LIMIT) -> None:
        """Keep them in ``folder``, ``limit`` bytes of them; the newest frames that do not fit are counted only."""
        self._folder = folder
        self._limit = limit
        self._bytes: int | None = None
        self._counts: Counter[str] = Counter()

    def put(self, entry: Entry, reason: Reason, count: int) -> None:
        """Set aside ``count`` records of an entry."""
        head = entry.frame.head
        name = f"{UUID(bytes=head.uid)}-{head.epoch}-{head.first}.{reason}"
        self._counts[reason] += count
        if self._bytes is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._bytes = sum(path.stat().st_size for path in self._folder.iterdir())
        path = self._folder / name
        if self._bytes + head.total <= self._limit and not path.exists():
            path.write_bytes(entry.frame.encode())
            self._bytes += head.total

    def take(self) -> Counter[str]:
        """Return how many records were set aside since this was asked last, by reason."""
        counts, self._counts = self._counts, Counter()
        for reason, count in counts.items():
            _log.warning("%d records cannot be read (%s), and are set aside: %s", count, reason, self._folder)
        return counts
