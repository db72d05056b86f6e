"""All that a proxy holds, by agent and stream: what goes up next, and what is needed of the log.

Rules:

1. Events first, then the summary, then metrics, then logs.
2. Within a stream agents take turns, each with as many bytes as the others.  Whose frames are not taken above waits by
   itself, and holds up nobody.

Source: deficit round robin (Shreedhar and Varghese, 1995).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from popham.proxy.spool.held import UNANSWERED, Epoch, Held, Lane
from popham.proxy.spool.log import Place
from popham.streams.frame import Stream
from popham.streams.standing import Standing

QUANTUM: Final = 32 * 1024
"""Bytes that an agent may add in each turn."""
Key = tuple[bytes, Stream]
Chosen = list[tuple[Lane, list[Held]]]
"""What is said at once of each lane, in the order in which it is to be said."""


class Lanes:
    """Lanes, one per agent and stream.

    Attributes:
        live: Number of a segment → how many of its frames are held.
        costs: Agent → bytes that its frames count.
        cost: Bytes that all count.
        dropped: Why → records that were held, and will not go up from here.
    """

    def __init__(self) -> None:
        self.live: Counter[int] = Counter()
        self.live_bytes: Counter[int] = Counter()
        self.costs: Counter[bytes] = Counter()
        self.cost = 0
        self.dropped: Counter[str] = Counter()
        self._lanes: dict[Key, Lane] = {}
        self._rings: dict[Stream, deque[Lane]] = {stream: deque() for stream in Stream}
        self._queued: set[Lane] = set()
        self._said: set[Key] = set()
        self._depth: dict[Stream, Counter[str]] = {stream: Counter() for stream in Stream}

    # What there is.

    def find(self, uid: bytes, stream: Stream) -> Lane | None:
        """Return the lane of a stream of an agent; None if nothing of it is held."""
        return self._lanes.get((uid, stream))

    def epoch(self, uid: bytes, stream: Stream, epoch: int) -> Epoch | None:
        """Return what is held of an epoch; None for nothing."""
        lane = self.find(uid, stream)
        return lane.epochs.get(epoch) if lane is not None else None

    def newest(self, uid: bytes, stream: Stream) -> int:
        """Return the newest epoch of which something is held; 0 for none."""
        lane = self.find(uid, stream)
        return max(lane.epochs, default=0) if lane is not None else 0

    @property
    def records(self) -> int:
        """Return how many records are held."""
        return sum(found["records"] for found in self._depth.values())

    def depth(self) -> dict[str, Any]:
        """Return stream → records, bytes, and since when the oldest frame is here (unix seconds; None for none)."""
        oldest: dict[Stream, float] = {}
        for lane in self._lanes.values():
            if lane.oldest is not None:
                since = lane.oldest.stamp.received
                oldest[lane.stream] = min(since, oldest.get(lane.stream, since))
        return {
            str(stream): {
                "records": found["records"],
                "bytes": found["bytes"],
                "oldest": oldest.get(stream),
            }
            for stream, found in self._depth.items()
        }

    # What comes, and goes.

    def add(self, held: Held, word: Callable[[], Standing | None]) -> bool:
        """Hold a frame; returns False if it is held, or above, already.

        Args:
            held: The frame.
            word: Returns what was said above of its epoch; asked if nothing of that is held yet.

        Raises:
            StreamError: As ``Receiving.offer``.
        """
        head = held.head
        key = head.uid, head.stream
        lane = self._lanes.get(key) or Lane(*key)
        epoch = lane.epochs.get(head.epoch) or Epoch(head.stream, head.epoch, word())
        if not epoch.add(held):
            return False
        lane.epochs[head.epoch] = epoch
        lane.order.append(held)
        self._lanes[key] = lane
        self._count(lane, held, 1)
        self._queue(lane)
        return True

    def hear(self, uid: bytes, word: Standing) -> bool:
        """Take what was said above of an epoch; returns whether anything is held no more."""
        lane = self.find(uid, word.stream)
        epoch = lane.epochs.get(word.epoch) if lane is not None else None
        if lane is None or epoch is None:
            return False
        there, wrong = epoch.hear(word)
        self._drop(lane, there)
        self._drop(lane, wrong, "refused")
        return bool(there or wrong)

    def drop(self, lane: Lane, gone: Iterable[Held], why: str) -> None:
        """Hold frames no more that are not above; they are counted under ``why``."""
        found = set(gone)
        for epoch in lane.epochs.values():
            epoch.drop(found)
        self._drop(lane, found, why)

    def discard(self, uid: bytes, why: str) -> None:
        """Hold nothing more of an agent."""
        for stream in Stream:
            lane = self.find(uid, stream)
            if lane is not None:
                self.drop(lane, lane.order, why)

    def expire(self, before: float) -> None:
        """Hold nothing that came before a time (unix seconds) of what agents still have themselves, or nobody above answers.

        Whoever is above takes nothing of an agent that was taken from this proxy, or removed.
        """
        for lane in tuple(self._lanes.values()):
            old = [one for one in lane.order if one.stamp.received < before]
            copies = [one for one in old if not one.stamp.promised]
            if copies:
                self.drop(lane, copies, "age")
            if old and lane.unanswered >= UNANSWERED:
                self.drop(lane, [one for one in old if one.stamp.promised], "unanswered")

    def move(self, held: Held, place: Place) -> None:
        """Take note that a frame stands elsewhere now, if it is held still."""
        lane = self.find(held.head.uid, held.head.stream)
        if lane is None or held not in lane.order:
            return
        self._count_place(held, -1)
        held.place = place
        self._count_place(held, 1)

    def in_segment(self, number: int) -> list[Held]:
        """Return what is held in a segment."""
        return [one for lane in self._lanes.values() for one in lane.order if one.place.segment == number]

    def _drop(self, lane: Lane, gone: Iterable[Held], why: str = "") -> None:
        found = set(gone)
        if not found:
            return
        lane.remove(found)
        for one in found:
            self._count(lane, one, -1)
            if why:
                self.dropped[why] += one.records
        if not lane.order:
            key = lane.uid, lane.stream
            del self._lanes[key]
            self._said.discard(key)
            lane.wake()

    def _count(self, lane: Lane, held: Held, sign: int) -> None:
        depth = self._depth[lane.stream]
        depth["records"] += sign * held.records
        depth["bytes"] += sign * held.place.size
        self.cost += sign * held.cost
        self.costs[lane.uid] += sign * held.cost
        if not self.costs[lane.uid]:
            del self.costs[lane.uid]
        self._count_place(held, sign)

    def _count_place(self, held: Held, sign: int) -> None:
        for counts, by in ((self.live, 1), (self.live_bytes, held.place.size)):
            counts[held.place.segment] += sign * by
            if not counts[held.place.segment]:
                del counts[held.place.segment]

    # What goes up.

    def _queue(self, lane: Lane) -> None:
        if lane not in self._queued:
            self._queued.add(lane)
            self._rings[lane.stream].append(lane)

    def waits(self, now: float) -> bool:
        """Return whether something is to be said now (monotonic seconds)."""
        return any(lane.next(now) is not None for ring in self._rings.values() for lane in ring)

    def choose(self, limit: int, now: float) -> Chosen:
        """Return what is to be said now, about ``limit`` bytes, and take note that it is."""
        chosen: dict[Key, tuple[Lane, list[Held]]] = {}
        left = limit
        for stream in Stream:
            ring, idle = self._rings[stream], 0
            while idle < len(ring):
                lane = ring.popleft()
                key = lane.uid, stream
                found, left, is_full = self._serve(lane, left, now, first=not chosen)
                if found:
                    chosen.setdefault(key, (lane, []))[1].extend(found)
                    self._said.add(key)
                if is_full:
                    ring.appendleft(lane)
                    return list(chosen.values())
                idle = idle + 1 if lane.next(now) is None else 0
                if lane.order:
                    ring.append(lane)
                else:
                    self._queued.discard(lane)
                    idle = 0
        return list(chosen.values())

    def _serve(self, lane: Lane, left: int, now: float, *, first: bool) -> tuple[list[Held], int, bool]:
        """Return what a lane says in its turn, the bytes that are left, and whether no more goes into the message."""
        found: list[Held] = []
        lane.look(now)
        one = lane.next(now)
        if one is None:
            lane.credit = 0
            return found, left, False
        lane.credit += QUANTUM
        while one is not None and one.place.size <= lane.credit:
            if one.place.size > left and not (first and not found):
                return found, left, True
            left -= one.place.size
            lane.note_said(one, now)
            found.append(one)
            one = lane.next(now)
        if one is None:
            lane.credit = 0
        return found, left, left <= 0

    def lost(self) -> None:
        """Take note that what was said may not have arrived."""
        for key in self._said:
            lane = self._lanes.get(key)
            if lane is not None:
                lane.again()
        self._said.clear()
