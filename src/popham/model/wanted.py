"""What a set of definitions wants: groups and policies, not yet compared with what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from popham.errors import DefinitionError


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
class GroupDefinition:
    """A group as it is wanted.

    Attributes:
        parent: Empty for the root only.
        inherits: The check box.
        exceptions: Item → whether it is inherited, as written.
        policies: Policy type → policy name, or None for explicitly none.
        communication: What is written under ``communication``; None if nothing is.
        place: Where it stands; not part of what is wanted.
    """

    name: str
    parent: str
    inherits: bool = True
    exceptions: Mapping[str, bool] = field(default_factory=dict)
    policies: Mapping[str, str | None] = field(default_factory=dict)
    communication: Mapping[str, Any] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    place: Place = field(default_factory=Place, compare=False)

    def inherits_item(self, item: str) -> bool:
        """Return whether ``item`` (a policy type or ``communication``) is to come from the parent."""
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
    place: Place = field(default_factory=Place, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """A checked set."""

    groups: tuple[GroupDefinition, ...] = ()
    policies: tuple[PolicyDefinition, ...] = ()
