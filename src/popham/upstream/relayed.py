"""Where an agent is that is not spoken with directly: at a Proxy Manager, which says when it was heard of.

Whatever a proxy says of its agents' presence is kept as the text that came, one for each proxy; a byte of it is read when
somebody asks about one agent.  So an exchange with a proxy of many quiet agents costs the same as with one of few.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from popham.model.status import OVERDUE
from popham.upstream.presence import LINKED, UNKNOWN, decode_age

if TYPE_CHECKING:
    from popham.upstream.record import Record


@dataclass(slots=True, eq=False)
class Roll:
    """What one process of a proxy said last of when its agents were heard of.

    Attributes:
        proxy: The proxy that relays here.
        boot: Of its process: places in the text are its own.
        text: One byte for each agent, as :mod:`popham.upstream.presence` writes them.
        at: Unix seconds at which it came.
        now: Returns the time, in unix seconds; by default what was said of links holds for ever.
    """

    proxy: Record
    boot: int
    text: bytes = b""
    at: float = 0.0
    now: Callable[[], float] = field(default=lambda: 0.0, repr=False)

    def call(self, index: int) -> int:
        """Return the byte at a place."""
        return self.text[index] if index < len(self.text) else UNKNOWN


@dataclass(slots=True, eq=False)
class Relayed:
    """An agent's place in what a proxy says.

    Attributes:
        roll: That.
        index: The place.
        promise: Seconds from one contact with its own upstream to the next; what the byte counts in.
        said: Unix seconds at which it was heard of there, when something else was said of it.
        held: Whether it held a link there then.
        unvisited: Why it cannot be visited from there: code and sentence; empty if it can, or is not.
        ordered: Whether something of operations was told of it when it was told of last.
        want_state: Whether it is to sign its state anew, since the nonce in it was old.
        want_bundle: Whether it holds more than its group has here.
    """

    roll: Roll
    index: int
    promise: float
    said: float = 0.0
    held: bool = False
    unvisited: str = ""
    ordered: bool = field(default=False, repr=False)
    want_state: bool = False
    want_bundle: bool = False

    @property
    def last_contact(self) -> float:
        """Return when it was heard of, in unix seconds."""
        age = decode_age(self.roll.call(self.index), self.promise)
        return self.said if age is None else max(self.said, self.roll.at - age)

    @property
    def is_linked(self) -> bool:
        """Whether it holds a link to the upstream that it is at, as far as is known: that may be away itself."""
        roll = self.roll
        if roll.now() - max(roll.at, self.said) > OVERDUE * roll.proxy.promise:
            return False
        byte = roll.call(self.index)
        return self.held if byte == UNKNOWN else byte == LINKED
