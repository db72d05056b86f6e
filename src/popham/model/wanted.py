"""What a set of definitions wants: groups, policies and others, not yet compared with what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from popham.errors import DefinitionError
from popham.model.agent_definition import AgentDefinition
from popham.model.criteria import Criterion
from popham.model.expectation import Expectation
from popham.model.placement import Placement
from popham.model.proxy_definition import ProxyDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a definition stands.

    Attributes:
        source: Name of the file.
        line: First line of the document.
        lines: Part of the definition, such as ``policies.files`` → its line.
    """

    source: str = ""
    line: int = 0
    lines: Mapping[str, int] = field(default_factory=dict)

    def wrong(self, part: str, reason: str, problem: str, hint: str = "") -> DefinitionError:
        """Return an error that points to ``part``, or to the document if that is not written."""
        line = self.lines.get(part, self.line)
        return DefinitionError(reason, problem, hint, source=self.source, line=line)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationDefinition:
    """A location as it is wanted, or what an inherited one is given here.

    Attributes:
        default: Whether it holds where no other does.
        weight: None if none is written, which is 0.
        when: Its criteria; None if none are written.
        policies: Policy type → policy name, or None for explicitly none; others are the group's.
        communication: What is written under ``communication``; None to use the group's.
        line: Where it stands; not part of what is wanted.
    """

    name: str
    default: bool = False
    weight: int | None = None
    when: Criterion | None = None
    policies: Mapping[str, str | None] = field(default_factory=dict)
    communication: Mapping[str, Any] | None = None
    line: int = field(default=0, compare=False)

    @property
    def is_edit(self) -> bool:
        """Whether it says where the location is, and not only what holds there."""
        return self.default or self.weight is not None or self.when is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDefinition:
    """A group as it is wanted.

    Attributes:
        parent: Empty for the root only.
        inherits: The check box.
        exceptions: Item → whether it is inherited, as written.
        policies: Policy type → policy name, or None for explicitly none.
        communication: What is written under ``communication``; None if nothing is.
        locations: What is written under ``locations``; None if nothing is.
        location_check: Seconds between two looks at the surroundings; None if it is not written.
        location_memory: Whether agents start where they ended; None if it is not written.
        tests: What agents are expected to get.
        minimum_serial: Serial from which agents are given bodies with secrets; 0 for none.
        place: Where it stands; not part of what is wanted.
    """

    name: str
    parent: str
    inherits: bool = True
    exceptions: Mapping[str, bool] = field(default_factory=dict)
    policies: Mapping[str, str | None] = field(default_factory=dict)
    communication: Mapping[str, Any] | None = None
    locations: tuple[LocationDefinition, ...] | None = None
    location_check: float | None = None
    location_memory: bool | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    tests: tuple[Expectation, ...] = ()
    minimum_serial: int = 0
    place: Place = field(default_factory=Place, compare=False)

    def inherits_item(self, item: str) -> bool:
        """Return whether ``item`` (a policy type, ``communication`` or ``locations``) is to come from the parent."""
        return bool(self.parent) and self.exceptions.get(item, self.inherits)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDefinition:
    """A policy as it is wanted. ``body`` is in its type's normal form."""

    name: str
    type: str
    body: Mapping[str, Any]
    private_to: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    tests: tuple[Expectation, ...] = ()
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementDefinition:
    """A rule of placement as it is wanted."""

    name: str
    rule: Placement
    annotations: Mapping[str, str] = field(default_factory=dict)
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedAgent:
    """Where an agent is visited, as it is wanted."""

    name: str
    definition: AgentDefinition
    annotations: Mapping[str, str] = field(default_factory=dict)
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedProxy:
    """A Proxy Manager, as it is wanted."""

    name: str
    definition: ProxyDefinition
    annotations: Mapping[str, str] = field(default_factory=dict)
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """A checked set."""

    groups: tuple[GroupDefinition, ...] = ()
    policies: tuple[PolicyDefinition, ...] = ()
    placements: tuple[PlacementDefinition, ...] = ()
    agents: tuple[WantedAgent, ...] = ()
    proxies: tuple[WantedProxy, ...] = ()
