"""A Manager that knows 100,000 agents is killed: how soon it serves again, and 5,000 held links are back.

Agents come back as fast as the Manager takes them and as their own back-off lets
them; meanwhile its own measures tell how late its loop is.
"""

from __future__ import annotations

import argparse
import signal
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from bench.machine import cpu_of, memory_of
from bench.scenario import Figures, repeat, run_scenario
from bench.servers import Fixture, manager_fixture
from popham.testing.load.crew import Crew, Sight
from popham.upstream.lag import EVERY, WINDOW

KNOWN, HELD = 100_000, 5_000
PROCESSES = 2
SPAN = 5.0
"""Seconds over which links are counted: the rate in bursts says nothing."""


class Watch:
    """What a Manager that serves again says of itself, and how fast links come back.

    Attributes:
        lag: Seconds that 99 % of the looks at the loop were not above, in the worst half minute.
        fastest: Links opened in a second, in the best :data:`SPAN`, TLS handshake and upgrade included.
    """

    def __init__(self, fixture: Fixture) -> None:
        """Begin with a Manager that has just begun to serve."""
        self._fixture = fixture
        self._began = self._asked = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque([(self._began, 0)])
        self.lag = self.fastest = 0.0

    def look(self, opened: int) -> None:
        """Take note of how many links were opened until now; ask the Manager once in a window of its own."""
        now = time.monotonic()
        self._seen.append((now, opened))
        while now - self._seen[1][0] >= SPAN:
            self._seen.popleft()
        since, before = self._seen[0]
        if now - since >= SPAN or not self.fastest:
            self.fastest = max(self.fastest, (opened - before) / max(now - since, 1.0))
        if now - self._asked >= EVERY * WINDOW:
            self.end()

    def end(self) -> None:
        """Ask how late the loop was since it was asked last, half a minute at most."""
        self._asked = time.monotonic()
        self.lag = max(self.lag, self._fixture.metrics()['popham_loop_lag_seconds{quantile="0.99"}'])


def restart(fixture: Fixture, crew: Crew, held: int) -> Figures:
    """Kill the Manager, start it, and wait for the links."""
    crew.order("fresh")
    fixture.stop(signal.SIGKILL)
    began = time.monotonic()
    serving = fixture.start(plain=False)
    before = memory_of(fixture.pid)
    watch = Watch(fixture)

    def all_back(sight: Sight) -> bool:
        watch.look(sight.opened)
        return sight.opened >= held and sight.held == held

    seen = crew.wait(all_back, seconds=180, every=0.2)
    back = time.monotonic() - began
    watch.end()
    return {
        "serving_s": serving,
        "back_s": back,
        "lag_p99_ms": watch.lag * 1000,
        "opened_per_s": watch.fastest,
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
