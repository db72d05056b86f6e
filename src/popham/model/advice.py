"""The advice of both founding documents, with the user's own numbers.

Rules:

1. An advice is given where it applies to what is planned, and names what was measured.
2. It stops nobody: it is a sentence and a hint, never an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from popham.model.cell import Dialer, Mode
from popham.model.communication import HEARTBEAT_MAX
from popham.model.cost import Cost, Load, cost, round_us
from popham.model.duration import show_duration
from popham.model.measured import Connection, Measured

SHORT = 1800.0
"""Seconds. Source: SEPM, "30 minutes or less … limits the total number of clients"."""
MANY = 1000
"""Agents. Source: SEPM, "for deployments of 1,000 clients or more … the maximum length of time possible"."""
DAILY = 86400.0
"""Seconds. Source: SEPM, "policies and logs on a daily basis … 24 hours"."""
FULL = 0.8
"""Part of the connections at which the limit is named: a restart must have room."""
BORNE = 0.5
"""Cores that rounds may take: the other half of the Manager's one is for changes, returns and people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one Manager's process can bear.

    Attributes:
        connections: Open connections: its limit of open files, or its configuration if that is less.
            Source: design 6, about 19,900 on the machines that were measured.
        cores: Cores that rounds may take.
    """

    connections: int = 19_000
    cores: float = BORNE


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One advice.

    Attributes:
        code: Stable name.
        sentence: What it is about, with numbers.
        hint: What to do.
        warns: Whether something would not be borne; else it is only dearer, or later.
    """

    code: str
    sentence: str
    hint: str
    warns: bool = False


def advise(
    before: Sequence[Load], after: Sequence[Load], measured: Measured, bounds: Bounds
) -> tuple[Advice, ...]:
    """Return what the founding documents, and what was measured, say to a change from ``before`` to ``after``."""
    was, new = cost(before, measured), cost(after, measured)
    fresh = _new(before, after)
    found = [
        *_rounds(new, after, measured, bounds),
        *_short(fresh, measured, bounds),
        *_many(new, fresh, after),
        *_links(was, new, measured),
        *_open_files(new, bounds),
        *_visits(fresh),
    ]
    return tuple(found)


def _new(before: Sequence[Load], after: Sequence[Load]) -> list[Load]:
    """Return the loads that were not there before, the largest first; all of them if nothing changes."""
    held = Counter(before)
    fresh = list((Counter(after) - held).elements()) or list(after)
    return sorted((load for load in fresh if load.agents), key=lambda load: (-load.agents, load.heartbeat))


def _rounds(new: Cost, after: Sequence[Load], measured: Measured, bounds: Bounds) -> Iterator[Advice]:
    if new.cpu_cores <= bounds.cores:
        return
    beat = bearable(after, measured, bounds)
    longer = (
        f"With a heartbeat of {show_duration(beat)} where agents pull it would be borne; or use"
        if beat
        else "Use"
    )
    yield Advice(
        code="too_many_rounds",
        sentence=f"{show_number(new.agents)} agents at these heartbeats are {show_rate(new.rounds_per_second)} "
        f"rounds a second, which take {show_rate(new.cpu_cores)} cores; this Manager was measured to bear "
        f"{show_rate(bounds.cores)}",
        hint=f"{longer} several Managers",
        warns=True,
    )


def bearable(loads: Sequence[Load], measured: Measured, bounds: Bounds) -> float:
    """Return the shortest heartbeat of all that pull by which rounds are borne, in whole minutes; 0 if none is."""
    pulls = [load for load in loads if load.mode is Mode.PULL]
    held = [load for load in loads if load.mode is Mode.PUSH]
    left = bounds.cores - cost(held, measured).cpu_cores
    spent = sum(load.agents * measured.ways[load.connection].connect_us for load in pulls) / 1e6
    if not pulls or left <= 0 or spent / left > HEARTBEAT_MAX:
        return 0.0
    return 60.0 * max(2, -(-int(spent / left + 0.999) // 60))


def _short(fresh: Sequence[Load], measured: Measured, bounds: Bounds) -> Iterator[Advice]:
    short = [load for load in fresh if load.mode is Mode.PULL and load.heartbeat <= SHORT]
    if not short:
        return
    beat = min(load.heartbeat for load in short)
    agents = sum(load.agents for load in short)
    some = f"{show_agents(agents)} pull{'s' if agents == 1 else ''} every {show_duration(beat)}"
    if any(load.heartbeat != beat for load in short):
        some += " or a little less often"
    yield Advice(
        code="short_heartbeat",
        sentence=f"{some}: a heartbeat of {show_duration(SHORT)} or less limits how many agents a Manager "
        f"bears, here to about {show_rough(capacity(beat, measured, bounds))} by their rounds alone",
        hint=f"At 1h its rounds allow about {show_rough(capacity(3600.0, measured, bounds))}; "
        "keep the short heartbeat where news has to arrive so soon",
    )


def capacity(heartbeat: float, measured: Measured, bounds: Bounds) -> float:
    """Return how many agents of ours a Manager bears that all pull at ``heartbeat`` seconds."""
    one = Load(agents=1, mode=Mode.PULL, heartbeat=heartbeat, longest=heartbeat)
    return bounds.cores * heartbeat * 1e6 / round_us(one, measured)


def _many(new: Cost, fresh: Sequence[Load], after: Sequence[Load]) -> Iterator[Advice]:
    if new.agents < MANY or not any(load.mode is Mode.PULL and load.heartbeat < DAILY for load in fresh):
        return
    pulls = [load for load in after if load.mode is Mode.PULL and load.heartbeat < DAILY]
    agents = sum(load.agents for load in pulls)
    rounds = sum(load.agents / load.heartbeat for load in pulls)
    beat = min(load.heartbeat for load in pulls)
    yield Advice(
        code="longest_heartbeat",
        sentence=f"{show_number(new.agents)} agents: from {show_number(MANY)} on, take the longest heartbeat that "
        f"still meets your need; {show_number(agents)} of them pull every {show_duration(beat)}"
        f"{' or less often' if len({load.heartbeat for load in pulls}) > 1 else ''}",
        hint="'popham plan --age AGE' names the longest heartbeat by which nothing shown is older than AGE",
    )
    yield Advice(
        code="daily_heartbeat",
        sentence="If it is enough to update policies and gather logs once a day, a heartbeat of 24h makes "
        f"{show_rate(agents / DAILY)} rounds a second instead of {show_rate(rounds)}",
        hint="Set 'heartbeat: 24h'; 'popham agent check-in' on a machine fetches news in between",
    )


def _links(was: Cost, new: Cost, measured: Measured) -> Iterator[Advice]:
    more = new.links - was.links
    if more <= 0:
        return
    way = measured.ways[Connection.MUTUAL]
    yield Advice(
        code="held_links",
        sentence=f"Push holds a constant connection: {show_number(more)} more, for {show_mb(more * way.link_kb / 1000)}"
        f" of memory and {show_bytes(more * measured.ping_bytes / measured.keepalive)}/s of keepalives",
        hint="Pull needs less bandwidth and no constant connection; a change then waits for the heartbeat",
    )


def _open_files(new: Cost, bounds: Bounds) -> Iterator[Advice]:
    if new.connections <= FULL * bounds.connections:
        return
    over = new.connections > bounds.connections
    yield Advice(
        code="open_files",
        sentence=f"{show_number(new.connections)} connections would be open at a time; the limit of open files and the "
        f"configuration of this Manager allow {show_number(bounds.connections)}"
        + (", and agents above that are turned away" if over else ", and a restart needs room"),
        hint="Use 'Pull by heartbeat' with more than a minute for some groups, or raise the limit of open files "
        "(LimitNOFILE) and 'limits.connections'",
        warns=True,
    )


def _visits(fresh: Sequence[Load]) -> Iterator[Advice]:
    visited = [load for load in fresh if load.dialer is Dialer.MANAGER and load.mode is Mode.PULL]
    if not visited:
        return
    beat = max(load.longest for load in visited)
    yield Advice(
        code="visits",
        sentence=f"The Manager visits {show_agents(sum(load.agents for load in visited))} at regular intervals: it can "
        f"take {show_duration(beat)} until information is shown, and twice that, {show_duration(2 * beat)}, "
        "after a visit that failed",
        hint="The service on the machines does not start by default: start it before the first visit",
    )


def show_number(number: float) -> str:
    """Return a whole number with its thousands apart: ``12,500``."""
    return f"{number:,.0f}"


def show_agents(number: int) -> str:
    """Return ``1 agent`` or ``12,500 agents``."""
    return f"{show_number(number)} agent{'' if number == 1 else 's'}"


def show_rough(number: float) -> str:
    """Return a number with two digits that count: ``71,000``."""
    return show_number(float(f"{number:.2g}"))


def show_rate(number: float) -> str:
    """Return a number with as many digits as say something: ``3.3``, ``0.014``, ``333``."""
    return show_number(number) if number >= 100 else f"{float(f'{number:.2g}'):g}"


def show_bytes(number: float) -> str:
    """Return bytes with their unit: ``4.9 kB``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{show_rate(number / size)} {unit}"
    return f"{show_rate(number)} B"


def show_mb(number: float) -> str:
    """Return megabytes: ``27 MB``."""
    return show_bytes(number * 1e6)
