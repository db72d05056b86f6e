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


def check_wide(publishing: Publishing, counts: Mapping[str, int], *, decided: bool, dry_run: bool) -> str:
    """Return a warning about how far a change reaches; empty if it is decided, or not far.

    Args:
        publishing: The bound.
        counts: Group with new content → its agents.
        decided: Whether somebody said that all have it at once, or that a few have it first.
        dry_run: Warn only.

    Raises:
        ConflictError: ``conflict.reach``: it reaches too many, and nobody decided that.
    """
    hint = "Let a few have it first: --canary 1% --soak 10m --halt-on 5%; or give it to all: --all"
    if decided or not _is_far(publishing, counts):
        return ""
    return _ask(f"this gives new content to {_where(counts)} at once", hint, dry_run=dry_run)


def check_opened(publishing: Publishing, counts: Mapping[str, int], *, decided: bool, dry_run: bool) -> str:
    """Return a warning about how many a lower ``minimum_serial`` reaches; arguments and errors as :func:`check_wide`.

    It stands in no bundle, so no rollout holds it back.
    """
    hint = "No rollout holds that back: apply it by itself, and with --all"
    if decided or not _is_far(publishing, counts):
        return ""
    return _ask(f"a lower 'minimum_serial' lets {_where(counts)} have secrets at once", hint, dry_run=dry_run)


def _is_far(publishing: Publishing, counts: Mapping[str, int]) -> bool:
    return 0 < publishing.ask_above < sum(counts.values())


def _where(counts: Mapping[str, int]) -> str:
    groups = sum(map(bool, counts.values()))
    return f"{sum(counts.values())} agents in {groups} group{'s' if groups > 1 else ''}"


def _ask(problem: str, hint: str, *, dry_run: bool) -> str:
    if not dry_run:
        raise ConflictError("reach", problem, hint)
    return f"{problem}. {hint}"
