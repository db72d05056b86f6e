"""How much of agents' data is kept, and what reading it may cost."""

from __future__ import annotations

from typing import Annotated

import msgspec

from popham.manager.data.upkeep import Keep
from popham.streams.frame import Stream

_GIB = 1024**3
_Days = Annotated[float, msgspec.Meta(gt=0, le=3660)]
_Bytes = Annotated[int, msgspec.Meta(ge=16 * 1024 * 1024)]


class DataSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of the records of agents, in days and bytes of files; the oldest days go first.

    Attributes:
        logs_days, logs_bytes: Of lines of logs.
        metrics_days, metrics_bytes: Of metrics.
        summary_days, summary_bytes: Of the key metrics of machines, as they came; roll-ups are kept longer.
        events_days, events_bytes: Of events.
        memory: Bytes that answering questions about them may use.
    """

    logs_days: _Days = 7.0
    logs_bytes: _Bytes = 20 * _GIB
    metrics_days: _Days = 30.0
    metrics_bytes: _Bytes = 20 * _GIB
    summary_days: _Days = 3.0
    summary_bytes: _Bytes = 5 * _GIB
    events_days: _Days = 90.0
    events_bytes: _Bytes = 2 * _GIB
    memory: Annotated[int, msgspec.Meta(ge=64 * 1024 * 1024)] = 512 * 1024 * 1024

    def keep(self, stream: Stream) -> Keep:
        """Return how much of a stream is kept."""
        return Keep(getattr(self, f"{stream}_days") * 86_400.0, getattr(self, f"{stream}_bytes"))
