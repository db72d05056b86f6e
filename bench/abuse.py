"""Good agents beside every attacker that `bench.attackers` knows: what they notice, and what each attacker got.

One Manager, mutual TLS.  Good agents in push have a heartbeat each second; others make a round on a new
connection.  The same is measured before, during and after the attack; "before" and "after" are the
reference.  The attackers share the machine, so their process is nice and its CPU stands beside.
``--only KIND`` takes one attacker alone.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.machine import cpu_of, memory_of
from bench.scenario import Figures, repeat, run_scenario
from bench.servers import Fixture, manager_fixture
from popham.testing.load.crew import Crew, Sight
from popham.testing.load.histogram import Histogram

PUSH, PULL, STOCK = 200, 100, 20
"""Good agents in push, in pull; identities of the attackers."""
SECONDS = 20.0
NICE = 10
EXPECTED = {
    "header bomb": {"431"},
    "head at a byte a second": {"408"},
    "half a frame": {"1001", "1008"},
    "idle without a word": {"408"},
    "gzip 1000:1": {"413"},
    "text frame": {"1003"},
    "body of 64 MiB + 1": {"413"},
    "message of 64 MiB + 1": {"1009"},
    "bad token": {"401"},
    "flood of pings": {"1008"},
}
"""What each attacker should get; to be ended unheard is right for all of them once their address failed too often."""

_Lag = Mapping[float, float]


def percentile(histogram: Histogram, share: float) -> float:
    """Return milliseconds, interpolated in the bucket: a whole one is 9 %, which is what is looked for."""
    left = share * histogram.total
    for bucket in sorted(histogram.counts):
        count = histogram.counts[bucket]
        if left <= count:
            return float(1e-3 * 2 ** ((bucket + left / count) / 8))
        left -= count
    return 0.0


def read_lag(fixture: Fixture) -> tuple[_Lag, float]:
    """Return the buckets of the loop's lag, and how many connections were turned away."""
    found = fixture.metrics()
    name = "popham_loop_late_seconds_bucket"
    buckets = {
        float(key.partition('le="')[2].partition('"')[0]): value
        for key, value in found.items()
        if key.startswith(name)
    }
    return buckets, found["popham_turned_away_total"]


def lag_p99(before: _Lag, after: _Lag) -> float:
    """Return milliseconds that 99 in 100 looks between two readings did not exceed, interpolated."""
    wanted = 0.99 * (after[math.inf] - before[math.inf])
    low, seen = 0.0, 0.0
    for bound in sorted(after):
        count = after[bound] - before[bound]
        if count >= wanted:
            return 1000 * (low + (min(bound, 5.0) - low) * (wanted - seen) / max(1.0, count - seen))
        low, seen = bound, count
    return math.inf


class Watch:
    """Good agents, looked at for a while."""

    def __init__(self, fixture: Fixture, push: Crew, pull: Crew) -> None:
        """Look at these."""
        self._fixture, self._crews = fixture, {"push": push, "pull": pull}

    def look(self, seconds: float) -> dict[str, Any]:
        """Return what they saw in so many seconds, and what it cost the Manager."""
        for crew in self._crews.values():
            crew.order("fresh")
        (before, away), spent = read_lag(self._fixture), cpu_of(self._fixture.pid)
        time.sleep(seconds)
        cores = (cpu_of(self._fixture.pid) - spent) / seconds
        seen: dict[str, Sight] = {name: crew.order("look") for name, crew in self._crews.items()}
        after, now_away = read_lag(self._fixture)
        return {
            "seen": seen,
            "lag_p99_ms": lag_p99(before, after),
            "turned_away": now_away - away,
            "cores": cores,
            "mb": memory_of(self._fixture.pid) / 1e6,
        }


@contextmanager
def attack(
    fixture: Fixture, file: Path, *, seconds: float, share: float, only: str
) -> Iterator[dict[str, Any]]:
    """Attack while the block runs; afterwards what is yielded says what everybody got."""
    order = {
        "port": fixture.agents_port,
        "ca": fixture.ca,
        "file": str(file),
        "seconds": seconds,
        "nice": NICE,
        "share": share,
        "only": only,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.attackers", json.dumps(order)], stdout=subprocess.PIPE, text=True
    )
    found: dict[str, Any] = {}
    try:
        if process.stdout is None or process.stdout.readline() != "begun\n":
            raise SystemExit("the attackers did not begin")
        yield found
        found.update(json.loads(process.communicate(timeout=seconds + 60)[0]))
    finally:
        process.kill()
        process.wait()


def besiege(
    fixture: Fixture, watch: Watch, file: Path, *, seconds: float, share: float, only: str
) -> Figures:
    """Look before, during and after the attack, and compare."""
    calm = [watch.look(seconds / 2)]
    with attack(fixture, file, seconds=seconds + 3.0, share=share, only=only) as found:
        time.sleep(2.0)
        besieged = watch.look(seconds)
    time.sleep(6.0)
    calm.append(watch.look(seconds / 2))
    figures: dict[str, float] = {}
    for way, crew, which in (
        ("push", "push", "rounds"),
        ("pull", "pull", "rounds"),
        ("dial", "pull", "opening"),
    ):
        quiet = Histogram()
        for one in calm:
            quiet.merge(getattr(one["seen"][crew], which))
        loud: Histogram = getattr(besieged["seen"][crew], which)
        for name, part in (("p50", 0.5), ("p99", 0.99)):
            before, after = percentile(quiet, part), percentile(loud, part)
            figures |= {f"{way}_{name}_ms_calm": before, f"{way}_{name}_ms": after}
            figures[f"{way}_{name}_moved"] = (after / before - 1) * 100
        figures[f"{way}_count"] = loud.total
    figures["failed"] = sum(sum(one.failed.values()) for one in besieged["seen"].values())
    figures |= {
        "lag_p99_ms": besieged["lag_p99_ms"],
        "lag_p99_ms_calm": max(one["lag_p99_ms"] for one in calm),
        "cores": besieged["cores"],
        "cores_calm": calm[0]["cores"],
        "mb_before": calm[0]["mb"],
        "mb_during": besieged["mb"],
        "mb_after": calm[1]["mb"],
        "turned_away_per_second": besieged["turned_away"] / seconds,
        "attackers_cores": found["cpu_s"] / (seconds + 3.0),
        "attackers_nice": NICE,
        "surprises": count_surprises(found["got"]),
    }
    sys.stderr.write(json.dumps(found["got"]) + "\n")
    return figures


def count_surprises(got: Mapping[str, Mapping[str, int]]) -> float:
    """Return how many attempts got something else than they should."""
    return sum(
        count
        for kind, expected in EXPECTED.items()
        for what, count in got.get(kind, {}).items()
        if what not in expected | {"unheard", "nothing"}
    )


def rows(asked: argparse.Namespace) -> Mapping[str, Any]:
    """Measure one siege after another."""
    push, pull = (40, 20) if asked.small else (PUSH, PULL)
    seconds, share = (5.0, 0.2) if asked.small else (SECONDS, 1.0)
    with manager_fixture() as fixture, ExitStack() as stack:
        files = {}
        for name, own, stock in (("push", push, 0), ("pull", pull, 0), ("attackers", 0, STOCK)):
            fixture.plant(own=own, stock=stock)
            files[name] = fixture.file.rename(fixture.folder / f"{name}.jsonl")
        fixture.start(plain=False, quotas=True)
        target = fixture.target(plain=False)
        crews = [
            stack.enter_context(Crew(target, processes=1, file=files[name], count=count))
            for name, count in (("push", push), ("pull", pull))
        ]
        crews[0].order("hold", heartbeat=1.0)
        crews[0].wait(lambda sight: sight.held == push, seconds=60)
        crews[1].order("pull", heartbeat=5.0)
        watch = Watch(fixture, *crews)
        watch.look(5.0)  # first rounds are long ones
        figures = repeat(
            lambda: besiege(
                fixture, watch, files["attackers"], seconds=seconds, share=share, only=asked.only
            ),
            asked.repeats,
        )
    return {"mutual TLS: popham": figures}


if __name__ == "__main__":
    run_scenario("abuse", rows)
