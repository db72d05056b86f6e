"""Answers about the data of agents that are no views of the service's."""

from __future__ import annotations

from pydantic import BaseModel

from popham.manager.intake.views import IntakeView


class Intakes(BaseModel):
    """The intake of every stream."""

    items: list[IntakeView]
