"""What the Manager measures of itself, in Prometheus' text format.

Names follow Prometheus' conventions; no label ever names an agent, so the
answer stays small however large the fleet is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

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
from popham.manager.intake.views import IntakeView
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
        yield from _of_records(found)
        for view in (_of_queues, _of_segments, _of_readers, _of_files):
            yield from view(found.intake)
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


def _of_records(found: Measures) -> Iterator[Metric]:
    records = CounterMetricFamily(
        "popham_ingest_records", "Records of agents that became durable", labels=["signal"]
    )
    for signal, count in found.ingested.items():
        records.add_metric([signal], count)
    yield records
    dropped = CounterMetricFamily(
        "popham_ingest_dropped", "Records that agents had to drop, or that were rejected", labels=["reason"]
    )
    for reason, count in sorted(found.dropped.items()):
        dropped.add_metric([reason], count)
    yield dropped
    refused = CounterMetricFamily(
        "popham_ingest_refused", "Requests with records that were refused", labels=["signal", "reason"]
    )
    for view in found.intake:
        for reason, count in sorted(view.refused.items()):
            refused.add_metric([view.name, reason], count)
    yield refused


def _of_queues(intake: Iterable[IntakeView]) -> Iterator[Metric]:
    depth, size, age = _gauges(
        ("popham_ingest_queue_records", "Records that wait for the disk"),
        ("popham_ingest_queue_bytes", "Bytes of records that wait for the disk"),
        ("popham_ingest_queue_seconds", "Seconds that the oldest record waits for the disk"),
    )
    for view in intake:
        depth.add_metric([view.name], view.queued)
        size.add_metric([view.name], view.queued_bytes)
        age.add_metric([view.name], view.oldest)
    yield from (depth, size, age)


def _of_segments(intake: Iterable[IntakeView]) -> Iterator[Metric]:
    count, size, damaged = _gauges(
        ("popham_segments", "Segments of the intake"),
        ("popham_segments_bytes", "Bytes of the intake's segments"),
        ("popham_segments_damaged", "Places in the intake's segments that are not what was written"),
    )
    for view in intake:
        count.add_metric([view.name], view.segments)
        size.add_metric([view.name], view.bytes)
        damaged.add_metric([view.name], view.damaged)
    yield from (count, size, damaged)


def _of_readers(intake: Iterable[IntakeView]) -> Iterator[Metric]:
    seconds, size = _gauges(
        ("popham_reader_lag_seconds", "Seconds that the oldest record waits for a reader"),
        ("popham_reader_lag_bytes", "Bytes of segments that a reader has not read"),
        more=("reader",),
    )
    for view in intake:
        for reader in view.readers:
            seconds.add_metric([view.name, reader.name], reader.seconds)
            size.add_metric([view.name, reader.name], reader.bytes)
    yield from (seconds, size)


def _of_files(intake: Iterable[IntakeView]) -> Iterator[Metric]:
    count, size, records = _gauges(
        ("popham_files", "Parquet files of records"),
        ("popham_files_bytes", "Bytes of the Parquet files"),
        ("popham_files_records", "Records in the Parquet files"),
    )
    for view in intake:
        if view.kept is not None:
            count.add_metric([view.name], view.kept.files)
            size.add_metric([view.name], view.kept.bytes)
            records.add_metric([view.name], view.kept.records)
    yield from (count, size, records)


def _gauges(*named: tuple[str, str], more: tuple[str, ...] = ()) -> Iterator[GaugeMetricFamily]:
    """Yield gauges of these names and texts, by signal."""
    return (GaugeMetricFamily(name, text, labels=["signal", *more]) for name, text in named)
