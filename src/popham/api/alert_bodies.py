"""Questions and answers about alerts that are no views of the service's."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from popham.manager.alerts.views import AlertView, SilenceView


class AlertPage(BaseModel):
    """Part of the alerts."""

    items: list[AlertView]
    cursor: str


class Silences(BaseModel):
    """All silences."""

    items: list[SilenceView]


class SilenceRequest(BaseModel):
    """A silence that is wanted."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=256)
    lifetime: float = Field(description="Seconds that it lasts.")
    message: str = Field(max_length=1024)
    group: str = Field(default="", max_length=256)
    selector: str = Field(default="", max_length=1024)
    item: str = Field(default="", max_length=256)
    resource: str = Field(default="", max_length=256)
