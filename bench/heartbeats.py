"""Pull: what a heartbeat with nothing new costs, by kind of connection, beside aiohttp, nginx and Go."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from bench.machine import cpu_of
from bench.scenario import Figures, repeat, run_scenario
from bench.servers import Fixture, aiohttp_reference, go_reference, manager_fixture, nginx_reference
from popham.testing.load.crew import Crew
from popham.testing.load.fleet import Target

FLIGHTS = 64
"""Agents that ask at a time."""
SECONDS = 2.0
"""Of one run; all rows of all servers together take less than four minutes."""


def measure(crew: Crew, pid: int, *, keep: bool, seconds: float) -> Figures:
    """Make heartbeats for so long, and return what they cost the server."""
    crew.order("beat", seconds=0.3, keep=keep, flights=FLIGHTS)
    crew.order("fresh")
    began, spent = time.monotonic(), cpu_of(pid)
    seen = crew.order("beat", seconds=seconds, keep=keep, flights=FLIGHTS)
    spent, took = cpu_of(pid) - spent, time.monotonic() - began
    count = seen.rounds.total
    if seen.failed:
        raise SystemExit(f"heartbeats failed: {dict(seen.failed)}")
    return {
        "cpu_us": spent / count * 1e6,
        "per_second": count / took,
        "p50_ms": seen.rounds.percentile(0.5) * 1000,
        "p99_ms": seen.rounds.percentile(0.99) * 1000,
    }


@contextmanager
def servers(fixture: Fixture, *, plain: bool) -> Iterator[dict[str, tuple[Target, int]]]:
    """Run the Manager and the references."""
    with ExitStack() as stack:
        fixture.start(plain=plain)
        stack.callback(fixture.stop)
        found = {"popham": (fixture.target(plain=plain), fixture.pid)}
        found["aiohttp"] = stack.enter_context(aiohttp_reference(fixture, plain=plain))
        for name, reference in (("nginx", nginx_reference), ("go", go_reference)):
            beside = stack.enter_context(reference(fixture, plain=plain))
            if beside is not None:
                found[name] = beside
        yield found


ROWS = (
    # name, TLS, certificate, keeps its connection, resumes
    ("keep-alive plain", False, False, True, False),
    ("new connection plain", False, False, False, False),
    ("keep-alive TLS", True, False, True, False),
    ("keep-alive mutual TLS", True, True, True, False),
    ("new connection mutual TLS", True, True, False, False),
    ("new connection mutual TLS resumed", True, True, False, True),
)


def rows(asked: argparse.Namespace) -> Mapping[str, Any]:
    """Measure every kind of connection, each server in turn."""
    known = 200 if asked.small else 10_000
    seconds = 1.0 if asked.small else SECONDS
    figures: dict[str, Any] = {}
    for mutual in (False, True):
        with manager_fixture() as fixture:
            fixture.plant(own=known if mutual else 0, stock=0 if mutual else known, certified=FLIGHTS)
            for plain in (True, False):
                chosen = [
                    row
                    for row in ROWS
                    if row[1] != plain and row[2] == mutual and row[0].startswith(asked.only)
                ]
                if not chosen:
                    continue
                with servers(fixture, plain=plain) as found:
                    for name, _, _, keep, resumes in chosen:
                        for server, (target, pid) in found.items():
                            figures[f"{name}: {server}"] = _one(
                                fixture,
                                target,
                                pid,
                                keep=keep,
                                resumes=resumes,
                                seconds=seconds,
                                repeats=asked.repeats,
                            )
    return figures


def _one(
    fixture: Fixture, target: Target, pid: int, *, keep: bool, resumes: bool, seconds: float, repeats: int
) -> Mapping[str, Any]:
    with Crew(replace(target, resumes=resumes), processes=1, file=fixture.file, count=FLIGHTS) as crew:
        return repeat(lambda: measure(crew, pid, keep=keep, seconds=seconds), repeats)


if __name__ == "__main__":
    run_scenario("heartbeats", rows)
