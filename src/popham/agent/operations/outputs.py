"""Outputs of operations, kept on the machine until upstream has them: a bounded number, for a bounded time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final

from popham.agent.operations.ledger import Entry
from popham.agent.storage import Storage
from popham.errors import StateError
from popham.model.names import digest
from popham.model.operation import OUTPUT_LIMIT, Output

FOLDER: Final = "outputs"
NUMBER: Final = 16
"""Outputs that are kept at most."""
TOTAL: Final = 8 * 1024 * 1024
"""Bytes of all of them at most."""
KEPT: Final = 7 * 86_400.0
"""Seconds for which one is kept that nobody fetches."""


class Outputs:
    """Keeps outputs as files of the state directory, named by their digests."""

    def __init__(self, storage: Storage) -> None:
        """Keep them in ``storage``."""
        self._storage = storage

    def keep(self, data: bytes, *, left_out: int = 0) -> Output:
        """Keep an output, durable.

        Raises:
            StateError: ``state.disk``: it cannot be kept.
        """
        sha256 = digest(data)
        self._storage.write(f"{FOLDER}/{sha256}", data)
        return Output(sha256=sha256, length=len(data), left_out=left_out)

    def read(self, sha256: str) -> bytes | None:
        """Return an output; None if it is not here, or damaged."""
        if sha256 not in self._names():
            return None
        try:
            data = self._storage.read(f"{FOLDER}/{sha256}", OUTPUT_LIMIT)
        except (StateError, OSError):
            return None
        return data if data is not None and digest(data) == sha256 else None

    def drop(self, sha256: str) -> None:
        """Forget an output; where it cannot be removed now, :meth:`tidy` does it later."""
        with contextlib.suppress(StateError):
            self._storage.remove(f"{FOLDER}/{sha256}")

    def tidy(self, entries: Iterable[Entry], now: float) -> None:
        """Forget what no entry names, what is old, and of more than may be kept the oldest."""
        named = {one.output.sha256: one for one in entries if one.output is not None}
        names = self._names()
        held = [named[name] for name in names if name in named]
        held.sort(key=lambda one: one.ended, reverse=True)
        stay: set[str] = set()
        total = 0
        for entry in held:
            output = entry.output
            if output is None or len(stay) == NUMBER or now - entry.ended > KEPT:
                continue
            if total + output.length <= TOTAL:
                total += output.length
                stay.add(output.sha256)
        for name in names:
            if name not in stay:
                self.drop(name)

    def _names(self) -> list[str]:
        """Return what is kept; nothing where the disk cannot say."""
        try:
            return self._storage.names(FOLDER)
        except OSError:
            return []
