"""What waits for the writer: bounded in bytes, and fair between agents.

Rules:

1. Everything between admission and the disk counts, what is being written too; so memory is bounded.
2. A batch is one round: each agent that waits adds what its credit allows, a quantum per round. So an agent that
   sends a hundred times as much makes a batch longer by a quantum, and never by what it sends. What waits are single
   frames, so that nothing large stands before others at once.
3. What one agent sent stays in its order.

Source: deficit round robin (Shreedhar and Varghese, 1995).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

LIMIT: Final = 32 * 1024 * 1024
"""Bytes that may wait in all."""
SHARE: Final = 4 * 1024 * 1024
"""Bytes that may wait of one agent: four appends of the largest size."""
QUANTUM: Final = 32 * 1024
"""Bytes that an agent adds to each batch, on average: a third of a millisecond of a disk that takes 100 MB/s."""


class Waiting(Protocol):
    """Something that waits."""

    @property
    def uid(self) -> bytes:
        """Whose it is."""
        ...

    @property
    def size(self) -> int:
        """Bytes of it."""
        ...


T = TypeVar("T", bound=Waiting)


@dataclass(slots=True)
class _Lane(Generic[T]):
    """What waits of one agent.

    Attributes:
        items: In their order.
        credit: Bytes that it may add now.
        size: Bytes of what waits and of what is being written.
    """

    items: deque[T] = field(default_factory=deque)
    credit: int = 0
    size: int = 0


class Queue(Generic[T]):
    """Lanes, one per agent. It is not safe to use from two threads at once.

    Attributes:
        size: Bytes of all that waits or is being written.
    """

    def __init__(self, *, limit: int = LIMIT, share: int = SHARE, quantum: int = QUANTUM) -> None:
        """Make an empty queue of these bounds, in bytes."""
        self._limit = limit
        self._share = share
        self._quantum = quantum
        self._lanes: dict[bytes, _Lane[T]] = {}
        self._round: deque[bytes] = deque()
        self.size = 0

    def __bool__(self) -> bool:
        """Return whether something waits to be taken."""
        return bool(self._round)

    def room(self, uid: bytes) -> int:
        """Return how many bytes more are taken of an agent now."""
        lane = self._lanes.get(uid)
        return max(0, min(self._limit - self.size, self._share - (lane.size if lane else 0)))

    def push(self, item: T) -> None:
        """Append an item to the lane of its agent; whoever calls has asked for :meth:`room`."""
        lane = self._lanes.setdefault(item.uid, _Lane())
        if not lane.items:
            self._round.append(item.uid)
        lane.items.append(item)
        lane.size += item.size
        self.size += item.size

    def take(self) -> list[T]:
        """Return what goes into the next batch; something, if anything waits."""
        taken: list[T] = []
        while self._round and not taken:
            for _ in range(len(self._round)):
                uid = self._round.popleft()
                if self._serve(self._lanes[uid], taken):
                    self._round.append(uid)
        return taken

    def settle(self, items: list[T]) -> None:
        """Note that what was taken is written, or refused: it counts no more."""
        for item in items:
            lane = self._lanes[item.uid]
            lane.size -= item.size
            self.size -= item.size
            if not lane.size and not lane.items:
                del self._lanes[item.uid]

    def _serve(self, lane: _Lane[T], taken: list[T]) -> bool:
        """Take what one lane may add; returns whether it goes on waiting."""
        lane.credit += self._quantum
        while lane.items and lane.items[0].size <= lane.credit:
            item = lane.items.popleft()
            lane.credit -= item.size
            taken.append(item)
        if not lane.items:
            # Credit is for who waits; nobody saves it up.
            lane.credit = 0
        return bool(lane.items)
