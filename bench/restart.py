"""A Manager that knows 100,000 agents is killed: how soon it serves again, and 5,000 held links are back."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Mapping
from typing import Any

from bench.machine import cpu_of, memory_of
from bench.scenario import Figures, repeat, run_scenario
from bench.servers import Fixture, manager_fixture
from popham.testing.load.crew import Crew

KNOWN, HELD = 100_000, 5_000
PROCESSES = 2


def restart(fixture: Fixture, crew: Crew, held: int) -> Figures:
    """Kill the Manager, start it, and wait for the links."""
    crew.order("fresh")
    fixture.stop(signal.SIGKILL)
    began = time.monotonic()
    serving = fixture.start(plain=False)
    before = memory_of(fixture.pid)
    seen = crew.wait(lambda sight: sight.opened >= held and sight.held == held, seconds=180, every=0.2)
    back = time.monotonic() - began
    return {
        "serving_s": serving,
        "back_s": back,
        "cores": cpu_of(fixture.pid) / back,
        "attempts": 1 + sum(seen.failed.values()) / held,
        "opening_p99_ms": seen.opening.percentile(0.99) * 1000,
        "mb_before": before / 1e6,
        "mb_after": memory_of(fixture.pid) / 1e6,
    }


def rows(asked: argparse.Namespace) -> Mapping[str, Any]:
    """Measure one restart after another."""
    known, held = (2_000, 200) if asked.small else (KNOWN, HELD)
    with manager_fixture() as fixture:
        fixture.plant(own=known, certified=held)
        fixture.start(plain=False)
        with Crew(fixture.target(plain=False), processes=PROCESSES, file=fixture.file, count=held) as crew:
            crew.order("hold", heartbeat=0)
            crew.wait(lambda sight: sight.held == held, seconds=180)
            figures = repeat(lambda: restart(fixture, crew, held), asked.repeats)
    return {"mutual TLS: popham": figures}


if __name__ == "__main__":
    run_scenario("restart", rows)
