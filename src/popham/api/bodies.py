"""What requests carry, and the answers that are no views of the service's.

What a field means stands once, in ``descriptions``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from popham.errors import WireError
from popham.manager.grant_views import GrantView
from popham.manager.rollout_views import RolloutView
from popham.manager.views import (
    AgentDefinitionView,
    AgentView,
    AuditView,
    CheckIn,
    FileView,
    GroupView,
    PlacementView,
    PolicyView,
    RevisionView,
    TokenView,
)
from popham.model.cell import Dialer
from popham.model.distribute_ini import BESIDE_MAX, FILES_MAX, SIZE_MAX, Folder
from popham.model.names import ROOT_GROUP
from popham.model.rollout import HALT_ON, SOAK, SOAK_MAX, WAVES_MAX, RolloutTerms

Text = Annotated[str, Field(max_length=256)]
Message = Annotated[str, Field(max_length=1000)]


Base = Annotated[dict[Annotated[str, Field(max_length=600)], Text], Field(max_length=100_000)]
"""What a plan rests on: object → digest."""


class Strict(BaseModel):
    """A request's body: a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid")


class DefinitionFile(Strict):
    """One file with definitions in YAML."""

    name: Annotated[str, Field(max_length=4096)]
    text: str


Files = Annotated[list[DefinitionFile], Field(min_length=1, max_length=1000)]


class RolloutRequest(Strict):
    """The waves in which a change goes out."""

    waves: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1, max_length=WAVES_MAX)]
    soak: Annotated[float, Field(ge=0, le=SOAK_MAX)] = SOAK
    halt_on: Annotated[float, Field(ge=0, le=1)] = HALT_ON

    def terms(self) -> RolloutTerms:
        """Return the terms; raises DefinitionError ``definition.rollout``."""
        return RolloutTerms.of(self.waves, soak=self.soak, halt_on=self.halt_on)


class Reaching(Strict):
    """A change that may reach many: whether all at once, or in waves."""

    everyone: bool = False
    rollout: RolloutRequest | None = None

    def terms(self, *, hold: bool = False) -> RolloutTerms | None:
        """Return how it goes out in waves; None if it does not.

        Args:
            hold: Whether it is to be held as a candidate.

        Raises:
            WireError: ``wire.request``: it is to reach all at once, or to be held, and in waves.
            DefinitionError: ``definition.rollout``.
        """
        if hold and (self.everyone or self.rollout):
            problem = "a change that is held reaches nobody yet"
            raise WireError("request", problem, "Leave out hold, or everyone and rollout")
        if self.everyone and self.rollout:
            problem = "body: a change reaches everyone at once, or in waves"
            raise WireError("request", problem, "Leave out everyone, or rollout")
        return self.rollout.terms() if self.rollout else None


class ApplyRequest(Reaching):
    """Definitions to make hold, all or none."""

    files: Files
    message: Message = ""
    as_source: Annotated[str, Field(max_length=512)] = ""
    take_over: bool = False
    prune: bool = False
    base: Base | None = None
    compare: bool = False


class ResumeRequest(Strict):
    """How a rollout goes on."""

    rollout: RolloutRequest | None = None


class RollbackRequest(Reaching):
    """The revision whose content is to hold again."""

    to_revision: Annotated[int, Field(ge=1)]
    message: Message = ""
    take_over: bool = False


class ReasonRequest(Strict):
    """Why somebody steps in."""

    reason: Message = ""


class CopyRequest(Strict):
    """The new name of a copied policy."""

    to: Text


class TokenRequest(Strict):
    """The token to make."""

    kind: Literal["enrollment", "proxy", "stock"] = "enrollment"
    group: Text = "fleet"
    uses: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    lifetime: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    accepts: bool = False
    cidr: Annotated[str, Field(max_length=4096)] = ""
    proxy: Text = ""


class GrantRequest(Strict):
    """The API token to make."""

    name: Text
    role: Text
    groups: Annotated[list[Text], Field(max_length=100)] = []
    operations: Annotated[list[Text], Field(max_length=100)] = []
    lifetime: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class CheckInRequest(Strict):
    """Whom to ask for a round: agents, or a group, or those that a selector means, or all."""

    agents: Annotated[list[Text], Field(max_length=10_000)] = []
    group: Text | None = None
    selector: Annotated[str, Field(max_length=1024)] = ""
    all: bool = False


class MoveRequest(Strict):
    """The group an agent is to belong to."""

    group: Text


class DialRequest(Strict):
    """Who is to dial an agent."""

    by: Literal["manager", "agent", "group"]
    may_dial: bool = False

    def dialer(self) -> Dialer | None:
        """Return who dials; None for what the group's settings say."""
        return None if self.by == "group" else Dialer(self.by)


class AgentListRequest(Strict):
    """An agentlist.cfg."""

    text: str
    name: Annotated[str, Field(max_length=4096)] = "agentlist.cfg"


class DistributionFile(Strict):
    """The Distribute.ini of one folder."""

    folder: Annotated[str, Field(max_length=4096)]
    name: Annotated[str, Field(max_length=4096)] = "Distribute.ini"
    text: Annotated[str, Field(max_length=SIZE_MAX)]
    beside: Annotated[list[Text], Field(max_length=BESIDE_MAX)] = []


class DistributionRequest(Strict):
    """Files named Distribute.ini, and the group above those that are made of them."""

    files: Annotated[list[DistributionFile], Field(max_length=FILES_MAX)]
    under: Text = ROOT_GROUP

    def folders(self) -> list[Folder]:
        """Return the files as they are read."""
        return [
            Folder(name=one.folder, source=one.name, text=one.text, beside=tuple(one.beside))
            for one in self.files
        ]


class LabelRequest(Strict):
    """Labels to set; null takes one away."""

    labels: Annotated[dict[Text, Text | None], Field(max_length=64)]


class AgentPage(BaseModel):
    """Part of the list of agents."""

    items: list[AgentView]
    cursor: str


class AuditPage(BaseModel):
    """Part of the list of changes, oldest first."""

    items: list[AuditView]
    cursor: str


class Groups(BaseModel):
    """All groups."""

    items: list[GroupView]


class Policies(BaseModel):
    """The heads of all policies."""

    items: list[PolicyView]


class History(BaseModel):
    """All revisions of a policy, the newest first."""

    items: list[RevisionView]


class Rollouts(BaseModel):
    """Rollouts, the newest first."""

    items: list[RolloutView]


class Exported(BaseModel):
    """All objects as files of definitions."""

    items: list[FileView]
    warnings: list[str]


class Placements(BaseModel):
    """The rules that say where agents begin."""

    items: list[PlacementView]


class AgentDefinitionPage(BaseModel):
    """Part of the list of where agents are visited."""

    items: list[AgentDefinitionView]
    cursor: str


class Tokens(BaseModel):
    """All tokens by which agents join."""

    items: list[TokenView]


class Grants(BaseModel):
    """All API tokens."""

    items: list[GrantView]


class CheckIns(BaseModel):
    """What became of a request for rounds, per agent."""

    items: list[CheckIn]


class Health(BaseModel):
    """Whether the Manager runs, or serves."""

    status: Literal["ok"]


class Finding(BaseModel):
    """One of several errors in definitions."""

    code: str
    detail: str
    hint: str
    source: str
    line: int


class Problem(BaseModel):
    """An error, as RFC 9457 has it, with what Popham adds."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    hint: str
    retryable: bool
    source: str | None = None
    line: int | None = None
    errors: list[Finding] | None = None
