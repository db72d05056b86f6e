"""Push: the smallest news there is, a question for a round, told to every agent over plain links.

The clock starts when somebody asks for it by the REST API (``check-in --all``), so reading who is
known is in it.  The reference sends as many messages from memory, and nothing is asked of it before.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from bench.machine import cpu_of
from bench.scenario import Figures, repeat, run_scenario
from bench.servers import Fixture, aiohttp_reference, manager_fixture
from popham.testing.load.crew import Crew
from popham.testing.load.fleet import Target

AGENTS = 10_000


def tell(crew: Crew, send: Callable[[], object], pid: int, count: int) -> Figures:
    """Have every agent told once.

    CPU is all that the server spends from the question on until it has answered the last report.
    """
    began, spent = time.monotonic(), cpu_of(pid)
    crew.order("fresh", since=began)
    began = time.monotonic()
    send()
    seen = crew.wait(lambda sight: sight.applied >= count or bool(sight.failed), seconds=60, every=0.1)
    if seen.failed:
        raise SystemExit(f"links were lost: {dict(seen.failed)}")
    return {
        "first_ms": (seen.first - began) * 1000,
        "p50_ms": seen.told.percentile(0.5) * 1000,
        "last_ms": (seen.last - began) * 1000,
        "fan_ms": (seen.last - seen.first) * 1000,
        "answered_s": seen.last_applied - began,
        "cpu_us_per_message": (cpu_of(pid) - spent) / count * 1e6,
    }


def measure(
    target: Target, fixture: Fixture, send: Callable[[], object], pid: int, count: int, repeats: int
) -> Mapping[str, Any]:
    """Hold links and tell them all, once to try it."""
    with Crew(target, processes=2 if count > 1000 else 1, file=fixture.file, count=count) as crew:
        crew.order("hold", heartbeat=0)
        crew.wait(lambda sight: sight.held == count, seconds=120)
        tell(crew, send, pid, count)
        return repeat(lambda: tell(crew, send, pid, count), repeats)


def rows(asked: argparse.Namespace) -> Mapping[str, Any]:
    """Measure the Manager and aiohttp, one after the other."""
    count = 300 if asked.small else AGENTS
    figures: dict[str, Any] = {}
    with manager_fixture() as fixture:
        fixture.plant(stock=count)
        fixture.start(plain=True)
        with fixture.client() as client:
            figures["plain: popham"] = measure(
                fixture.target(plain=True),
                fixture,
                lambda: client.check_in(everyone=True),
                fixture.pid,
                count,
                asked.repeats,
            )
        fixture.stop()
        with aiohttp_reference(fixture, plain=True) as (target, pid):
            figures["plain: aiohttp"] = measure(
                target, fixture, lambda: os.kill(pid, signal.SIGUSR1), pid, count, asked.repeats
            )
    return figures


if __name__ == "__main__":
    run_scenario("fanout", rows)
