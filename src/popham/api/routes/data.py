"""What agents sent: lines of logs, metrics over time, and records as they are kept."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from popham.api.depends import Cursor, Granted, Limit, Service
from popham.api.reading_bodies import Metrics, WhoseData
from popham.manager.data.asking import PageOf
from popham.manager.data.log_records import HIGHEST
from popham.manager.data.service import SERIES
from popham.manager.data.views import LogPage, MetricView, RecordPage, SeriesPage

router = APIRouter(tags=["data"])


@router.get("/logs")
async def list_logs(
    grant: Granted,
    service: Service,
    of: WhoseData,
    grep: Annotated[
        str, Query(description="Only lines that fit this regular expression of RE2.", max_length=1024)
    ] = "",
    severity: Annotated[
        int, Query(description="Only lines of this OTLP severity number at least.", ge=0, le=HIGHEST)
    ] = 0,
    source: Annotated[
        str, Query(description="Only lines of this source of the policy, or this file.", max_length=4096)
    ] = "",
    newest: Annotated[bool, Query(description="The last lines instead of the first.")] = False,  # noqa: FBT002 - a query
    after: Annotated[
        str,
        Query(description="`after` of an answer: only what came later, in that order.", max_length=64),
    ] = "",
    cursor: Cursor = "",
    limit: Limit = 500,
) -> LogPage:
    """Return lines of logs, by their time.

    Answers 404 not_found.agent or not_found.group, 422 definition.query for what cannot be asked.
    """
    page = PageOf(limit=limit, cursor=cursor, newest=newest, after=after)
    return await service.logs(grant, of, page, grep=grep, severity=severity, source=source)


@router.get("/metrics", response_model=Metrics)
async def list_metrics(grant: Granted, service: Service, of: WhoseData) -> dict[str, tuple[MetricView, ...]]:
    """Return which metrics there are, by name; errors as those of the logs."""
    return {"items": await service.metrics(grant, of)}


@router.get("/metrics/{name}")
async def show_metric(
    grant: Granted,
    service: Service,
    of: WhoseData,
    name: Annotated[str, Path(description="Name of the metric.", max_length=256)],
    step: Annotated[float, Query(description="Seconds of a step.", gt=0, le=1e9)] = 60.0,
    limit: Annotated[int, Query(description="Series, at most.", ge=1, le=SERIES)] = 100,
) -> SeriesPage:
    """Return one metric over time, a series for each agent and set of attributes.

    Answers 404 not_found.metric, 422 definition.query for more than 1,000 steps; else as the logs.
    """
    return await service.metric(grant, of, name=name, step=step, limit=limit)


@router.get("/data/{stream}")
async def list_records(
    grant: Granted,
    service: Service,
    of: WhoseData,
    stream: Annotated[str, Path(description="events, summary, metrics or logs.", max_length=16)],
    cursor: Cursor = "",
    limit: Limit = 500,
) -> RecordPage:
    """Return records of a stream by their time, with all that is kept of them.

    Answers 404 not_found.stream; else as the logs.
    """
    return await service.records(grant, stream, of, PageOf(limit=limit, cursor=cursor))
