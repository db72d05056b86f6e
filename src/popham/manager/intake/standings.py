"""How far the intake is with each stream of each agent: small, since there are many, and few are used at a time.

One thread changes it; others may look.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec

from popham.errors import StateError, StreamError
from popham.manager.intake.position import Position
from popham.manager.intake.views import Known
from popham.store.data_rows import StreamRow
from popham.streams.frame import Stream
from popham.streams.receiving import Receiving

EPOCHS: Final = 8
"""Epochs of one stream of one agent that are known, the newest; frames of older ones are refused."""
_EPOCH: Final = 8
NEARER: Final = 0.1
"""Seconds by which a clock must be further ahead than was known, until that is believed."""
SLOWER: Final = 1.0
"""Seconds by which it must be less far ahead: what was long on the way looks like it."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
ABSENT: Final = "absent"
"""Cause under which people are shown what a Proxy Manager took and did not bring: it may still come, or its disk is gone."""


@dataclass(slots=True)
class Held:
    """One epoch of one stream of one agent.

    Attributes:
        receiving: How far it is.
        skew: Seconds that the agent's clock was ahead of ours; None if that is not known.
        waiting: Records that waited at the agent, as it said last; None if it did not.
        received: When its newest frames came, unix seconds.
    """

    receiving: Receiving
    skew: float | None = None
    waiting: int | None = None
    received: float = 0.0

    def note_skew(self, found: float | None) -> None:
        """Take note of a skew; one that differs little from the last leaves it as it is.

        What was written at one moment and comes in two parts must stand in its order, so both are corrected alike.
        """
        if found is not None and (self.skew is None or not self.skew - SLOWER <= found <= self.skew + NEARER):
            self.skew = found

    def as_dict(self) -> dict[str, Any]:
        """Return it as what JSON has."""
        notes = {"skew": self.skew, "waiting": self.waiting, "received": self.received}
        return {**self.receiving.as_dict(), **notes}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Held:
        """Return what :meth:`as_dict` returned. Raises StateError or KeyError."""
        return cls(Receiving.from_dict(found), found["skew"], found["waiting"], found["received"])

    def encode(self) -> bytes:
        """Return it as few bytes: its epoch, and the values alone."""
        return self.receiving.epoch.to_bytes(_EPOCH, "big") + _encode(list(self.as_dict().values()))

    @classmethod
    def decode(cls, data: bytes) -> Held:
        """Return what :meth:`encode` was called on."""
        return cls.from_dict(dict(zip(_NAMES, _decode(data[_EPOCH:]), strict=True)))


_NAMES: Final = tuple(Held(Receiving(Stream.EVENTS, 1)).as_dict())


@dataclass(slots=True)
class Total:
    """Of all agents, in records.

    Attributes:
        stored: That became durable.
        lost: Cause → that they had to drop.
        taken, dropped: Likewise, of those that were heard of since the start; they never fall.
    """

    stored: int
    lost: Counter[str]
    taken: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


class Standings:
    """What is known of one stream.

    Attributes:
        total: Of all agents.
        changed: (uid, epoch) of what is not in the cache yet.
        dropped: Agents of whom something is known no more: one entry, however many epochs one makes.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.total = Total(0, Counter())
        self.changed: set[tuple[bytes, int]] = set()
        self.dropped: set[bytes] = set()
        self._newest: dict[bytes, bytes] = {}
        self._older: dict[bytes, dict[int, bytes]] = {}

    def newest(self, uid: bytes) -> int:
        """Return the newest epoch of an agent; 0 for none."""
        found = self._newest.get(uid)
        return _epoch_of(found) if found else 0

    def find(self, uid: bytes, epoch: int) -> Held | None:
        """Return what is known of an epoch, a copy; None for nothing."""
        found = self._newest.get(uid)
        if found is None or _epoch_of(found) != epoch:
            found = self._older.get(uid, {}).get(epoch)
        return None if found is None else Held.decode(found)

    def epochs(self, uid: bytes) -> set[int]:
        """Return the epochs of an agent that are known."""
        return {self.newest(uid), *self._older.get(uid, ())} - {0}

    def all_of(self, uid: bytes) -> Iterator[tuple[int, Held]]:
        """Yield what is known of an agent: each epoch, the newest first."""
        for epoch in sorted(self.epochs(uid), reverse=True):
            held = self.find(uid, epoch)
            if held is not None:
                yield epoch, held

    def known(self, uid: bytes) -> Known | None:
        """Return what is known of an agent, for people; None for nothing."""
        found = [held for _, held in self.all_of(uid)]
        if not found:
            return None
        lost: Counter[str] = Counter()
        for held in found:
            lost.update(held.receiving.lost)
            if held.receiving.absent:
                lost[ABSENT] += held.receiving.absent
        return Known(
            epoch=self.newest(uid),
            stored=sum(held.receiving.stored for held in found),
            lost=lost,
            waiting=found[0].waiting,
            skew=found[0].skew,
            received=max(held.received for held in found),
        )

    def begin(self, uid: bytes, epoch: int) -> Held:
        """Return a new epoch, of which nothing is known; :meth:`keep` keeps it.

        Raises:
            StreamError: ``stream.overlap``: it is older than those that are known, of which there are enough.
        """
        older = self._older.get(uid, {})
        if len(older) >= EPOCHS - 1 and epoch < min(older):
            problem = f"epoch {epoch} of the stream is too old to be known here"
            raise StreamError("overlap", problem, "Begin a new epoch, above the newest that is known")
        return Held(Receiving(self.stream, epoch))

    def keep(self, uid: bytes, held: Held) -> None:
        """Replace what is known of an epoch."""
        epoch = held.receiving.epoch
        encoded = held.encode()
        found, newest = self._newest.get(uid), self.newest(uid)
        if epoch >= newest:
            if found is not None and epoch > newest:
                self._older.setdefault(uid, {})[newest] = found
            self._newest[uid] = encoded
        else:
            self._older.setdefault(uid, {})[epoch] = encoded
        self.changed.add((uid, epoch))
        self._thin(uid)

    def forget(self, uid: bytes) -> None:
        """Know nothing more of an agent."""
        for epoch, held in list(self.all_of(uid)):
            self.total.stored -= held.receiving.stored
            self.total.lost.subtract(held.receiving.lost)
            self._note_dropped(uid, epoch)
        self._newest.pop(uid, None)
        self._older.pop(uid, None)

    def row(self, uid: bytes, epoch: int, at: Position) -> StreamRow | None:
        """Return what the cache is to have of an epoch; None if nothing is known."""
        held = self.find(uid, epoch)
        if held is None:
            return None
        return StreamRow(
            uid=uid_text(uid),
            stream=self.stream,
            epoch=epoch,
            body=json.dumps(held.as_dict(), sort_keys=True),
            segment=at.segment,
            position=at.at,
        )

    def restore(self, row: StreamRow) -> None:
        """Take what the cache had. Raises StateError ``state.corrupt``."""
        try:
            held = Held.from_dict(json.loads(row.body))
        except (KeyError, ValueError, TypeError) as error:
            problem = f"how far stream {row.stream} of agent {row.uid} is cannot be read"
            raise StateError("corrupt", problem, "Restore a backup of the database") from error
        uid = UUID(row.uid).bytes
        self.keep(uid, held)
        self.changed.discard((uid, row.epoch))
        self.total.stored += held.receiving.stored
        self.total.lost.update(held.receiving.lost)

    def _thin(self, uid: bytes) -> None:
        older = self._older.get(uid)
        while older and len(older) >= EPOCHS:
            epoch = min(older)
            del older[epoch]
            self._note_dropped(uid, epoch)

    def _note_dropped(self, uid: bytes, epoch: int) -> None:
        self.dropped.add(uid)
        self.changed.discard((uid, epoch))


def _epoch_of(encoded: bytes) -> int:
    return int.from_bytes(encoded[:_EPOCH], "big")


def uid_text(uid: bytes) -> str:
    """Return a uid as the database has it."""
    return str(UUID(bytes=uid))
