"""What rounds, links and changes were measured to cost, by kind of connection.

The built-in table is of one machine class; ``popham bench --calibrate`` makes
one of the machine that the Manager runs on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from popham.errors import ConfigError

FILE = "measured.json"
"""Where a Manager's own table stands, in its state directory."""


class Connection(StrEnum):
    """How an agent shows who it is."""

    MUTUAL = "mutual TLS"
    TLS = "TLS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What one kind of connection costs the Manager.

    Attributes:
        heartbeat_us: CPU of a round with nothing new on an open connection, in µs.
        connect_us: CPU of a new connection with one such round, in µs.
        link_kb: Memory of one held link, in kB.
        heartbeat_bytes: Bytes of such a round both ways, with the headers of TCP and IP.
        connect_bytes: The same of a new connection with one round.
    """

    heartbeat_us: float
    connect_us: float
    link_kb: float
    heartbeat_bytes: float
    connect_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One table.

    Attributes:
        ways: Kind of connection → what it costs.
        base_mb: Memory of a Manager without agents.
        agent_kb: Memory of an agent that is known, with a link or without.
        change_us: CPU until one agent has a new bundle and its outcome is durable, in µs.
        change_bytes: Bytes of that: directive, report, answers; content comes on top.
        ping_bytes: Bytes of one keepalive and its answer.
        keepalive: Seconds between two of them.
        source: Where and how it was measured, for people.
    """

    ways: Mapping[Connection, Way]
    base_mb: float
    agent_kb: float
    change_us: float
    change_bytes: float
    source: str
    ping_bytes: float = 220.0
    keepalive: float = 45.0

    def as_dict(self) -> dict[str, Any]:
        """Return the table as it stands in :data:`FILE`."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return found | {"ways": {str(kind): asdict(way) for kind, way in self.ways.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Measured:
        """Return the table of a file; what this program does not know is ignored.

        Raises:
            ConfigError: ``config.measured``: a number is missing, or is none.
        """
        try:
            ways = {
                kind: Way(**{field.name: _number(data["ways"][kind][field.name]) for field in fields(Way)})
                for kind in Connection
            }
            numbers = [field.name for field in fields(cls) if field.name not in {"ways", "source"}]
            known = {name: _number(data[name]) for name in numbers if name in data}
            return cls(ways=ways, source=str(data["source"]), **known)
        except (KeyError, TypeError, ValueError) as error:
            problem = f"{FILE} is no table of what was measured: {error!r}"
            raise ConfigError("measured", problem, "Make it again: popham bench --calibrate") from error


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} is no number")
    if value <= 0:
        raise ValueError(f"{value!r} is not above 0")
    return float(value)


BUILT_IN = Measured(
    ways=MappingProxyType(
        {
            # Medians of three runs of popham bench --calibrate, load 3 to 5.
            Connection.MUTUAL: Way(
                heartbeat_us=29.4,
                connect_us=1630.0,
                link_kb=37.4,
                heartbeat_bytes=432.0,
                connect_bytes=4670.0,
            ),
            Connection.TLS: Way(
                heartbeat_us=44.4,
                connect_us=869.0,
                link_kb=18.9,
                heartbeat_bytes=540.0,
                connect_bytes=3200.0,
            ),
        }
    ),
    base_mb=87.1,
    agent_kb=3.9,
    # bench/results/publish.json, mutual TLS, cpu_us_per_agent: thousands of agents, not hundreds.
    change_us=410.0,
    change_bytes=5690.0,
    source="built in, measured on 2 cores of AMD EPYC, 24 GB, Linux 6.18, Python 3.11; "
    "'popham bench --calibrate' measures this machine",
)
"""The table of a machine class: two virtual cores of a server, everything on loopback.

Source: ``popham bench --calibrate`` and ``bench/results`` there.  A ping is two frames of 2 to 6 bytes, each
in a TLS record (22 bytes) and a segment with its acknowledgement (78 to 104).
"""
