"""What people see of Proxy Managers. Times are unix seconds, durations seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyView:
    """One Proxy Manager: its definition, and how the agent that it is stands.

    Attributes:
        name: Of the definition, and of its agent.
        state: connected (and on time), else its presence; or what stands before that: not enrolled, new, refused, revoked.
        uid: Of the agent that it is; empty before there is one.
        groups, members: Groups, and single agents, that are given to it; groups count with those below them.
        names, port: By which agents dial it.
        custody: Stream → hop or end to end.
        agents: How many agents are at it now.
        spool: Stream → records, bytes and oldest (unix seconds) of what waits there, as it says.
        cache: How what it keeps for its agents stands, as it says: bytes, damaged (files), problem; empty before it said.
        via: Proxies between it and this Manager, the one nearest to the Manager first.
        version: Of its program; empty before it reported.
        behind: In one sentence, that it stays below the Manager's version; empty if it does not.
        age: Seconds since the last contact; None if never seen.
        age_bound: Seconds that what it says of itself is not older than; None unless it is on time.
        changed: When the definition was changed last.
        status: All that it says of how it stands; empty in lists.
        path: Each hop from this Manager to it; empty in lists.
        visits: Definitions of agents that it is to visit, by name; empty in lists.
    """

    name: str
    state: str
    uid: str
    groups: tuple[str, ...]
    members: tuple[str, ...]
    names: tuple[str, ...]
    port: int
    custody: Mapping[str, str]
    agents: int
    spool: Mapping[str, Mapping[str, float]]
    cache: Mapping[str, float | str]
    via: tuple[str, ...]
    version: str
    behind: str
    mode: str
    dialer: str
    address: str
    last_contact: float | None
    age: float | None
    age_bound: float | None
    certificate_until: float | None
    changed: float
    edition: int
    annotations: Mapping[str, str]
    status: Mapping[str, Any] = field(default_factory=dict)
    path: tuple[Mapping[str, Any], ...] = ()
    visits: tuple[str, ...] = ()
