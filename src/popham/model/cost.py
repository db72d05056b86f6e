"""What communication settings cost a Manager: pure arithmetic over measured tables.

Rules:

1. Rounds per second are agents ÷ heartbeat; all else follows from what one round, link or connection costs.
2. Where settings differ by time of day, the dearest time counts for the cost, and the longest heartbeat
   for the age.
3. What data costs is not counted here: how much there is depends on what is collected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from popham.model.cell import Dialer, Mode
from popham.model.communication import HEARTBEAT_MAX, CommunicationSettings
from popham.model.measured import Connection, Measured

KEPT = 60.0
"""Seconds of the longest heartbeat in pull whose connection stays open from one round to the next.

Source: the agent's dialer keeps an idle connection so long.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Agents that get in touch alike.

    Attributes:
        agents: How many.
        mode: Push if they hold a link at any time of day.
        dialer: Who opens.
        heartbeat: Seconds; the shortest of any time of day.
        longest: Seconds of the longest heartbeat of any time of day, or on a metered link.
        connection: How they show who they are.
        pulls: Whether a change has to wait for the heartbeat at some time of day.
    """

    agents: int
    mode: Mode = Mode.PUSH
    dialer: Dialer = Dialer.AGENT
    heartbeat: float
    longest: float
    connection: Connection = Connection.MUTUAL
    pulls: bool = False

    @property
    def kept(self) -> bool:
        """Whether a connection stays open from round to round."""
        return self.mode is Mode.PUSH or self.heartbeat <= KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What loads cost in all.

    Attributes:
        agents: How many agents there are.
        rounds_per_second: Rounds with nothing new.
        links: Held links.
        connections: Open connections: held links, and those that pull so often that theirs stays open.
        cpu_cores: Cores busy with that.
        memory_mb: Memory of the Manager.
        bandwidth: Bytes in a second, both ways, while nothing changes.
        age_bound_s: Seconds; what is shown of an agent is not older.
        wait_bound_s: Seconds that a change waits at most until an agent is told; 0 for at once.
        change_cpu_s: Seconds of CPU until all agents have one change and their outcomes are durable.
        change_bytes: Bytes of that, content not counted.
    """

    agents: int = 0
    rounds_per_second: float = 0.0
    links: int = 0
    connections: int = 0
    cpu_cores: float = 0.0
    memory_mb: float = 0.0
    bandwidth: float = 0.0
    age_bound_s: float = 0.0
    wait_bound_s: float = 0.0
    change_cpu_s: float = 0.0
    change_bytes: float = 0.0


def load_of(settings: CommunicationSettings, agents: int, connection: Connection = Connection.MUTUAL) -> Load:
    """Return what ``agents`` with these settings amount to, at the dearest time of day."""
    times = [settings, *(settings.under(period.override) for period in settings.times)]
    metered = [found.under(settings.metered) for found in times] if settings.metered else []
    return Load(
        agents=agents,
        mode=Mode.PUSH if any(found.mode is Mode.PUSH for found in times) else Mode.PULL,
        dialer=settings.dialer,
        heartbeat=min(found.heartbeat for found in times),
        longest=max(found.heartbeat for found in (*times, *metered)),
        connection=connection,
        pulls=any(found.mode is Mode.PULL for found in (*times, *metered)),
    )


def cost(loads: Iterable[Load], measured: Measured) -> Cost:
    """Return what all ``loads`` cost together; loads without agents cost nothing."""
    held = [load for load in loads if load.agents > 0]
    agents = sum(load.agents for load in held)
    open_kb = sum(load.agents * measured.ways[load.connection].link_kb for load in held if load.kept)
    return Cost(
        agents=agents,
        rounds_per_second=sum(load.agents / load.heartbeat for load in held),
        links=sum(load.agents for load in held if load.mode is Mode.PUSH),
        connections=sum(load.agents for load in held if load.kept),
        cpu_cores=sum(load.agents / load.heartbeat * round_us(load, measured) for load in held) / 1e6,
        memory_mb=measured.base_mb + (agents * measured.agent_kb + open_kb) / 1000,
        bandwidth=sum(_bandwidth(load, measured) for load in held),
        age_bound_s=max((load.longest for load in held), default=0.0),
        wait_bound_s=max((load.longest for load in held if load.pulls), default=0.0),
        change_cpu_s=agents * measured.change_us / 1e6,
        change_bytes=agents * measured.change_bytes,
    )


def round_us(load: Load, measured: Measured) -> float:
    """Return µs of CPU that one round of ``load`` takes."""
    way = measured.ways[load.connection]
    return way.heartbeat_us if load.kept else way.connect_us


def _bandwidth(load: Load, measured: Measured) -> float:
    way = measured.ways[load.connection]
    rounds = load.agents / load.heartbeat * (way.heartbeat_bytes if load.kept else way.connect_bytes)
    pings = measured.ping_bytes / measured.keepalive if load.mode is Mode.PUSH else 0.0
    return rounds + load.agents * pings


def longest_heartbeat(
    age_s: float, *, collection: float = 0.0, roll_up: float = 0.0, hops: int = 1
) -> float | None:
    """Return the longest heartbeat, in whole seconds, by which nothing shown is older than ``age_s``.

    The bound of an age is collection interval + roll-up + the heartbeat of every hop.  The spread adds
    nothing: it brings rounds forward and never puts one off.

    Args:
        age_s: Seconds.
        collection: Seconds between two collections; 0 for what a report says itself.
        roll_up: Seconds that values are added up before they are shown.
        hops: Links from the agent to where it is shown, all with this heartbeat.

    Returns:
        Seconds, at most seven days; None if no heartbeat of a second or more keeps it.
    """
    left = (age_s - collection - roll_up) / max(1, hops)
    return float(int(min(left, HEARTBEAT_MAX))) if left >= 1 else None
