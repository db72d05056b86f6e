"""What operations printed or made: asked for, kept within bounds, and dropped.

Rules:

1. An output is asked for once the result that names it is durable; a row without bytes stands for it until then,
   so that a start knows what is still to come.
2. Outputs are kept for :data:`KEPT`, and :data:`TOTAL` bytes of them; the oldest are dropped first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from popham.clock import Clock
from popham.errors import NotFoundError
from popham.store.rows import OutputRow, TargetRow
from popham.store.seam import Reading, Store, Writing
from popham.trust.verify import check_blob

KEPT: Final = 30 * 86_400.0
"""Seconds that an output is kept."""
TOTAL: Final = 512 * 1024 * 1024
"""Bytes of all outputs."""
_Key = tuple[int, str]


class Outputs:
    """The outputs of one Manager."""

    def __init__(self, store: Store, clock: Clock, *, total: int = TOTAL) -> None:
        """Know of none yet: :meth:`load` reads; ``total`` bytes are kept."""
        self._store = store
        self._clock = clock
        self._total = total
        self._awaited: dict[str, dict[str, dict[_Key, tuple[int, float]]]] = {}
        self._kept: dict[_Key, tuple[float, int]] = {}
        self._bytes = 0

    async def load(self) -> None:
        """Read which there are, and which are still to come. Raises StateError."""

        def work(tx: Reading) -> tuple[list[tuple[int, str, float, int]], list[TargetRow]]:
            found = tx.outputs()
            targets = [tx.target(number, uid) for number, uid, _, length in found if not length]
            return found, [row for row in targets if row is not None]

        found, targets = await self._store.read(work)
        kept = {(number, uid): (at, length) for number, uid, at, length in found if length}
        self._kept = dict(sorted(kept.items(), key=lambda item: item[1][0]))
        self._bytes = sum(length for _, length in self._kept.values())
        for row in targets:
            self.expect(row)

    def awaited(self) -> dict[str, tuple[str, ...]]:
        """Return agent → digests that are still to come."""
        return {uid: tuple(digests) for uid, digests in self._awaited.items()}

    def has(self, number: int, uid: str) -> bool:
        """Return whether the output of a target is here."""
        return (number, uid) in self._kept

    def expect(self, row: TargetRow) -> bool:
        """Take note that an output is to come; False if it is here, or of no use any more."""
        key = (row.operation, row.uid)
        if key in self._kept or self._clock.now() - row.since > KEPT:
            return False
        self._awaited.setdefault(row.uid, {}).setdefault(row.output, {})[key] = (row.length, row.since)
        return True

    async def take(self, uid: str, sha256: str, body: bytes) -> None:
        """Keep an output; errors as :meth:`popham.upstream.orders.Ordering.take_output`."""
        if not self._awaited.get(uid, {}).get(sha256):
            await self._find(uid, sha256)
            return
        # Another operation may have made the same, and be asked for it while this is written.
        while keys := self._awaited.get(uid, {}).get(sha256):
            await self._keep(keys, sha256, body)

    async def _keep(self, keys: Mapping[_Key, tuple[int, float]], sha256: str, body: bytes) -> None:
        """Keep one body as the output of these targets of one agent."""
        check_blob(body, sha256, next(iter(keys.values()))[0])
        rows = [
            OutputRow(operation=number, uid=uid, at=at, length=len(body), data=body)
            for (number, uid), (_, at) in keys.items()
        ]
        dropped = self._surplus(len(body) * len(rows))

        def work(tx: Writing) -> None:
            for row in rows:
                tx.put_output(row)
            for number, of in dropped:
                tx.delete_output(number, of)

        await self._store.write(work)
        self._forget(
            [*dropped, *((row.operation, row.uid) for row in rows)]
        )  # it may have come twice at once
        for row in rows:
            self._kept[row.operation, row.uid] = (row.at, row.length)
            self._bytes += row.length
        self._forget_awaited(rows[0].uid, sha256, [(row.operation, row.uid) for row in rows])

    async def sweep(self) -> None:
        """Drop what is too old, and no longer ask for it. Raises StateError."""
        before = self._clock.now() - KEPT
        old = [key for key, (at, _) in self._kept.items() if at < before]
        for uid, digests in list(self._awaited.items()):
            for sha256, keys in list(digests.items()):
                gone = [key for key, (_, at) in keys.items() if at < before]
                old += gone
                self._forget_awaited(uid, sha256, gone)
        if old:
            await self._store.write(lambda tx: _delete(tx, old))
            self._forget(old)

    def forget_operation(self, number: int) -> None:
        """Take note that an operation was deleted with its outputs."""
        self._forget([key for key in self._kept if key[0] == number])
        for uid, digests in list(self._awaited.items()):
            for sha256, keys in list(digests.items()):
                self._forget_awaited(uid, sha256, [key for key in keys if key[0] == number])

    def forget(self, row: TargetRow) -> None:
        """Take note that an output, which was to come, is to be had no more."""
        self._forget_awaited(row.uid, row.output, [(row.operation, row.uid)])

    def _forget_awaited(self, uid: str, sha256: str, gone: list[_Key]) -> None:
        digests = self._awaited.get(uid, {})
        keys = digests.get(sha256, {})
        for key in gone:
            keys.pop(key, None)
        if not keys:
            digests.pop(sha256, None)
        if not digests:
            self._awaited.pop(uid, None)

    def _forget(self, keys: list[_Key]) -> None:
        for key in keys:
            _, length = self._kept.pop(key, (0.0, 0))
            self._bytes -= length

    def _surplus(self, more: int) -> list[_Key]:
        """Return the outputs that are here the longest, which have to go before so many more bytes are kept."""
        over = self._bytes + more - self._total
        found: list[_Key] = []
        for key, (_, length) in self._kept.items():
            if over <= 0:
                break
            found.append(key)
            over -= length
        return found

    async def _find(self, uid: str, sha256: str) -> None:
        """Return if an output is here already: the answer that said so was lost. Raises NotFoundError."""
        rows = await self._store.read(lambda tx: tx.targets_of(uid))
        if not any(row.output == sha256 and (row.operation, uid) in self._kept for row in rows):
            problem = "no result of this agent names that output, or it is not kept any more"
            raise NotFoundError("output", problem)


def _delete(tx: Writing, keys: list[_Key]) -> None:
    for number, uid in keys:
        tx.delete_output(number, uid)
