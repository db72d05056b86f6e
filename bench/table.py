"""``make bench``: runs every scenario, then prints what was measured beside the goals of the design.

``python -m bench.table`` prints the table of the results that are there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.scenario import RESULTS

SCENARIOS = (
    "heartbeats",
    "connections",
    "publish",
    "fanout",
    "order",
    "restart",
    "abuse",
    "resolve",
    "visits",
    "ingest",
    "tail",
    "reading",
    "agent",
    "proxy",
)
Numbers = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Goal:
    """One row: a figure of a scenario, what it should not exceed, and the same of the references.

    Attributes:
        scenario: Which result it stands in.
        row: Kind of connection.
        figure: Name of the figure.
        unit: For people.
        limit: What it should not exceed.
        says: What the row is about.
        scale: From the figure to what the limit is about.
        least: It should not stay below the limit instead.
    """

    scenario: str
    row: str
    figure: str
    unit: str
    limit: float
    says: str
    scale: float = 1.0
    least: bool = False

    @property
    def bound(self) -> str:
        """The limit, for people."""
        return f"{'≥' if self.least else '≤'} {self.limit:g} {self.unit}"

    def is_met(self, figure: float) -> bool:
        """Return whether a figure is as it should be."""
        return figure >= self.limit if self.least else figure <= self.limit


GOALS = (
    Goal("heartbeats", "keep-alive plain", "cpu_us", "µs", 8, "pull: CPU per heartbeat, keep-alive, plain"),
    Goal("heartbeats", "keep-alive TLS", "cpu_us", "µs", 20, "pull: the same, TLS"),
    Goal("heartbeats", "keep-alive mutual TLS", "cpu_us", "µs", 20, "pull: the same, mutual TLS"),
    Goal(
        "heartbeats",
        "new connection mutual TLS resumed",
        "cpu_us",
        "% of a core",
        25,
        "pull: 100,000 agents at 5 min, new connection, mutual TLS, resumed",
        100_000 / 300 / 1e4,
    ),
    Goal(
        "heartbeats",
        "new connection plain",
        "cpu_us",
        "% of a core",
        10,
        "pull: 1,000,000 agents at 5 min, new connection, plain",
        1_000_000 / 300 / 1e4,
    ),
    Goal("connections", "plain", "kb_per_link", "kB", 4, "push: memory per idle link, plain"),
    Goal("connections", "mutual TLS", "kb_per_link", "kB", 40, "push: the same, mutual TLS"),
    Goal("publish", "plain", "last_ms", "ms", 150, "push: publish → the last of 10,000 has it, plain"),
    Goal("publish", "plain", "durable_s", "s", 2, "push: publish → all outcomes durable"),
    Goal("order", "mutual TLS", "p99_ms", "ms", 100, "push: one agent, order → applied → known, p99"),
    Goal("restart", "mutual TLS", "serving_s", "s", 5, "restart with 100,000 agents known: serving"),
    Goal("restart", "mutual TLS", "back_s", "s", 60, "restart: 5,000 TLS agents are back"),
    Goal("restart", "mutual TLS", "lag_p99_ms", "ms", 50, "restart: loop lag p99"),
    Goal("restart", "mutual TLS", "cores", "cores", 1.5, "restart: CPU meanwhile"),
    Goal(
        "ingest",
        "100 agents",
        "otlp_mb_per_core",
        "MB/s",
        100,
        "durable intake of OTLP, per core",
        least=True,
    ),
    Goal(
        "ingest",
        "100 agents",
        "records_per_s",
        "records/s",
        200_000,
        "… the same, from 100 agents",
        least=True,
    ),
    Goal("tail", "one file", "mb_per_cpu_s", "MB/s", 50, "log files into the spool, per core", least=True),
    Goal("tail", "idle", "idle_percent", "% of a core", 0.5, "… waiting for lines of 100 files"),
    Goal(
        "reading",
        "an agent's last hour",
        "max_ms",
        "s",
        1,
        "one agent's last hour of 10,000 agents' day",
        1e-3,
    ),
    Goal("agent", "follow", "p99_s", "s", 1, "push: line written → seen in `popham logs -f`, p99"),
    Goal("agent", "idle", "cpu_percent", "% of a core", 0.5, "one agent at rest: CPU"),
    Goal("agent", "idle", "rss_mb", "MB", 60, "one agent at rest: resident memory"),
    Goal("agent", "idle", "uss_mb", "MB", 60, "… the part of it that no other process shares"),
    Goal("resolve", "tree", "build_ms", "ms", 1000, "1,000 groups of 3 locations: built and signed"),
    Goal("resolve", "tree", "edit_ms", "ms", 5, "the same after one edit"),
    Goal("resolve", "tree", "explain_ms", "ms", 20, "one agent of 100,000 is explained"),
    Goal("fanout", "plain", "fan_ms", "ms", 150, "push: first → last of 10,000 asked for a round, plain"),
    Goal("abuse", "mutual TLS", "lag_p99_ms", "ms", 50, "attackers of all kinds: loop lag p99"),
    Goal("abuse", "mutual TLS", "push_p99_moved", "%", 10, "… good agents' p99 moved, push"),
    Goal("abuse", "mutual TLS", "pull_p99_moved", "%", 10, "… the same, pull"),
    Goal("abuse", "mutual TLS", "surprises", "", 0, "… attackers answered otherwise than they should be"),
    Goal("abuse", "mutual TLS", "failed", "", 0, "… good agents that failed"),
    *(
        Goal(
            "visits",
            row,
            "cpu_us",
            "% of a core",
            10,
            f"visits: 10,000 agents at 10 min, new connection, {row}",
            10_000 / 600 / 1e4,
        )
        for row in ("plain", "TLS in full", "TLS resumed")
    ),
    Goal("visits", "TLS resumed", "kb_per_target", "kB", 30, "visits: memory per agent that is visited"),
    Goal(
        "visits", "one in ten dead", "latest", "intervals", 1.1, "visits: one in ten dead, the latest other"
    ),
    Goal("proxy", "quiet", "percent", "%", 5, "proxies: CPU for 100,000 agents behind 10, of direct ones'"),
    Goal(
        "proxy", "quiet", "over_kb", "kB", 20, "… an exchange for 10,000 quiet agents, over 3 rounds of one"
    ),
    Goal(
        "proxy",
        "quiet",
        "rounds",
        "rounds",
        3,
        "… its CPU at the Manager, in rounds of one agent, all kept open",
    ),
    Goal(
        "proxy",
        "quiet",
        "rounds_alone",
        "rounds",
        3,
        "… the same, one at a time: the Manager is woken for each",
    ),
    Goal(
        "proxy",
        "quiet",
        "rounds_anew",
        "rounds",
        3,
        "… the same, each over a new connection, as agents that pull",
    ),
    Goal("proxy", "order", "added_p99_ms", "ms", 20, "… added to a push by a hop, p99"),
    Goal("proxy", "publish", "known_s", "s", 3, "… publish → 10,000 behind one: applied and known"),
    Goal(
        "proxy", "publish", "memory", "of the Manager's", 1, "… memory per agent with its link, at the proxy"
    ),
)
REFERENCES = (
    "aiohttp",
    "nginx",
    "go",
    "append and fsync of the same OTLP",
    "tail and gzip",
    "tail -F",
    "direct",
)


def load_results() -> dict[str, Mapping[str, Any]]:
    """Return the newest result of every scenario that has one."""
    found = {}
    for scenario in SCENARIOS:
        path = RESULTS / f"{scenario}.json"
        if path.exists():
            found[scenario] = json.loads(path.read_text(encoding="utf-8"))
    return found


def render_row(goal: Goal, numbers: Numbers) -> str:
    """Return one line of the table."""
    figure = find_figure(goal, numbers, "popham")
    if figure is None:
        return f"| {goal.says} | {goal.bound} | not measured | | | |"
    beside = [
        f"{name} {value:.3g}"
        for name in REFERENCES
        if (value := find_figure(goal, numbers, name)) is not None
    ]
    verdict = "met" if goal.is_met(figure) else "**not met**"
    load = numbers[f"{goal.row}: popham"]["load"]
    return f"| {goal.says} | {goal.bound} | {figure:.3g} | {verdict} | {', '.join(beside)} | {load:g} |"


def find_figure(goal: Goal, numbers: Numbers, server: str) -> float | None:
    """Return a goal's figure for one server; None if it was not measured."""
    row = numbers.get(f"{goal.row}: {server}", {})
    return float(row[goal.figure]) * goal.scale if goal.figure in row else None


def render_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table in Markdown, and what it was measured on."""
    lines = ["| what | goal | measured | | beside it | load |", "|---|---|---|---|---|---|"]
    lines += [render_row(goal, results.get(goal.scenario, {}).get("numbers", {})) for goal in GOALS]
    for scenario, result in results.items():
        machine = result["machine"]
        lines.append(
            f"\n{scenario}: commit {result['commit']}, Python {result['python']}, {machine['cores']} cores "
            f"of {machine['cpu']}, Linux {machine['kernel']}; `{result['command']}`"
        )
    return "\n".join(lines)


def main(words: list[str], say: Callable[[str], object] = print) -> None:
    """Print the table; with ``--run``, after running every scenario."""
    if "--run" in words:
        rest = [word for word in words if word != "--run"]
        for scenario in SCENARIOS:
            subprocess.run([sys.executable, "-m", f"bench.{scenario}", *rest], check=True)
    say(render_table(load_results()))


if __name__ == "__main__":
    main(sys.argv[1:])
