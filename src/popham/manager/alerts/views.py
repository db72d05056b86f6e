"""What people see of alerts and silences: plain data. Times are unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView:
    """One alert.

    Attributes:
        id: Of the alert; the same for the same item and resource of an agent.
        uid, agent, group: About whom.
        item, resource: What is watched, and which of them.
        state: warning, error or recovered.
        since: When it came into this state.
        text: One sentence.
        note: What the policy says beside it.
        value, bound: The value that was sampled, and beyond which one that is; empty if there is none.
        thresholds: Threshold → state, of those that are not recovered.
        told: Route → state that it was told last.
        silence: The silence that is on for it; empty if there is none.
    """

    id: str
    uid: str
    agent: str
    group: str
    item: str
    resource: str
    state: str
    since: float
    text: str
    note: str
    value: str
    bound: str
    thresholds: Mapping[str, str]
    told: Mapping[str, str]
    silence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceView:
    """One silence.

    Attributes:
        begins, ends: When it is on.
        state: ``on``, or ``over``.
        group, selector: Of which agents; empty for all.
        item, resource: Which alerts, with ``*`` and ``?``; empty for all.
        author: Who wants it.
        message: Why.
    """

    name: str
    begins: float
    ends: float
    state: str
    group: str
    selector: str
    item: str
    resource: str
    author: str
    message: str
