"""What the summary window shows: plain data. Times are unix seconds, durations seconds, shares 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Flow(StrEnum):
    """How the summary of an agent comes in."""

    IN_TIME = "in time"
    """What is shown is not older than its bound."""
    LATE = "late"
    """It is older than it should be, or the agent is not on time."""
    PAUSED = "paused"
    """Collection is paused on the machine."""
    KEPT = "kept"
    """Its upload is off: what is collected stays on the machine."""
    NONE = "none"
    """Nothing is collected for it: no policy of type ``collect`` asks for it, or the agent is not one of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryView:
    """One agent in the summary window.

    Attributes:
        sync: in sync, pending, failed, drifted or cannot take it.
        mode, dialer, server: What the agent says is in force; empty if unknown.
        fallback: Code of why the mode is not the one that was ordered; empty if it is.
        wanted, applied: Serial that is to hold, and that is in force; 0 for none.
        flow: How its summary comes in.
        interval: Between two samples of the summary; None if none is taken.
        at: When the newest of what is shown was sampled, corrected for skew; None if nothing came yet.
        age: How long ago that was.
        bound: What ``age`` does not exceed while the agent is on time; None where nothing bounds it.
        cpu, memory, filesystem: Shares in use; of the fullest filesystem, which is ``mount``. None if not known.
        load: Load average of a minute.
        network: Bytes in a second over all interfaces.
        states: Item of an open alert → warning or error, the worst of its resources.
        stored: Stream → records that are durable here, or were.
        waiting: Stream → records that wait at the agent, as it said last.
        lost: Cause → records that were lost.
        skew: Seconds that its clock is ahead of ours; None if that is not known.
        values: Every item of the newest summary; empty in lists.
    """

    uid: str
    name: str
    group: str
    kind: str
    admission: str
    presence: str
    connected: bool
    last_contact: float | None
    mode: str
    dialer: str
    fallback: str
    server: str
    wanted: int
    applied: int
    sync: str
    flow: str
    interval: float | None
    at: float | None
    age: float | None
    bound: float | None
    cpu: float | None
    memory: float | None
    filesystem: float | None
    mount: str
    load: float | None
    network: float | None
    skew: float | None
    states: Mapping[str, str] = field(default_factory=dict)
    stored: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    values: tuple[ValueView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueView:
    """The newest value of an item."""

    item: str
    resource: str
    value: float
    unit: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSummaryView:
    """One group in the summary window; groups below it have rows of their own.

    Attributes:
        agents: How many it has.
        presence, sync: Word → how many agents are so.
        oldest: Age of the oldest that is shown of an agent that is on time; None if nothing is.
        metrics: cpu, memory, filesystem, load, network → ``max`` and ``mean`` over the agents of which it is known.
        alerts: warning, error → how many agents have an open one, each counted by its worst.
        waiting: Records that wait at its agents.
        lost: Cause → records that its agents lost.
    """

    name: str
    agents: int
    presence: Mapping[str, int]
    sync: Mapping[str, int]
    oldest: float | None
    metrics: Mapping[str, Mapping[str, Any]]
    alerts: Mapping[str, int]
    waiting: int
    lost: Mapping[str, int]
