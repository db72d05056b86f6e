"""What requests about drafts carry, and their answers that are no views of the service's."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from popham.api.bodies import Base, Files, Message, Reaching, Strict, Text
from popham.manager.draft_views import DraftView

Edition = Annotated[int, Field(ge=0, lt=2**63)]


class DraftRequest(Strict):
    """Definitions to put into a draft."""

    files: Files
    message: Message = ""
    seen: Edition | None = None
    only: bool = False
    theirs: bool = False
    force: bool = False


class RemoveRequest(Strict):
    """Documents to take out of a draft."""

    documents: Annotated[list[Text], Field(min_length=1, max_length=1000)]
    seen: Edition | None = None
    theirs: bool = False


class DraftPlanRequest(Reaching):
    """How a draft would be published."""

    take_over: bool = False
    hold: bool = False


class PublishRequest(DraftPlanRequest):
    """How a draft is published."""

    message: Message = ""
    seen: Edition | None = None
    base: Base | None = None


class Drafts(BaseModel):
    """All drafts, without their texts."""

    items: list[DraftView]
