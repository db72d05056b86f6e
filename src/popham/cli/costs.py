"""What communication settings cost, as people read it: a table before and after, sentences, and an age."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from popham.cli.text import align, clean
from popham.model.advice import DAILY, show_agents, show_bytes, show_mb, show_number, show_rate
from popham.model.cost import longest_heartbeat
from popham.model.duration import show_duration

Costs = Mapping[str, Any]
"""``costs`` of an apply, as the API renders it."""


@dataclass(frozen=True, slots=True)
class _Row:
    title: str
    cell: Callable[[Mapping[str, Any]], str]
    warned: bool = False
    """Whether the one line that an apply prints has it."""


def _share(cores: float) -> str:
    return f"{show_rate(cores * 100)} % of a core"


def _old(seconds: float) -> str:
    return f"{show_duration(seconds)} old" if seconds else "-"


def _wait(cost: Mapping[str, Any]) -> str:
    if not cost["agents"]:
        return "-"
    return show_duration(cost["wait_bound_s"]) if cost["wait_bound_s"] else "at once"


_ROWS = (
    _Row("Agents", lambda cost: show_number(cost["agents"])),
    _Row("Rounds per second", lambda cost: show_rate(cost["rounds_per_second"]), warned=True),
    _Row("Held links", lambda cost: show_number(cost["links"]), warned=True),
    _Row("Open connections", lambda cost: show_number(cost["connections"])),
    _Row("CPU for rounds", lambda cost: _share(cost["cpu_cores"])),
    _Row("Memory of the Manager", lambda cost: show_mb(cost["memory_mb"])),
    _Row("Bandwidth, nothing new", lambda cost: f"{show_bytes(cost['bandwidth'])}/s", warned=True),
    _Row("Shown data is at most", lambda cost: _old(cost["age_bound_s"]), warned=True),
    _Row("A change waits at most", _wait),
    _Row("One change to all: CPU", lambda cost: f"{show_rate(cost['change_cpu_s'])} s"),
    _Row("One change to all: bytes", lambda cost: show_bytes(cost["change_bytes"])),
)


def shift_lines(costs: Costs) -> list[str]:
    """Return where communication settings change, as a table; nothing if they do not."""
    if not costs["shifts"]:
        return []
    rows = [["GROUP", "LOCATION", "AGENTS", "COMMUNICATION"]]
    for shift in costs["shifts"]:
        change = f"{shift['before']} -> {shift['after']}" if shift["before"] else shift["after"]
        rows.append([shift["group"], shift["location"] or "all", show_number(shift["agents"]), change])
    return _lay_out(rows)


def cost_table(costs: Costs) -> list[str]:
    """Return what the fleet costs before and after, a figure on each line."""
    rows = [["WHAT THE FLEET COSTS", "BEFORE", "AFTER"]]
    rows += [[row.title, row.cell(costs["before"]), row.cell(costs["after"])] for row in _ROWS]
    limit = f"This Manager may have {show_number(costs['connections_max'])} open connections."
    return [*_lay_out(rows), limit, f"Costs of rounds and links: {clean(costs['measured'])}."]


def advice_lines(costs: Costs) -> Iterator[str]:
    """Yield each advice: what it is about, then what to do."""
    for advice in costs["advice"]:
        yield f"{'Warning' if advice['warns'] else 'Advice'}: {clean(advice['sentence'])}."
        yield f"  {clean(advice['hint'])}."


def cost_warnings(costs: Costs | None) -> Iterator[str]:
    """Yield what an apply warns of: what becomes dearer or older, in one line, then the advice."""
    if costs is None or costs["before"] == costs["after"]:
        return
    parts = [
        f"{row.title[0].lower()}{row.title[1:]} {row.cell(costs['before'])} -> {row.cell(costs['after'])}"
        for row in _ROWS
        if row.warned
    ]
    yield f"The whole fleet: {', '.join(parts)}."
    yield from advice_lines(costs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """What keeps an age that somebody asked for.

    Attributes:
        age_s: The age, in seconds.
        bound_s: What is shown is not older, after the change.
        longest_heartbeat_s: The longest heartbeat that keeps it; None if none does.
        agents: How many there are.
        rounds_per_second: Of all of them, with that heartbeat everywhere; 0 if there is none.
    """

    age_s: float
    bound_s: float
    longest_heartbeat_s: float | None
    agents: int
    rounds_per_second: float

    @classmethod
    def of(cls, costs: Costs, age_s: float) -> Age:
        """Return what keeps ``age_s`` in the fleet that ``costs`` are of."""
        beat = longest_heartbeat(age_s)
        after = costs["after"]
        return cls(
            age_s=age_s,
            bound_s=after["age_bound_s"],
            longest_heartbeat_s=beat,
            agents=after["agents"],
            rounds_per_second=after["agents"] / beat if beat else 0.0,
        )

    def lines(self) -> Iterator[str]:
        """Yield it in sentences."""
        age = show_duration(self.age_s)
        if self.longest_heartbeat_s is None:
            yield f"No heartbeat of a second or more keeps what is shown younger than {age}."
            return
        beat = show_duration(self.longest_heartbeat_s)
        rounds = show_rate(self.rounds_per_second)
        yield f"The longest heartbeat by which nothing shown is older than {age}: {beat}."
        yield f"With it in all groups, {show_agents(self.agents)} make {rounds} rounds a second."
        if self.bound_s > self.age_s:
            yield f"It is not kept: some agents have a heartbeat of {show_duration(self.bound_s)} after this."
        elif 0 < self.bound_s < self.longest_heartbeat_s:
            yield f"It is kept, and there is room: the longest heartbeat after this is {show_duration(self.bound_s)}."
        elif self.bound_s:
            yield "It is kept."
        if self.age_s >= DAILY:
            yield "Where policies are updated and logs gathered once a day, a heartbeat of 24h is enough."


def _lay_out(rows: Sequence[Sequence[str]]) -> list[str]:
    return align([[clean(cell) for cell in row] for row in rows])
