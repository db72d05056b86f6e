"""How far a change may reach at once, and what is needed to let it reach a few first."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from popham.errors import ConflictError
from popham.manager.cohort import Member
from popham.store.seam import Reading

ASK_ABOVE = 100
"""Agents. Source: what a change may reach before somebody says that it may reach all."""
Members = Callable[[Reading, Collection[str]], Mapping[str, Sequence[Member]]]
"""A transaction and groups → their members that can be in a cohort; called on a thread of the store."""


def _nobody(_reading: Reading, groups: Collection[str]) -> Mapping[str, Sequence[Member]]:
    return dict.fromkeys(groups, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishing:
    """What decides how far a change reaches at once.

    Attributes:
        ask_above: Agents; a change that gives more of them new content needs a decision. 0 for any number.
        members: Returns who could be in a cohort.
        rng: Draws salts.
    """

    ask_above: int = 0
    members: Members = _nobody
    rng: random.Random = field(default_factory=random.SystemRandom)


def check_wide(
    publishing: Publishing, counts: Mapping[str, int], *, everyone: bool, staged: bool, dry_run: bool
) -> str:
    """Return a warning about how far a change reaches; empty if it is decided, or not far.

    Args:
        publishing: The bound.
        counts: Group with new content → its agents.
        everyone: It was decided that all have it at once.
        staged: It was decided that a few have it first.
        dry_run: Warn only.

    Raises:
        ConflictError: ``conflict.reach``: it reaches too many, and nobody decided that.
    """
    reach, groups = sum(counts.values()), sum(map(bool, counts.values()))
    if everyone or staged or not publishing.ask_above or reach <= publishing.ask_above:
        return ""
    where = f"{groups} groups" if groups > 1 else "1 group"
    problem = f"this gives new content to {reach} agents in {where} at once"
    hint = "Let a few have it first: --canary 1% --soak 10m --halt-on 5%; or give it to all: --all"
    if dry_run:
        return f"{problem}. {hint}"
    raise ConflictError("reach", problem, hint)


def check_opened(publishing: Publishing, counts: Mapping[str, int], *, everyone: bool, dry_run: bool) -> str:
    """Return a warning about how many a lower ``minimum_serial`` reaches; arguments and errors as :func:`check_wide`.

    It stands in no bundle, so no rollout holds it back.
    """
    reach, groups = sum(counts.values()), sum(map(bool, counts.values()))
    if everyone or not publishing.ask_above or reach <= publishing.ask_above:
        return ""
    where = f"{groups} groups" if groups > 1 else "1 group"
    problem = f"a lower 'minimum_serial' lets {reach} agents in {where} have secrets at once"
    hint = "No rollout holds that back: apply it by itself, and with --all"
    if dry_run:
        return f"{problem}. {hint}"
    raise ConflictError("reach", problem, hint)
