"""What is asked of logs and metrics, and answers that are no views of the service's."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query
from pydantic import BaseModel

from popham.manager.data.service import Of
from popham.manager.data.views import MetricView

Agents = Annotated[
    list[Annotated[str, Query(max_length=256)]] | None,
    Query(description="Only of these agents, by name or uid.", max_length=100),
]
Groups = Annotated[
    list[Annotated[str, Query(max_length=256)]] | None,
    Query(description="Only of the agents of these groups, and of groups below them.", max_length=100),
]
Selector = Annotated[str, Query(description="Only of agents with such labels.", max_length=1024)]
Since = Annotated[float, Query(description="Only from this time on, corrected; unix seconds.", ge=0, le=1e10)]
Until = Annotated[
    float | None, Query(description="Only before this time; null for all up to now.", ge=0, le=1e10)
]


def read_of(
    agent: Agents = None,
    group: Groups = None,
    selector: Selector = "",
    since: Since = 0.0,
    until: Until = None,
) -> Of:
    """Return whose data is asked for, and of when."""
    return Of(agents=agent or (), groups=group or (), selector=selector, since=since, until=until)


WhoseData = Annotated[Of, Depends(read_of)]


class Metrics(BaseModel):
    """Which metrics there are."""

    items: list[MetricView]
