"""What holds for all that an agent sends of its streams."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from popham.agent.streams.spools import Spools
from popham.agent.streams.way import DataWay, End
from popham.clock import Clock
from popham.streams.frame import Stream
from popham.trust.keys import IdentityKey


@dataclass(slots=True, kw_only=True)
class Terms:
    """What the lanes share.

    Attributes:
        spools: What waits.
        way: By which way it goes.
        end: Knows the settings in force.
        key: Returns the key whose certificate is in use.
        clock: Wall time.
        draw: Random number in [0, 1).
        withheld: Streams of which nothing is sent, as a policy says.
        absent: Time of the loop until which upstream is taken to have no streams: it is older than they are.
    """

    spools: Spools
    way: DataWay
    end: End
    key: Callable[[], IdentityKey]
    clock: Clock
    draw: Callable[[], float]
    withheld: frozenset[Stream] = frozenset()
    absent: float = -math.inf

    def sends(self, stream: Stream) -> bool:
        """Return whether anything of a stream is to be sent at all."""
        return self.end.settings.upload and stream not in self.withheld
