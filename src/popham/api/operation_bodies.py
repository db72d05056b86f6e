"""What requests about operations carry, and their answers that are no views of the service's."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from popham.api.bodies import Message, Strict, Text
from popham.manager.operations.stored import Asked
from popham.manager.operations.views import OperationTargetView, OperationView
from popham.model.operation import LIFETIME_MAX

Value = Text | bool


class OperationRequest(Strict):
    """What is to be ordered, and of whom: agents, or groups or those that a selector means, or all."""

    kind: Text
    args: Annotated[dict[Text, Value], Field(default_factory=dict, max_length=16)]
    agents: Annotated[list[Text], Field(default_factory=list, max_length=10_000)]
    groups: Annotated[list[Text], Field(default_factory=list, max_length=1000)]
    selector: Annotated[str, Field(max_length=1024)] = ""
    all: bool = False
    expires: Annotated[float, Field(ge=1, le=LIFETIME_MAX)] | None = None
    message: Message = ""
    dry_run: bool = False
    yes: bool = False

    def asked(self) -> Asked:
        """Return whom it is for."""
        return Asked(
            agents=tuple(self.agents),
            groups=tuple(self.groups),
            selector=self.selector,
            everyone=self.all,
            expires=self.expires,
        )


class RetryRequest(Strict):
    """The targets that are to do the same again."""

    states: Annotated[list[Text], Field(default_factory=list, max_length=16)]
    message: Message = ""


class OperationPage(BaseModel):
    """Part of the list of operations, the newest first."""

    items: list[OperationView]
    cursor: str


class TargetPage(BaseModel):
    """Part of the list of the targets of an operation."""

    items: list[OperationTargetView]
    cursor: str
