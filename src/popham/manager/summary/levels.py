"""Levels of roll-ups: how long their windows are, how long they are kept, and when a value of one is whole. Pure.

Source: Systemwalker SQC: raw summary 3 days, 10 minutes 7 days, 1 hour 6 weeks, 1 day 13 months; a value of a window is
one only if 70 %, 70 %, 1 % of its samples came.

Bytes as Parquet with zstd, of the six values that an agent of ours samples every minute, were they all noise (whole
days are deleted, so of each level there is up to a day more than is promised):

==========  =================  ========  ===================  ==============
level       an agent in a day  kept for  an agent, all of it  100,000 agents
==========  =================  ========  ===================  ==============
raw         134 kB             4 days    534 kB               53 GB
10 minutes  23 kB              8 days    183 kB               18 GB
1 hour      3.7 kB             43 days   161 kB               16 GB
1 day       0.16 kB            397 days  62 kB                6 GB
==========  =================  ========  ===================  ==============

Of the raw summary the bound of bytes in the settings takes the oldest days first: 5 GiB are four days of 10,000 agents.
A window of ten minutes is made within a quarter of an hour, so roll-ups do not miss what is dropped so.  Making one
costs 0.3 s of CPU for a million samples: 100,000 agents' ten minutes are 6 million.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

DAY: Final = 86_400
"""Seconds of a day."""
RAW_KEEP: Final = 3 * DAY
"""Seconds that the summary itself is kept; what comes later than that counts nowhere."""
LATENESS: Final = 300
"""Seconds after the end of a window until it is rolled up: most of what is late has come then. What comes later still
has the window rolled up again."""


@dataclass(frozen=True, slots=True)
class Level:
    """One level.

    Attributes:
        name: How people call it.
        seconds: Of a window.
        keep: Seconds that it is kept.
        share: Of the expected samples; from this on a value is whole.
    """

    name: str
    seconds: int
    keep: int
    share: float

    def window(self, at: int) -> int:
        """Return the beginning of the window that a time is in; unix seconds."""
        return at - at % self.seconds

    def is_due(self, window: int, now: float) -> bool:
        """Return whether a window that begins at ``window`` can be rolled up."""
        return now >= window + self.seconds + LATENESS

    def is_kept(self, at: int, now: float) -> bool:
        """Return whether the day that a time is in is still kept."""
        return at - at % DAY + DAY + self.keep > now


LEVELS: Final = (
    Level("10m", 600, 7 * DAY, 0.7),
    Level("1h", 3600, 42 * DAY, 0.7),
    Level("1d", DAY, 396 * DAY, 0.01),
)
"""All levels, the finest first; each is made of the one before, the first of the summary itself."""
BY_NAME: Final = MappingProxyType({level.name: level for level in LEVELS})
