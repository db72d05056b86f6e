"""Groups: a tree is resolved, built and signed; one group is edited; an agent is explained.

1,000 groups of three locations and 50 policies, in the real database. Every group has policies and
location values of its own, every tenth its own locations and settings. Nothing but the Manager's
work is measured: the text of the definitions is read before the clock starts.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.scenario import Figures, repeat, run_scenario
from popham.clock import SystemClock
from popham.manager.agents import find_agent
from popham.manager.answers import explain_agent
from popham.manager.bundles import Bundles
from popham.manager.definitions import apply_definitions
from popham.manager.grant import Grant, Role
from popham.manager.objects import row_of
from popham.model.communication import CommunicationSettings
from popham.model.criteria import Condition, Kind
from popham.model.definition import SourceFile, check
from popham.model.fleet import COMMUNICATION, LOCATIONS, Group
from popham.model.location import Location, LocationRules, LocationValues
from popham.model.names import ROOT_GROUP
from popham.model.policy import Policy
from popham.store.rows import AgentRow, BundleRow, PolicyRow, RevisionRow
from popham.store.seam import Reading, Writing
from popham.store.sqlite import SqliteStore
from popham.testing.load.planted import new_uid
from popham.trust.keys import SigningKey

GROUPS, POLICIES, AGENTS = 1_000, 50, 100_000
_BATCH = 5_000
_EDITS = 50
_GRANT = Grant(actor="bench", role=Role.ADMIN, source="local")
_LEAF = "apiVersion: popham/v1\nkind: Group\nmetadata: {{name: {leaf}}}\nspec: {{parent: {parent}, {own}}}\n"
_OWN = "inheritance: {policies: {files: false}}, policies: {files: "


def make_groups(count: int) -> list[Group]:
    """Return a tree in which each group has ten below it."""
    rules = LocationRules(
        locations=(
            Location(name="home"),
            Location(name="office", weight=2, when=Condition(Kind.ADDRESS, "10.0.0.0/8")),
            Location(name="vpn", weight=1, when=Condition(Kind.INTERFACE, "vpn")),
        ),
        default="home",
    )
    root = Group(
        name=ROOT_GROUP, inherits=False, communication=CommunicationSettings(), locations=rules,
        policies={"files": "p0", "otelcol": "c0"},
    )  # fmt: skip
    found = [root]
    for number in range(1, count):
        parent = found[(number - 1) // 10].name
        group = Group(
            name=f"g{number}",
            parent=parent,
            exceptions={"files": False},
            policies={"files": f"p{number % (POLICIES - 1)}"},
            values={"office": LocationValues(policies={"files": f"p{number % 7}"})},
        )
        if number % 10 == 0:
            group = replace(
                group,
                exceptions={"files": False, COMMUNICATION: False, LOCATIONS: False},
                communication=CommunicationSettings(heartbeat=600.0),
                locations=replace(rules, check=60.0),
            )
        found.append(group)
    return found


def fill(tx: Writing, count: int) -> None:
    """Write policies and groups."""
    held = [Policy(name=f"p{n}", type="files", body={"files": [{"path": "/etc/popham.d/a", "content": f"{n}"}]})
            for n in range(POLICIES - 1)]  # fmt: skip
    held.append(Policy(name="c0", type="otelcol", body={"config": {"exporters": {"debug": None}}}))
    for policy in held:
        head = {"name": policy.name, "type": policy.type, "revision": 1, "sha256": policy.sha256}
        tx.add_revision(RevisionRow(**head, encoded=policy.encoded(), author="bench", at=0.0))
        tx.put_policy(PolicyRow(**head))
    for group in make_groups(count):
        tx.put_group(row_of(group, edition=1))


def crowd(tx: Writing, numbers: range, groups: int) -> None:
    """Write agents that never called, spread over the groups."""
    for number in numbers:
        tx.put_agent(
            AgentRow(
                uid=new_uid(), name=f"a{number}", group=f"g{1 + number % (groups - 1)}", kind="own",
                admission="accepted", first_seen=0.0,
            )
        )  # fmt: skip


async def timed(work: Callable[[], Any]) -> float:
    """Return the milliseconds that one call takes."""
    began = time.perf_counter()
    await work()
    return (time.perf_counter() - began) * 1000


class Timed(Bundles):
    """Notes how long building and signing took.

    Attributes:
        spent: Milliseconds of the last time.
    """

    spent = 0.0

    def publish(self, *words: Any, **named: Any) -> list[BundleRow]:
        """Publish, and note the time."""
        began = time.perf_counter()
        found = super().publish(*words, **named)
        self.spent = (time.perf_counter() - began) * 1000
        return found


class Bench:
    """One database, filled."""

    def __init__(self, folder: Path, groups: int, agents: int) -> None:
        self.groups, self.agents = groups, agents
        self.clock = SystemClock()
        self.store = SqliteStore.open(folder / "popham.db", clock=self.clock)
        self.director = SigningKey.create()
        self.bundles = Timed(self.director)
        self.inside = 0.0

    async def whole(self) -> None:
        """Build and sign whatever changed."""
        await self.store.write(lambda tx: self.bundles.publish(tx, None, now=self.clock.now()))

    async def edit(self, number: int) -> None:
        """Give the last group another policy, as an apply does; the definitions are read already."""
        leaf = self.groups - 1
        parent = make_groups(self.groups)[leaf].parent
        text = _LEAF.format(leaf=f"g{leaf}", parent=parent, own=f"{_OWN}p{number % 5}}}")
        definitions = check([SourceFile("bench.yaml", text)])

        def work(tx: Writing) -> None:
            began = time.perf_counter()
            applied = apply_definitions(tx, definitions, self.bundles, grant=_GRANT, now=self.clock.now())
            self.inside = (time.perf_counter() - began) * 1000
            if applied.groups != (f"g{leaf}",):
                raise SystemExit(f"signed were {applied.groups}")

        await self.store.write(work)

    async def explain(self) -> None:
        """Say of one agent why its settings are what they are, as ``popham explain agent`` does."""

        def work(tx: Reading) -> None:
            explain_agent(tx, find_agent(tx, f"a{self.agents // 2}"), location="office")

        await self.store.read(work)

    async def measure(self) -> Figures:
        """Return the figures of one fresh database."""
        await self.store.write(lambda tx: fill(tx, self.groups))
        built = await timed(self.whole)
        again = await timed(self.whole)
        self.bundles = Timed(self.director)
        restarted = await timed(self.whole)
        for first in range(0, self.agents, _BATCH):
            numbers = range(first, min(first + _BATCH, self.agents))
            await self.store.write(partial(crowd, numbers=numbers, groups=self.groups))
        await self.edit(0)
        applied, published = [], []
        for number in range(1, _EDITS):
            await self.edit(number)
            applied.append(self.inside)
            published.append(self.bundles.spent)
        explained = [await timed(self.explain) for _ in range(_EDITS)]
        await self.store.aclose()
        return {
            "build_ms": built,
            "unchanged_ms": again,
            "unchanged_cold_ms": restarted,
            "edit_ms": statistics.median(published),
            "apply_ms": statistics.median(applied),
            "explain_ms": statistics.median(explained),
        }


def rows(asked: argparse.Namespace) -> Mapping[str, Any]:
    """Measure a tree of the design's size."""
    groups, agents = (100, 1_000) if asked.small else (GROUPS, AGENTS)

    def once() -> Figures:
        with tempfile.TemporaryDirectory(prefix="popham-bench-") as folder:
            return asyncio.run(_run(Path(folder), groups, agents))

    return {"tree: popham": repeat(once, asked.repeats)}


async def _run(folder: Path, groups: int, agents: int) -> Figures:
    return await Bench(folder, groups, agents).measure()


if __name__ == "__main__":
    run_scenario("resolve", rows)
