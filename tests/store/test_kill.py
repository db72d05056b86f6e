from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from popham.clock import SystemClock
from popham.store.audit import verify_chain
from popham.store.opening import open_store
from popham.store.seam import Reading

PUBLISHER = Path(__file__).with_name("publisher.py")
PUBLISHES = 120


class Publishers:
    """Processes that publish one after the other into the same database."""

    def __init__(self, database: str, path: Path) -> None:
        command = [sys.executable, str(PUBLISHER), database, str(path), str(PUBLISHES)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.acknowledged: set[int] = set()
        self.kills = 0

    def run(self, kill_after: int | None) -> None:
        """Run one process; kill it after so many lines, or let it end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        for seen, line in enumerate(self.process.stdout, 1):
            if line in {b"ended\n", b"killed\n"}:
                self.kills += line == b"killed\n"
                return
            self.acknowledged.add(int(line))
            if seen == kill_after:
                for child in self.children():
                    os.kill(child, signal.SIGKILL)
        raise EOFError

    def children(self) -> list[int]:
        """Return the number of the process that publishes, if there still is one."""
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(number) for number in text.split()]

    def close(self) -> None:
        self.process.communicate(timeout=30)


def check(tx: Reading) -> set[int]:
    """Return which revisions are there, each of them whole."""
    revisions = {row.revision for row in tx.revisions("motd")}
    rows = tx.audit()
    verify_chain(rows)
    assert {int(row.object.removeprefix("motd/")) for row in rows} == revisions
    assert len(rows) == len(revisions)
    head, bundle = tx.policy("motd"), tx.bundle("web")
    newest = max(revisions, default=0)
    assert (head.revision if head else 0) == newest
    assert (bundle.version if bundle else 0) == newest
    return revisions


async def revisions_of(database: str, path: Path) -> set[int]:
    """Open the database, which checks its form, and return the revisions that it holds."""
    store = open_store(database, path, clock=SystemClock())
    found = await store.read(check)
    await store.aclose()
    return found


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    """Each database that survives its process."""
    return "" if request.param == "sqlite" else request.getfixturevalue("url")


@pytest.mark.parametrize("seed", [1, 2])
async def test_rel_1_no_acknowledged_publish_is_lost_by_kill_9(
    database: str, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    path = tmp_path / "popham.db"
    publishers = Publishers(database, path)
    try:
        for _ in range(8):
            await asyncio.to_thread(publishers.run, rng.randrange(1, 20))
            assert publishers.acknowledged <= await revisions_of(database, path)
        await asyncio.to_thread(publishers.run, None)
    finally:
        await asyncio.to_thread(publishers.close)
    assert publishers.kills > 2
    assert await revisions_of(database, path) == set(range(1, PUBLISHES + 1))
