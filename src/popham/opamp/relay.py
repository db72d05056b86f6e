"""The exchange between a Proxy Manager and what stands above it; sans I/O, the same at both ends.

Rules:

1. One exchange at a time: a message of one end, then one of the other.  Whoever opened the connection begins.
2. What is said is state: the newest of one agent, one group, one place.  Saying it twice changes nothing, so what the
   other end did not name as heard is simply said again, with what it is by then.
3. Each end has a boot, drawn as its process starts.  A new boot of the other end has heard nothing: what it knows by
   its cache it says in its first message (as digests), and it is told the rest.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from enum import Enum, auto
from typing import Generic, TypeVar

from popham.errors import WireError
from popham.model.generation import GENERATION
from popham.opamp.schema.popham.v1.popham_pb2 import RelayHead

RELAY_PATH = "/v1/relay"
AGENTS_MAX = 512
"""Agents of which one message says something."""
BYTES_MAX = 1024 * 1024
"""Bytes at which no more is added to a message; a single thing may be larger. Source: the bound of an append."""
RELAY_LIMIT = 4 * 1024 * 1024
"""Bytes of one message. Source: guarantees SEC-9."""
K = TypeVar("K", bound=Hashable)


class Outbox(Generic[K]):
    """Keys of what is to be said to the other end, in the order in which it came up; each waits once."""

    def __init__(self) -> None:
        """Have nothing to say."""
        self._waiting: dict[K, None] = {}
        self._said: dict[K, None] = {}

    def __len__(self) -> int:
        """Return how many wait, without those that were said and not heard yet."""
        return len(self._waiting)

    @property
    def waits(self) -> bool:
        """Whether something waits, or was said and is not known to have arrived."""
        return bool(self._waiting or self._said)

    @property
    def said(self) -> Iterable[K]:
        """Return what was said and is not known to have arrived; it waits no more, unless it was marked since."""
        return self._said.keys() - self._waiting.keys() if self._said else ()

    def mark(self, keys: Iterable[K]) -> None:
        """Have these said, or said again."""
        self._waiting.update(dict.fromkeys(keys))

    def take(self, most: int) -> list[K]:
        """Return the first that wait, to be said now."""
        if not self._waiting:
            return []
        found = [key for key, _ in zip(self._waiting, range(most), strict=False)]
        for key in found:
            del self._waiting[key]
            self._said[key] = None
        if not self._waiting:
            self._waiting = {}  # one that was emptied key by key keeps its size
        return found

    def put_back(self, keys: Iterable[K]) -> None:
        """Let these wait, before all others: there was no room for them after all."""
        back = dict.fromkeys(keys)
        for key in back:
            self._said.pop(key, None)
        self._waiting = back | self._waiting

    def drop(self, key: K) -> None:
        """Say nothing of this any more."""
        self._waiting.pop(key, None)
        self._said.pop(key, None)

    def clear(self) -> None:
        """Have nothing to say."""
        self._waiting, self._said = {}, {}

    def heard(self) -> None:
        """Take note that what was said has arrived."""
        self._said = {}

    def lost(self) -> None:
        """Take note that what was said may not have arrived: it waits again, before the rest."""
        self._waiting, self._said = self._said | self._waiting, {}


class News(Enum):
    """What the head of a message means for what this end said."""

    BOOTED = auto()
    """The other end's process is another, or did not know this one: it has heard nothing."""
    HEARD = auto()
    """It has heard this end's last message."""
    LOST = auto()
    """It has not."""


class Exchange:
    """One end's count of an exchange.

    Attributes:
        other: Boot of the other end; 0 before it was heard.
    """

    def __init__(self, boot: int) -> None:
        """Begin.

        Args:
            boot: Drawn as the process starts: 64 bits, not 0.
        """
        self._boot = boot
        self._number = 0
        self.other = 0
        self._heard = 0

    def head(self, *, more: bool = False) -> RelayHead:
        """Return the head of this end's next message; ``more`` says that there is more to say at once."""
        self._number += 1
        return RelayHead(
            boot=self._boot,
            other=self.other,
            number=self._number,
            heard=self._heard,
            more=more,
            generation=GENERATION,
        )

    def hear(self, head: RelayHead) -> News:
        """Take note of a message of the other end.

        Raises:
            WireError: ``wire.relay``: it has no boot or number.
        """
        if not head.boot or not head.number:
            raise WireError("relay", "a message of a relay does not say from which process it is")
        booted = head.boot != self.other
        self.other, self._heard = head.boot, head.number
        if booted or head.other != self._boot:
            return News.BOOTED
        return News.HEARD if head.heard == self._number else News.LOST

    def unheard(self) -> None:
        """Take note that the last message of the other end was not taken after all: it is not named as heard."""
        self._heard = 0
