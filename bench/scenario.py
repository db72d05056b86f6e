"""How a scenario runs: three repeats, medians, one JSON line."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.machine import describe_machine, find_commit, load_now

RESULTS = Path(__file__).parent / "results"
REPEATS = 3
Figures = Mapping[str, float]


def repeat(measure: Callable[[], Figures], times: int) -> dict[str, Any]:
    """Return the median of every figure of ``times`` measurements, and the load beside them."""
    runs = []
    for _ in range(times):
        before = load_now()
        runs.append(dict(measure()) | {"load": max(before, load_now())})
    medians = {name: _round(statistics.median(run[name] for run in runs)) for name in runs[0]}
    return medians | {"runs": [{name: _round(value) for name, value in run.items()} for run in runs]}


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def run_scenario(name: str, rows: Callable[[argparse.Namespace], Mapping[str, Any]]) -> None:
    """Run a scenario as a program: ``--small`` to try it, ``--repeats`` to do it more than once.

    A small run prints its line and leaves the results alone.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--small", action="store_true", help="few agents and a second each: to try it")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", default="", help="rows whose name begins so")
    asked = parser.parse_args()
    if asked.small:
        asked.repeats = 1
    line = {
        "scenario": name,
        "machine": describe_machine(),
        "commit": find_commit(),
        "python": platform.python_version(),
        "command": " ".join(["python", "-m", f"bench.{name}", *sys.argv[1:]]),
        "numbers": dict(rows(asked)),
    }
    text = json.dumps(line)
    print(text)
    if not asked.small and not asked.only:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
