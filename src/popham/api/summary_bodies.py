"""Answers about the summary window that are no views of the service's."""

from __future__ import annotations

from pydantic import BaseModel

from popham.manager.summary.rolled import RolledView
from popham.manager.summary.views import GroupSummaryView, SummaryView


class SummaryPage(BaseModel):
    """Part of the summary window."""

    items: list[SummaryView]
    cursor: str


class GroupSummaries(BaseModel):
    """The summary window by groups."""

    items: list[GroupSummaryView]


class RolledValues(BaseModel):
    """Values of one agent over time, the oldest first."""

    items: list[RolledView]
