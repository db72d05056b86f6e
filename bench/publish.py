"""Push: from a change that somebody applies until the last agent has it, and until every outcome is durable.

Stock agents over plain links, our own over mutual TLS.  The clock starts when
the change is asked for by the REST API, so building and signing are in it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from bench.machine import cpu_of
from bench.scenario import Figures, repeat, run_scenario
from bench.servers import Fixture, aiohttp_reference, manager_fixture
from popham.client import Client
from popham.testing.load.crew import Crew

PLAIN, MUTUAL = 10_000, 3_000
_TREE = """
apiVersion: popham/v1
kind: Policy
metadata: {{name: bench-otelcol}}
spec: {{type: otelcol, config: {{exporters: {{debug: {{verbosity: "edition {edition}"}}}}}}}}
---
apiVersion: popham/v1
kind: Policy
metadata: {{name: bench-files}}
spec: {{type: files, files: [{{path: /etc/popham.d/motd, content: "edition {edition}"}}]}}
---
apiVersion: popham/v1
kind: Group
metadata: {{name: fleet}}
spec:
  policies: {{otelcol: bench-otelcol, files: bench-files}}
"""
editions = itertools.count(1)


def apply(client: Client) -> None:
    """Change both policies."""
    client.apply([("bench.yaml", _TREE.format(edition=f"{time.time_ns()}-{next(editions)}"))], everyone=True)


def tell(crew: Crew, client: Client, pid: int, count: int) -> Figures:
    """Publish once and wait for every outcome."""
    crew.order("fresh")
    spent, began = cpu_of(pid), time.monotonic()
    apply(client)
    answered = time.monotonic()
    seen = crew.wait(lambda sight: sight.applied >= count or bool(sight.failed), seconds=60, every=0.1)
    if seen.failed:
        raise SystemExit(f"links were lost: {dict(seen.failed)}")
    return {
        "apply_ms": (answered - began) * 1000,
        "first_ms": (seen.first - began) * 1000,
        "last_ms": (seen.last - began) * 1000,
        "durable_s": seen.last_applied - began,
        "cpu_us_per_agent": (cpu_of(pid) - spent) / count * 1e6,
    }


def popham(fixture: Fixture, count: int, *, plain: bool, repeats: int) -> Mapping[str, Any]:
    """Publish to the Manager's agents."""
    fixture.start(plain=plain)
    processes = 2 if count > 1000 else 1
    with Crew(fixture.target(plain=plain), processes=processes, file=fixture.file, count=count) as crew:
        crew.order("hold", heartbeat=0)
        crew.wait(lambda sight: sight.held == count, seconds=120)
        with fixture.client() as client:
            tell(crew, client, fixture.pid, count)
            figures = repeat(lambda: tell(crew, client, fixture.pid, count), repeats)
    fixture.stop()
    return figures


def aiohttp(fixture: Fixture, count: int, *, plain: bool, repeats: int) -> Mapping[str, Any]:
    """Have aiohttp send as much to as many; nothing is built, signed or kept."""
    with aiohttp_reference(fixture, plain=plain) as (target, pid):
        processes = 2 if count > 1000 else 1
        with Crew(target, processes=processes, file=fixture.file, count=count) as crew:
            crew.order("hold", heartbeat=0)
            crew.wait(lambda sight: sight.held == count, seconds=120)

            def send() -> Figures:
                crew.order("fresh")
                spent, began = cpu_of(pid), time.monotonic()
                os.kill(pid, signal.SIGUSR1)
                seen = crew.wait(lambda sight: sight.applied >= count, seconds=60, every=0.1)
                return {
                    "first_ms": (seen.first - began) * 1000,
                    "last_ms": (seen.last - began) * 1000,
                    "cpu_us_per_agent": (cpu_of(pid) - spent) / count * 1e6,
                }

            return repeat(send, repeats)


def rows(asked: argparse.Namespace) -> Mapping[str, Any]:
    """Measure stock agents over plain links and our own over mutual TLS."""
    figures: dict[str, Any] = {}
    for name, plain, count in (("plain", True, PLAIN), ("mutual TLS", False, MUTUAL)):
        if not name.startswith(asked.only):
            continue
        agents = min(count, 300) if asked.small else count
        with manager_fixture() as fixture:
            fixture.plant(own=0 if plain else agents, stock=agents if plain else 0)
            figures[f"{name}: popham"] = popham(fixture, agents, plain=plain, repeats=asked.repeats)
            if plain:
                figures[f"{name}: aiohttp"] = aiohttp(fixture, agents, plain=plain, repeats=asked.repeats)
    return figures


if __name__ == "__main__":
    run_scenario("publish", rows)
