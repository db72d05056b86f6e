"""Push: one agent of ours, from an order by the REST API until its outcome is known and durable."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

from bench.publish import apply
from bench.scenario import Figures, repeat, run_scenario
from bench.servers import manager_fixture
from popham.testing.load.crew import Crew
from popham.testing.load.histogram import Histogram

ORDERS = 200
BESIDE = 1_000
"""Other agents that the Manager knows."""


def rows(asked: argparse.Namespace) -> Mapping[str, Any]:
    """Measure one order after another."""
    orders = 20 if asked.small else ORDERS
    with manager_fixture() as fixture:
        fixture.plant(own=BESIDE, certified=1)
        fixture.start(plain=False)
        with Crew(fixture.target(plain=False), processes=1, file=fixture.file, count=1) as crew:
            crew.order("hold", heartbeat=0)
            crew.wait(lambda sight: sight.held == 1, seconds=10)
            with fixture.client() as client:

                def measure() -> Figures:
                    known = Histogram()
                    for _ in range(orders):
                        crew.order("fresh")
                        began = time.monotonic()
                        apply(client)
                        seen = crew.wait(lambda sight: sight.applied == 1, seconds=10, every=0.002)
                        known.add(seen.last_applied - began)
                    return {f"p{share}_ms": known.percentile(share / 100) * 1000 for share in (50, 99)}

                figures = repeat(measure, asked.repeats)
    return {"mutual TLS: popham": figures}


if __name__ == "__main__":
    run_scenario("order", rows)
