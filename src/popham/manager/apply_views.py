"""What the API shows of an apply: what changes, for whom, what it risks, and what it costs.

As in :mod:`popham.manager.views`, times are unix seconds, and names of fields are the names in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line of an apply.

    ``action`` is created, changed, unchanged or deleted; ``discarded`` lists what inheritance drops;
    ``agents`` are those that a deletion concerns; ``difference`` is a unified diff, of a dry run only.
    """

    kind: str
    name: str
    action: str
    discarded: tuple[str, ...] = ()
    agents: int = 0
    difference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyShift:
    """Another policy of a type, or another revision: ``motd@3`` → ``motd@4``; empty for none.

    ``before`` is ``kept`` where download was off until now: agents have what they had then.
    """

    type: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceEffect:
    """What changes for the agents in one location of a group, or in all of it (empty).

    ``agents`` is how many said that they are there.  Where the location itself goes, ``moves_to`` is the one
    whose values hold for them afterwards.  ``communication`` is whether their communication settings change.
    """

    location: str
    agents: int
    policies: tuple[PolicyShift, ...] = ()
    communication: bool = False
    moves_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEffect:
    """What an apply means for one group: serial before and after, and how many agents it concerns.

    A dry run also tells in which locations what changes; ``more`` is how many it leaves out.  ``locations`` is how the
    list of locations itself changes, in words; empty if it does not.
    """

    group: str
    before: int
    after: int
    agents: int
    places: tuple[PlaceEffect, ...] = ()
    more: int = 0
    locations: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskView:
    """What should be looked at twice.

    ``code`` is ``exec``, commands run; ``wide``, many agents; ``way``, how agents reach the Manager; ``removes``,
    something is taken from agents.
    """

    code: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CostView:
    """What the whole fleet costs this Manager; fields as :class:`popham.model.cost.Cost`."""

    agents: int
    rounds_per_second: float
    links: int
    connections: int
    cpu_cores: float
    memory_mb: float
    bandwidth: float
    age_bound_s: float
    wait_bound_s: float
    change_cpu_s: float
    change_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunicationShift:
    """A group, or one location of it (empty for all), whose communication settings change, in words."""

    group: str
    location: str
    agents: int
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceView:
    """An advice with its numbers; fields as :class:`popham.model.advice.Advice`."""

    code: str
    sentence: str
    hint: str
    warns: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What an apply changes in what the fleet costs. ``measured`` says whose numbers were reckoned with."""

    before: CostView
    after: CostView
    shifts: tuple[CommunicationShift, ...]
    advice: tuple[AdviceView, ...]
    measured: str
    connections_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """What an apply did, or would do.

    ``warnings`` are sentences about what is possible and unwise.  ``costs`` is None for an apply
    that changes no communication settings; a dry run always has them.  ``base`` is what a dry run
    rests on: object → digest of it as it is stored, empty where it is not there.  ``rollout`` is the name of
    the rollout that it began, empty if there is none; ``reach`` is how many agents get new content.
    ``risks`` are of a dry run only; they stop nothing.  ``asks`` is what a dry run would be refused without:
    ``canary`` for a decision, all at once or a few first, ``all`` where no rollout can hold it back.
    """

    dry_run: bool
    changes: tuple[Change, ...]
    groups: tuple[GroupEffect, ...]
    warnings: tuple[str, ...] = ()
    costs: Costs | None = None
    base: Mapping[str, str] | None = None
    rollout: str = ""
    reach: int = 0
    risks: tuple[RiskView, ...] = ()
    asks: str = ""
