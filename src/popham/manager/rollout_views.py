"""What people are shown of rollouts; plain data, times in unix seconds, 0 for not yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveView:
    """One wave; ``share`` is 0 to 1, ``marks`` is percent of the cohort that had applied → when."""

    share: float
    began: float
    settled: float
    ended: float
    marks: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubled:
    """An agent of a cohort that failed, fell silent, or is waited for, and why."""

    name: str
    uid: str
    group: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutView:
    """One rollout.

    Attributes:
        id: Its name, such as ``r12``.
        state: ``held``, ``running``, ``paused``, ``halted``, ``promoted`` or ``undone``.
        reason: Why it is paused or halted; empty otherwise.
        since: When it came into this state; 0 while it is as it began.
        by: Who brought it there; ``popham`` for the Manager itself.
        next: What happens next, and when, in a sentence.
        author: Who began it.
        at: When.
        message: Why, as its author said.
        changes: What it is about, such as ``policy/motd``.
        groups: Groups whose agents it concerns.
        wave: Number of the wave, from 1.
        waves: All waves.
        soak: Seconds.
        halt_on: Share of a cohort, 0 to 1.
        agents, cohort, applied, failed, silent, pending, away, named: As :class:`popham.model.rollout.Tally`.
        errors: The first that failed or fell silent; of one rollout only.
        stuck: Those that are waited for; of one rollout only.
    """

    id: str
    state: str
    reason: str
    next: str
    author: str
    at: float
    message: str
    changes: tuple[str, ...]
    groups: tuple[str, ...]
    wave: int
    waves: tuple[WaveView, ...]
    soak: float
    halt_on: float
    agents: int = 0
    cohort: int = 0
    applied: int = 0
    failed: int = 0
    silent: int = 0
    pending: int = 0
    away: int = 0
    named: int = 0
    errors: tuple[Troubled, ...] = ()
    stuck: tuple[Troubled, ...] = ()
    since: float = 0.0
    by: str = ""
