"""Agents behind Proxy Managers, beside as many that talk to the Manager directly.

``quiet`` has scripted proxies, which speak the real wire above for agents that nobody simulates below; the reference is
a heartbeat of an agent.  The others run a Proxy Manager as people run it; the reference is the same lean agents at the
Manager.  Of an outcome it counts when it is durable in the Manager's database, whichever way it came.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, closing, contextmanager
from typing import Any

from bench.dock import NAME, Dock, proxy_process
from bench.heartbeats import FLIGHTS
from bench.heartbeats import measure as beat
from bench.machine import cpu_of, memory_of
from bench.relaying import ScriptedProxy, Wire, count_round
from bench.scenario import Figures, repeat, run_scenario
from bench.servers import Fixture, manager_fixture
from popham.client import Client
from popham.clock import SystemClock
from popham.manager.founding import DATABASE
from popham.model.status import STATE_TYPE, StateRecord
from popham.testing.load.crew import Crew
from popham.testing.load.fleet import Target
from popham.testing.load.histogram import Histogram
from popham.testing.load.identity import LoadIdentity
from popham.testing.load.messages import Speech
from popham.testing.load.planted import plant_proxies
from popham.trust.dsse import ENVELOPE_LIMIT, Envelope

PROXIES, EACH = 10, 10_000
AGENTS = 10_000
"""Behind the one Proxy Manager that runs."""
BESIDE = 1_000
"""Other agents that the Manager knows while one after another is told."""
ORDERS = 100
SECONDS = 3.0
SETTLED = 1.5
"""Seconds after which a process that has begun takes no more memory."""
GROUP = "below"
_TREE = f"""
apiVersion: popham/v1
kind: Policy
metadata: {{{{name: bench-files}}}}
spec: {{{{type: files, files: [{{{{path: /etc/popham.d/motd, content: "edition {{edition}}"}}}}]}}}}
---
apiVersion: popham/v1
kind: Group
metadata: {{{{name: {GROUP}}}}}
spec: {{{{parent: fleet, inheritance: {{{{policies: {{{{files: false}}}}}}}}, policies: {{{{files: bench-files}}}}}}}}
"""
_editions = itertools.count(1)
Measure = Callable[[Fixture, Target, int, str, int], Any]
"""Takes the Manager, where agents dial, the process there, the uid of one agent, and that process's memory before."""


# Quiet.


def quiet(fixture: Fixture, proxies: int, each: int, *, seconds: float, repeats: int) -> Mapping[str, Any]:
    """Measure heartbeats of agents, then exchanges of scripted proxies with as many other, quiet ones."""
    agents = fixture.plant(own=FLIGHTS + proxies * each, certified=FLIGHTS)
    names = [f"proxy-{number}" for number in range(proxies)]
    speakers = asyncio.run(plant_proxies(fixture.state, SystemClock(), names, given="fleet"))
    fixture.start(plain=False)
    target = fixture.target(plain=False)
    sent, received = asyncio.run(count_round(target, agents[0]))
    with Crew(target, processes=1, file=fixture.file, count=FLIGHTS) as crew:
        direct = repeat(lambda: beat(crew, fixture.pid, keep=True, seconds=seconds), repeats)
    with Crew(target, processes=1, file=fixture.file, count=FLIGHTS) as crew:
        anew = repeat(lambda: beat(crew, fixture.pid, keep=False, seconds=seconds), repeats)
    alone = asyncio.run(_rounds(fixture, target, agents[0], seconds=seconds, repeats=repeats))
    behind = agents[FLIGHTS:]
    figures = asyncio.run(_relay(fixture, target, speakers, behind, each, seconds=seconds, repeats=repeats))
    fixture.stop()
    exchange, round_anew = figures["cpu_us"], anew["cpu_us"]
    return {
        "quiet: popham": figures
        | {
            "percent": 100 * exchange / (each * direct["cpu_us"]),
            "rounds": exchange / direct["cpu_us"],
            "rounds_alone": figures["alone_us"] / alone["cpu_us"],
            # A connection costs a proxy's exchange what it costs an agent's round.
            "rounds_anew": (exchange + round_anew - direct["cpu_us"]) / round_anew,
            "over_kb": (figures["up_bytes"] + figures["down_bytes"] - 3 * (sent + received)) / 1000,
        },
        "quiet: direct": direct
        | {"alone_us": alone["cpu_us"], "anew_us": round_anew, "up_bytes": sent, "down_bytes": received},
    }


async def _relay(
    fixture: Fixture,
    target: Target,
    speakers: Sequence[LoadIdentity],
    agents: Sequence[LoadIdentity],
    each: int,
    *,
    seconds: float,
    repeats: int,
) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        wires: list[Wire] = []
        scripted: list[ScriptedProxy] = []
        spent = cpu_of(fixture.pid)
        for number, speaker in enumerate(speakers):
            wires.append(await stack.enter_async_context(Wire(target, speaker)))
            of = agents[number * each : (number + 1) * each]
            scripted.append(ScriptedProxy(wires[-1], of, number + 1))
            await scripted[-1].introduce()
        introduced = (cpu_of(fixture.pid) - spent) / len(agents) * 1e6
        found = [
            await _exchange(fixture, wires, scripted, seconds, together=True)
            | {"alone_us": (await _exchange(fixture, wires, scripted, seconds, together=False))["cpu_us"]}
            for _ in range(repeats)
        ]
    runs = iter(found)
    return repeat(lambda: next(runs), repeats) | {"introduced_us_per_agent": introduced}


async def _idle(fixture: Fixture, seconds: float) -> float:
    """Return how much of a core the Manager spends on nobody's behalf."""
    spent, began = cpu_of(fixture.pid), time.monotonic()
    await asyncio.sleep(seconds)
    return (cpu_of(fixture.pid) - spent) / (time.monotonic() - began)


async def _rounds(
    fixture: Fixture, target: Target, agent: LoadIdentity, *, seconds: float, repeats: int
) -> dict[str, Any]:
    """Make heartbeats of one agent, one after another: nobody else keeps the Manager awake meanwhile."""
    speech = Speech(agent)

    async def measure(wired: Wire) -> Figures:
        idle, count = await _idle(fixture, seconds), 0
        spent, first = cpu_of(fixture.pid), time.monotonic()
        while time.monotonic() < first + seconds:
            await wired.round(speech.heartbeat())
            count += 1
        return {"cpu_us": (cpu_of(fixture.pid) - spent - idle * (time.monotonic() - first)) / count * 1e6}

    async with Wire(target, agent) as wired:
        await wired.round(speech.hello())
        found = iter([await measure(wired) for _ in range(repeats)])
    return repeat(lambda: next(found), repeats)


async def _exchange(
    fixture: Fixture,
    wires: Sequence[Wire],
    scripted: Sequence[ScriptedProxy],
    seconds: float,
    *,
    together: bool,
) -> Figures:
    """Make quiet exchanges for so long; what the Manager spends anyway is taken off.

    Heartbeats of agents are measured many at a time, which spares the Manager being woken for each.  So all proxies ask
    ``together``, or else one after another.
    """
    idle = await _idle(fixture, seconds)
    for proxy in scripted:
        await proxy.quiet(proxy.prepare())
    sent, received = (sum(getattr(one, name) for one in wires) for name in ("sent", "received"))
    first, count, took = time.monotonic(), 0, Histogram()
    until = first + seconds
    spent = cpu_of(fixture.pid)
    while time.monotonic() < until:
        asked = [(proxy, proxy.prepare()) for proxy in scripted]
        for some in [asked] if together else [[one] for one in asked]:
            began = time.monotonic()
            await asyncio.gather(*(proxy.quiet(message) for proxy, message in some))
            took.add(time.monotonic() - began)
            count += len(some)
    return {
        "cpu_us": (cpu_of(fixture.pid) - spent - idle * (time.monotonic() - first)) / count * 1e6,
        "idle_percent": idle * 100,
        "up_bytes": (sum(one.sent for one in wires) - sent) / count,
        "down_bytes": (sum(one.received for one in wires) - received) / count,
        "p99_ms": took.percentile(0.99) * 1000,
    }


# One Proxy Manager that runs.


class Known:
    """What of agents is durable at the Manager, read beside it."""

    def __init__(self, fixture: Fixture, key: str) -> None:
        """Look at the agents of ours; ``key`` is one uid, or empty for all that are to be told."""
        self._file = sqlite3.connect(f"file:{fixture.state / DATABASE}?mode=ro", uri=True, timeout=10)
        self._which = ("uid = ?", (key,)) if key else ('"group" = ?', (GROUP,))

    def close(self) -> None:
        """Look no more."""
        self._file.close()

    def revisions(self) -> int:
        """Return the sum of the revisions of their state records: it rises with each."""
        (found,) = self._file.execute(
            f"SELECT sum(state_revision) FROM agents WHERE {self._which[0]}",  # noqa: S608  # a constant
            self._which[1],
        ).fetchone()
        return int(found or 0)

    def versions(self) -> set[int]:
        """Return the versions of the content that they say to have."""
        rows = self._file.execute(f"SELECT state FROM agents WHERE {self._which[0]}", self._which[1])  # noqa: S608  # likewise
        opened = (Envelope.parse(row[0], types=(STATE_TYPE,), limit=ENVELOPE_LIMIT) for row in rows)
        return {StateRecord.from_payload(one.payload).version for one in opened}


def publish(client: Client) -> None:
    """Change the policy of the group."""
    client.apply([("bench.yaml", _TREE.format(edition=f"{time.time_ns()}-{next(_editions)}"))], everyone=True)


def wait_until(holds: Callable[[], bool], *, seconds: float, every: float) -> float:
    """Return the time at which something held."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"it did not come to that within {seconds:g} s")
        time.sleep(every)
    return time.monotonic()


@contextmanager
def held(fixture: Fixture, target: Target, count: int) -> Iterator[Crew]:
    """Hold a link of each agent."""
    with Crew(target, processes=2 if count > 1000 else 1, file=fixture.file, count=count) as crew:
        crew.order("hold", heartbeat=0)
        crew.wait(lambda sight: sight.held == count, seconds=300, every=0.2)
        yield crew


def order(fixture: Fixture, target: Target, uid: str, *, orders: int, repeats: int) -> Mapping[str, Any]:
    """Tell one agent one change after another, until each outcome is known and durable at the Manager."""
    with held(fixture, target, 1), fixture.client() as client, closing(Known(fixture, uid)) as known:

        def measure() -> Figures:
            took = []
            for _ in range(orders):
                before = known.revisions()
                began = time.monotonic()
                publish(client)
                at = wait_until(lambda: known.revisions() > before, seconds=10, every=0.0005)  # noqa: B023  # called at once
                took.append((at - began) * 1000)
            took.sort()
            return {f"p{share}_ms": took[min(orders - 1, orders * share // 100)] for share in (50, 99)}

        for _ in range(3):
            publish(client)
        time.sleep(0.5)
        return repeat(measure, repeats)


def tell(
    fixture: Fixture, target: Target, pid: int, count: int, base: int, *, repeats: int
) -> Mapping[str, Any]:
    """Hold the links of all; publish to them until all outcomes are known and durable at the Manager.

    Args:
        fixture: The Manager.
        target: Where agents dial.
        pid: Of who is there.
        count: Agents.
        base: Bytes of memory of who is there, when it knew nobody.
        repeats: How often is published.
    """
    time.sleep(SETTLED)
    empty, spent = memory_of(pid), [cpu_of(pid), cpu_of(fixture.pid)]
    began = time.monotonic()
    with (
        held(fixture, target, count) as crew,
        fixture.client() as client,
        closing(Known(fixture, "")) as known,
    ):
        opened = {
            "links_per_second": count / (time.monotonic() - began),
            "accept_cpu_us": (cpu_of(pid) - spent[0]) / count * 1e6,
        }
        time.sleep(3.0)
        there = memory_of(pid)
        opened["kb_per_agent"] = (there - base) / count / 1000
        # The Manager has read its records before it serves, a proxy is told of agents as they come.
        opened["kb_of_link"] = (there - empty) / count / 1000

        def measure() -> Figures:
            crew.order("fresh")
            before = known.revisions()
            spent = [cpu_of(pid), cpu_of(fixture.pid)]
            began = time.monotonic()
            publish(client)
            at = wait_until(lambda: known.revisions() - before >= count, seconds=120, every=0.02)
            seen = crew.order("look")
            if seen.failed or len(known.versions()) != 1:
                raise SystemExit(f"not all have it: {dict(seen.failed)}, {known.versions()}")
            return {
                "last_ms": (seen.last - began) * 1000,
                "known_s": at - began,
                "there_us_per_agent": (cpu_of(pid) - spent[0]) / count * 1e6,
                "manager_us_per_agent": (cpu_of(fixture.pid) - spent[1]) / count * 1e6,
            }

        measure()
        return repeat(measure, repeats) | opened


@contextmanager
def fleet(own: int, certified: int) -> Iterator[tuple[Fixture, list[LoadIdentity], int]]:
    """Run a Manager that knows agents in a group of their own.

    Yields:
        It, the agents, and the bytes of memory of the same Manager when it had begun and knew nobody.
    """
    with manager_fixture() as fixture:
        fixture.start(plain=False)
        with fixture.client() as client:
            publish(client)
        fixture.stop()
        fixture.start(plain=False)  # it published nothing: no more than the one that is measured
        time.sleep(SETTLED)
        base = memory_of(fixture.pid)
        fixture.stop()
        agents = fixture.plant(own=own, certified=certified, group=GROUP)
        fixture.start(plain=False)
        yield fixture, agents, base


def running(measure: Measure, own: int, certified: int) -> dict[str, Any]:
    """Measure at the Manager, then at a Proxy Manager below it."""
    with fleet(own, certified) as (fixture, agents, base):
        direct = measure(fixture, fixture.target(plain=False), fixture.pid, agents[0].uid, base)
        fixture.stop()
    with fleet(own, certified) as (fixture, agents, _), proxy_process(fixture, given=GROUP) as dock:
        time.sleep(SETTLED)
        below = measure(fixture, dock.target(), dock.pid, agents[0].uid, memory_of(dock.pid))
        _check(fixture, dock)
    return {"direct": direct, "popham": below}


def _check(fixture: Fixture, dock: Dock) -> None:
    """Raise SystemExit unless the proxy ran to the end."""
    with fixture.client() as client:
        said = client.proxy(NAME)
    if dock.process.poll() is not None:
        raise SystemExit(f"the Proxy Manager ended: {said}")


def rows(asked: argparse.Namespace) -> Mapping[str, Any]:
    """Measure all of it."""
    figures: dict[str, Any] = {}
    small = asked.small
    if "quiet".startswith(asked.only):
        with manager_fixture() as fixture:
            proxies, each, seconds = (2, 500, 1.0) if small else (PROXIES, EACH, SECONDS)
            figures |= quiet(fixture, proxies, each, seconds=seconds, repeats=asked.repeats)
    if "order".startswith(asked.only):
        orders = 10 if small else ORDERS
        found = running(
            lambda fixture, target, _pid, uid, _base: order(
                fixture, target, uid, orders=orders, repeats=asked.repeats
            ),
            100 if small else BESIDE,
            1,
        )
        added = {
            f"added_{name}": found["popham"][name] - found["direct"][name] for name in ("p50_ms", "p99_ms")
        }
        figures |= {"order: popham": found["popham"] | added, "order: direct": found["direct"]}
    if "publish".startswith(asked.only):
        count = 200 if small else AGENTS
        found = running(
            lambda fixture, target, pid, _uid, base: tell(
                fixture, target, pid, count, base, repeats=asked.repeats
            ),
            count,
            count,
        )
        share = found["popham"]["kb_per_agent"] / found["direct"]["kb_per_agent"]
        figures |= {
            "publish: popham": found["popham"] | {"memory": share},
            "publish: direct": found["direct"],
        }
    return figures


if __name__ == "__main__":
    run_scenario("proxy", rows)
