"""The Manager dials: what a visit costs it, and who is visited late where some are dead.

Agents have a service, an address, keys and a certificate each, in one process; the real Manager visits them.  CPU is
the Manager's, while everybody is visited at once: ``popham check-in --all``.  The reference posts to the same services
without signatures, schedule and state.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.machine import cpu_of, memory_of
from bench.scenario import Figures, repeat, run_scenario
from bench.servers import Fixture, end, free_ports, manager_fixture
from bench.visited import STEP, address_of
from popham.client import Client
from popham.clock import SystemClock
from popham.manager.agent_definitions import definition_row
from popham.manager.founding import DATABASE
from popham.manager.keys import load_keys
from popham.model.agent_definition import AgentDefinition, Tls
from popham.store.seam import Writing
from popham.store.sqlite import SqliteStore
from popham.testing.load.identity import LoadIdentity

AGENTS = 2_000
FEW = 200
"""Agents that are visited over connections that are kept."""
INTERVAL, SHORT = 600.0, 20.0
"""Seconds between two visits: the default, and where intervals are measured."""
FLIGHTS = 128
"""Requests of the reference at a time: as many as the Manager makes."""
ROUNDS = 3
"""Intervals that are watched in one run."""
PATIENCE = 120.0
"""Seconds until agents that are not visited are given up."""
_GROUP = """
apiVersion: popham/v1
kind: Group
metadata: {{name: fleet}}
spec: {{communication: {{mode: pull, dialer: manager, heartbeat: {interval}}}}}
"""
_POLICY = """
apiVersion: popham/v1
kind: Policy
metadata: {{name: bench-files}}
spec: {{type: files, files: [{{path: /etc/popham.d/motd, content: "edition {edition}"}}]}}
---
apiVersion: popham/v1
kind: Group
metadata: {{name: fleet}}
spec:
  communication: {{mode: pull, dialer: manager, heartbeat: {interval}}}
  policies: {{files: bench-files}}
"""
editions = itertools.count(1)


@dataclass(slots=True)
class Visited:
    """The process of those who are visited."""

    process: subprocess.Popen[str]
    port: int

    def order(self, what: str, **named: Any) -> dict[str, Any]:
        """Have something done, and return what was seen so far."""
        return exchange(self.process, json.dumps({"do": what, **named}))

    def wait(self, name: str, count: int) -> dict[str, Any]:
        """Return what was seen once there are so many of something."""
        deadline = time.monotonic() + PATIENCE
        while (seen := self.order("look"))[name] < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"only {seen[name]} of {count} {name}")
            time.sleep(0.05)
        return seen


def exchange(process: subprocess.Popen[str], line: str) -> Any:
    """Return the answer to one line."""
    if process.stdin is None or process.stdout is None:
        raise LookupError("the process has no pipes")
    process.stdin.write(line + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise SystemExit(f"{process.args!r} ended")
    return json.loads(answer)


@contextmanager
def helper(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a module that answers lines."""
    command = [sys.executable, "-m", *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        end(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def visited(
    fixture: Fixture, *, tls: bool, tickets: bool = True, silent: int = 0, refusing: int = 0
) -> Iterator[Visited]:
    """Play the agents of a fixture, and put where they are into the database; the Manager is not running."""
    keys = load_keys(fixture.state / "keys", urls=(), clock=SystemClock())
    (port,) = free_ports(1)
    with helper("bench.visited") as process:
        found = Visited(process, port)
        found.order(
            "begin",
            file=str(fixture.file),
            director=base64.b64encode(keys.director.public.der).decode(),
            port=port,
            tls=tls,
            tickets=tickets,
            silent=silent,
            refusing=refusing,
        )
        yield found


def settle_group(fixture: Fixture, interval: float) -> None:
    """Have everybody visited at an interval, before there is anybody."""
    fixture.start(plain=False)
    with fixture.client() as client:
        client.apply([("bench.yaml", _GROUP.format(interval=f"{interval:g}s"))], everyone=True)
    fixture.stop()


async def define(fixture: Fixture, identities: Sequence[LoadIdentity], port: int, *, tls: bool) -> None:
    """Write where each agent is into the database."""
    kind = Tls.AGENT if tls else Tls.OFF

    def work(tx: Writing) -> None:
        for number, identity in enumerate(identities):
            definition = AgentDefinition(
                name=f"sim-{number}", address=address_of(number), port=port, tls=kind, uid=identity.uid
            )
            tx.put_agent_definition(definition_row(definition, {}, uid=identity.uid, edition=1))

    store = SqliteStore.open(fixture.state / DATABASE, clock=SystemClock())
    try:
        await store.write(work)
    finally:
        await store.aclose()


def settled(pid: int) -> float:
    """Return the CPU time of a process once it has nothing to do."""
    spent = cpu_of(pid)
    while True:
        time.sleep(0.25)
        now = cpu_of(pid)
        if now - spent < 0.02:
            return now
        spent = now


def visit_all(
    crew: Visited,
    client: Client,
    pid: int,
    count: int,
    name: str = "visits",
    refs: Sequence[str] = (),
    **fresh: Any,
) -> float:
    """Have everybody, or a few, visited once, and return the microseconds of CPU time for each."""
    crew.order("fresh", **fresh)
    spent = settled(pid)
    client.check_in(refs, everyone=not refs)
    crew.wait(name, count)
    spent = settled(pid) - spent
    return spent / crew.order("look")[name] * 1e6


def change(client: Client) -> None:
    """Publish a policy that nobody has yet."""
    text = _POLICY.format(edition=f"{time.time_ns()}-{next(editions)}", interval=f"{INTERVAL:g}s")
    client.apply([("bench.yaml", text)], everyone=True)


def measure(crew: Visited, client: Client, pid: int, count: int, few: Sequence[str]) -> Figures:
    """Visit with nothing new, with a directive, and over connections that were kept because agents are applying.

    The last only a few: a connection is kept for 20 s.
    """
    one = visit_all(crew, client, pid, count)
    change(client)
    two = visit_all(crew, client, pid, count, "obeyed")
    visit_all(crew, client, pid, len(few), refs=few, outcome="applying")
    kept = visit_all(crew, client, pid, len(few), refs=few)
    visit_all(crew, client, pid, len(few), refs=few, outcome="applied")
    return {"cpu_us": one, "with_directive_us": two, "kept_us": kept}


def empty_memory(fixture: Fixture) -> int:
    """Return the bytes of a Manager that knows the agents and visits nobody."""
    fixture.start(plain=False)
    settled(fixture.pid)
    found = memory_of(fixture.pid)
    fixture.stop()
    return found


def cost(*, tls: bool, tickets: bool, count: int, repeats: int) -> dict[str, Mapping[str, Any]]:
    """Let the Manager visit, and then the reference."""
    with manager_fixture() as fixture:
        settle_group(fixture, INTERVAL)
        identities = fixture.plant(own=count)
        few = [identity.uid for identity in identities[:FEW]]
        empty = empty_memory(fixture)
        with visited(fixture, tls=tls, tickets=tickets) as crew:
            asyncio.run(define(fixture, identities, crew.port, tls=tls))
            fixture.start(plain=False)
            pid = fixture.pid
            with fixture.client() as client:
                visit_all(crew, client, pid, count)
                full = memory_of(pid)
                popham = repeat(lambda: measure(crew, client, pid, count, few), repeats)
            fixture.stop()
            popham["kb_per_target"] = float(f"{(full - empty) / count / 1000:.4g}")
            ca = fixture.ca if tls else ""
            return {"popham": popham, "aiohttp": reference(crew.port, count, ca, repeats)}


def reference(port: int, count: int, ca: str, repeats: int) -> Mapping[str, Any]:
    """Let aiohttp visit, over new connections and over kept ones."""

    def words(keep: int) -> list[str]:
        return ["bench.unsigned", *map(str, (port, count, FLIGHTS, keep)), *([ca] if ca else [])]

    with helper(*words(0)) as new, helper(*words(1)) as kept:
        exchange(kept, "")

        def once() -> Figures:
            return {
                "cpu_us": exchange(new, "") / count * 1e6,
                "kept_us": exchange(kept, "") / count * 1e6,
            }

        exchange(new, "")
        return repeat(once, repeats)


def spread(*, count: int, interval: float, repeats: int) -> Mapping[str, Any]:
    """Let the schedule run, where one in ten is dead: half of them silent, half of them with nothing that listens."""
    dead = count // 20
    with manager_fixture() as fixture:
        settle_group(fixture, interval)
        identities = fixture.plant(own=count)
        with visited(fixture, tls=True, silent=dead, refusing=dead) as crew:
            asyncio.run(define(fixture, identities, crew.port, tls=True))
            fixture.start(plain=False)
            # The first round finds out who is dead.
            crew.order("fresh", interval=interval)
            time.sleep(2.5 * interval)
            found = repeat(lambda: watch(crew, fixture.pid, interval), repeats)
            fixture.stop()
    return found


def watch(crew: Visited, pid: int, interval: float) -> Figures:
    """Return how far apart visits of those who live are, in intervals."""
    before, spent, began = crew.order("look"), cpu_of(pid), time.monotonic()
    time.sleep(ROUNDS * interval)
    seen, spent, took = crew.order("look"), cpu_of(pid) - spent, time.monotonic() - began
    steps = {int(step): n - before["steps"].get(step, 0) for step, n in seen["steps"].items()}
    spans = sorted(itertools.chain.from_iterable([step * STEP] * n for step, n in steps.items()))
    if not spans:
        raise SystemExit("nobody was visited")
    visits = seen["visits"] - before["visits"]

    def share(low: float, high: float) -> float:
        return sum(low <= span <= high for span in spans) / len(spans)

    return {
        "earliest": spans[0],
        "p50": statistics.median(spans),
        "p99": spans[int(0.99 * (len(spans) - 1))],
        "latest": max(spans[-1], seen["waiting"]),
        "within_1_percent": share(0.99, 1.01),
        "within_5_percent": share(0.95, 1.05),
        "per_second": visits / took,
        "cpu_us": spent / visits * 1e6,
        "core_percent": spent / took * 100,
    }


ROWS = (
    # name, TLS, tickets
    ("plain", False, False),
    ("TLS in full", True, False),
    ("TLS resumed", True, True),
)


def rows(asked: argparse.Namespace) -> Mapping[str, Any]:
    """Measure every kind of connection, and then the schedule."""
    figures: dict[str, Any] = {}
    count, interval = (200, 4.0) if asked.small else (AGENTS, SHORT)
    for name, tls, tickets in ROWS:
        if name.startswith(asked.only):
            found = cost(tls=tls, tickets=tickets, count=count, repeats=asked.repeats)
            figures |= {f"{name}: {who}": numbers for who, numbers in found.items()}
    if "one in ten dead".startswith(asked.only):
        found = spread(count=count, interval=interval, repeats=asked.repeats)
        figures["one in ten dead: popham"] = found
    return figures


if __name__ == "__main__":
    run_scenario("visits", rows)
