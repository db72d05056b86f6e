"""What the Manager measures of itself, in Prometheus' text format.

Names follow Prometheus' conventions; no label ever names an agent, so the
answer stays small however large the fleet is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from fastapi import APIRouter, Response
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from popham import __version__
from popham.api.depends import Granted, Service
from popham.manager.measures import Measures

router = APIRouter(tags=["health"])


@router.get("/metrics", include_in_schema=False)
async def measure(grant: Granted, service: Service) -> Response:
    """Return numbers for Prometheus.

    Counts of agents are as old as the last count, which takes seconds for a large fleet.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(service.measure(grant)))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Snapshot(Collector):
    """Measures of one moment, as metrics."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def collect(self) -> Iterator[Metric]:
        """Yield each metric."""
        found = self._measures
        build = InfoMetricFamily("popham_build", "Version of this Manager")
        build.add_metric([], {"version": __version__})
        yield build
        agents = GaugeMetricFamily(
            "popham_agents",
            "Agents by presence, held link and sync state",
            labels=["presence", "link", "sync"],
        )
        for place, count in sorted(found.agents.items()):
            agents.add_metric(place, count)
        yield agents
        messages = CounterMetricFamily(
            "popham_opamp_messages", "OpAMP messages", labels=["direction", "transport"]
        )
        for way, count in sorted(found.messages.items()):
            messages.add_metric(way, count)
        yield messages
        lag = GaugeMetricFamily(
            "popham_loop_lag_seconds", "Lag of the event loop in the last half minute", labels=["quantile"]
        )
        for part, seconds in sorted(found.lag.items()):
            lag.add_metric([f"{part:g}"], seconds)
        yield lag
        if found.lag_buckets:
            yield HistogramMetricFamily(
                "popham_loop_late_seconds",
                "Lag of the event loop since the start, looked at twenty times a second",
                buckets=[
                    ("+Inf" if math.isinf(bound) else f"{bound:g}", count)
                    for bound, count in found.lag_buckets
                ],
                sum_value=found.lag_total,
            )
        yield CounterMetricFamily(
            "popham_turned_away",
            "Connections ended unheard: their address may not come, or failed too often",
            value=found.turned_away,
        )
        left_out = CounterMetricFamily("popham_shed", "Work left out under load", labels=["work"])
        for work, count in sorted(found.left_out.items()):
            left_out.add_metric([work], count)
        yield left_out
        yield from _of_visits(found)
        yield from _of_operations(found)
        yield GaugeMetricFamily("popham_links", "Held links", value=found.links)
        yield GaugeMetricFamily(
            "popham_links_admitted_per_second", "New links admitted in a second", value=found.link_rate
        )
        yield GaugeMetricFamily(
            "popham_store_waiting", "Changes that wait for the database", value=found.waiting
        )


def _of_visits(found: Measures) -> Iterator[Metric]:
    visits = CounterMetricFamily("popham_visits", "Visits of agents", labels=["outcome"])
    for outcome, count in sorted(found.visits.items()):
        visits.add_metric([outcome], count)
    yield visits
    yield GaugeMetricFamily("popham_visited_agents", "Agents that this Manager dials", value=found.visited)
    yield GaugeMetricFamily(
        "popham_links_dialled", "Held links that this Manager opened", value=found.dialled
    )


def _of_operations(found: Measures) -> Iterator[Metric]:
    targets = GaugeMetricFamily(
        "popham_operation_targets", "Targets of operations that are not over", labels=["state"]
    )
    for state, count in sorted(found.ordered.items()):
        targets.add_metric([state], count)
    yield targets
    results = CounterMetricFamily(
        "popham_operation_results", "Targets of operations that came to an end", labels=["state"]
    )
    for state, count in sorted(found.results.items()):
        results.add_metric([state], count)
    yield results
