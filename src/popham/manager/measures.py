"""What a Manager measures of itself, as plain numbers; the API renders them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from popham.manager.census import Census, Place
from popham.manager.intake.views import IntakeView
from popham.manager.operations.register import Register
from popham.manager.records import Records
from popham.manager.visits import Visits
from popham.upstream.hub import Hub
from popham.upstream.lag import Lag

QUANTILES = (0.5, 0.99, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Numbers of one moment; none names an agent.

    Attributes:
        agents: (presence, link, sync) → how many; as old as the last census.
        messages: (direction, transport) → messages since the start.
        lag: Part → seconds that this part of the last half minute was not above.
        lag_buckets: (seconds, looks at the loop since the start whose lag was not above).
        lag_total: Seconds of lag of all looks.
        turned_away: Connections ended unheard: their address may not come, or failed too often.
        links: Held links.
        link_rate: New links admitted in a second.
        waiting: Changes that wait for the database.
        left_out: Kind of work → how often it was left out under load.
        visited: Agents that this Manager dials.
        visits: What became of visits → how many since the start.
        dialled: Links that this Manager opened, and holds.
        ordered: State → open targets of operations.
        results: State → targets of operations that came to this end since the start.
        intake: How the intake of each stream is.
        ingested: Stream → records that became durable since the start.
        dropped: Reason → records that agents had to drop, or that were rejected, since the start.
    """

    agents: Mapping[Place, int] = field(default_factory=dict)
    messages: Mapping[tuple[str, str], int] = field(default_factory=dict)
    lag: Mapping[float, float] = field(default_factory=dict)
    lag_buckets: Sequence[tuple[float, int]] = ()
    lag_total: float = 0.0
    turned_away: int = 0
    links: int = 0
    link_rate: float = 0.0
    waiting: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    visited: int = 0
    visits: Mapping[str, int] = field(default_factory=dict)
    dialled: int = 0
    ordered: Mapping[str, int] = field(default_factory=dict)
    results: Mapping[str, int] = field(default_factory=dict)
    intake: Sequence[IntakeView] = ()
    ingested: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)


def measure(
    hub: Hub,
    census: Census,
    lag: Lag,
    visits: Visits,
    operations: Register,
    records: Records,
    *,
    links: int,
    link_rate: float,
    waiting: int,
    turned_away: int = 0,
) -> Measures:
    """Return the numbers as they are; cheap, however many agents there are."""
    totals = records.intake.totals()
    return Measures(
        agents=census.look(),
        messages=hub.counts.by_way(),
        lag={part: lag.quantile(part) for part in QUANTILES},
        lag_buckets=lag.buckets(),
        lag_total=lag.total,
        turned_away=turned_away,
        links=links,
        link_rate=link_rate,
        waiting=waiting,
        left_out=hub.left_out,
        visited=len(visits.targets.read()),
        visits={"made": visits.visitor.visits, "failed": visits.visitor.failures},
        dialled=visits.visitor.held,
        ordered=operations.open,
        results=dict(operations.ended),
        intake=records.views(),
        ingested={stream: total.taken for stream, total in totals.items()},
        dropped=sum((total.dropped for total in totals.values()), Counter(records.otlp.rejected)),
    )
