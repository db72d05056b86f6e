"""Push: what an idle held link costs in memory, the agent's state included, beside aiohttp.

The Manager's memory without agents is taken off; nothing else is.  How fast links are taken says
little of TLS: the agents' half of the handshakes is made on the same machine, and costs more.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

from bench.machine import cpu_of, memory_of
from bench.scenario import Figures, repeat, run_scenario
from bench.servers import Fixture, aiohttp_reference, manager_fixture
from popham.testing.load.crew import Crew
from popham.testing.load.fleet import Target

PLAIN, MUTUAL = 4_000, 1_000
"""Links; what one costs no longer depends on how many there are."""
PATIENCE = 60.0
"""Seconds until a server that does not take all of them is given up."""


def hold(fixture: Fixture, target: Target, pid: int, count: int, empty: int) -> Figures:
    """Open links, and return what they cost the server."""
    loaded, spent = memory_of(pid), cpu_of(pid)
    with Crew(target, processes=2, file=fixture.file, count=count) as crew:
        began = time.monotonic()
        crew.order("hold", heartbeat=0)
        crew.wait(lambda seen: seen.held == count, seconds=PATIENCE)
        took, spent = time.monotonic() - began, cpu_of(pid) - spent
        time.sleep(1.0)
        full = memory_of(pid)
    return {
        "kb_per_link": (full - empty) / count / 1000,
        "kb_of_state": (loaded - empty) / count / 1000,
        "accept_cpu_us": spent / count * 1e6,
        "accepts_per_second": count / took,
    }


def rows(asked: argparse.Namespace) -> Mapping[str, Any]:
    """Measure plain and mutual TLS, the Manager and aiohttp."""
    figures: dict[str, Any] = {}
    for name, plain, count in (("plain", True, PLAIN), ("mutual TLS", False, MUTUAL)):
        if not name.startswith(asked.only):
            continue
        links = min(count, 300) if asked.small else count
        with manager_fixture() as fixture:
            fixture.start(plain=plain)
            time.sleep(0.5)
            empty = memory_of(fixture.pid)
            fixture.stop()
            fixture.plant(own=0 if plain else links, stock=links if plain else 0)

            def popham() -> Figures:
                fixture.start(plain=plain)  # noqa: B023  # called at once
                try:
                    return hold(fixture, fixture.target(plain=plain), fixture.pid, links, empty)  # noqa: B023  # likewise
                finally:
                    fixture.stop()

            def aiohttp() -> Figures:
                with aiohttp_reference(fixture, plain=plain) as (target, pid):  # noqa: B023  # called at once
                    time.sleep(0.5)
                    return hold(fixture, target, pid, links, memory_of(pid))  # noqa: B023  # likewise

            figures[f"{name}: popham"] = repeat(popham, asked.repeats)
            figures[f"{name}: aiohttp"] = repeat(aiohttp, asked.repeats)
    return figures


if __name__ == "__main__":
    run_scenario("connections", rows)
