"""A start: what it finds before anybody is answered."""

import asyncio
import contextlib
import uuid

import pytest

from popham.clock import SystemClock
from popham.errors import StateError
from popham.manager.app import open_manager
from popham.manager.backup import RESTORED
from popham.manager.founding import DATABASE, Founding, found
from popham.manager.rejoining import read_forgotten
from popham.manager.rollouts import StoredRollout, open_rollout
from popham.manager.settings import Listen, ManagerSettings
from popham.model.rollout import Rollout, RolloutState, RolloutTerms
from popham.store.engine import connect
from popham.store.rows import AgentRow
from popham.store.sqlite import SqliteStore

PAGE = 4096


def open_store(path):
    return SqliteStore.open(path, clock=SystemClock())


@pytest.fixture
async def settings(tmp_path):
    """A Manager that is not running and knows some agents."""
    listen = Listen(agents="127.0.0.1:0", people="127.0.0.1:0")
    asked = Founding(
        state=tmp_path / "manager",
        names=("localhost",),
        urls=("https://localhost:4320",),
        agents=listen.agents,
        people=listen.people,
    )
    await found(asked, clock=SystemClock(), open_store=open_store)
    rows = [
        AgentRow(
            uid=str(uuid.UUID(int=n)),
            name=f"web-{n}",
            group="fleet",
            kind="own",
            admission="new",
            first_seen=1,
        )
        for n in range(500)
    ]
    store = open_store(tmp_path / "manager" / DATABASE)
    await store.write(lambda tx: [tx.put_agent(row) for row in rows])
    await store.aclose()
    return ManagerSettings(state=str(tmp_path / "manager"), listen=listen)


async def start(settings):
    """Start a Manager and stop it; returns whether its door was opened, and raises what ended it."""
    ready, stopping = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(10), open_manager(settings, SystemClock()) as manager:
        running = asyncio.ensure_future(manager.run(ready, stopping))
        opening = asyncio.ensure_future(ready.wait())
        await asyncio.wait({running, opening}, return_when=asyncio.FIRST_COMPLETED)
        stopping.set()
        opening.cancel()
        await running
    return ready.is_set()


@pytest.mark.parametrize("part", ["agents_by_name", "agents", "meta"])
async def test_rel_16_a_start_on_a_damaged_database_says_so_before_the_door_is_opened(
    settings, tmp_path, monkeypatch, part
):
    path = tmp_path / "manager" / DATABASE
    with contextlib.closing(connect(path, "ro")) as raw:
        (place,) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [part]).fetchone()
    whole = bytearray(path.read_bytes())
    whole[(place - 1) * PAGE : (place - 1) * PAGE + 12] = bytes(range(100, 112))
    path.write_bytes(whole)

    async def opened(*_: object):
        raise LookupError("the door was opened")

    monkeypatch.setattr("popham.net.hot.listener.HotListener.start", opened)
    with pytest.raises(StateError) as caught:
        await start(settings)
    error = caught.value
    assert (error.code, error.hint) == ("state.damaged", "Restore a backup")
    assert error.problem.startswith(f"The database {path} is damaged: ")


async def test_a_start_on_a_whole_database_opens_the_door(settings):
    assert await start(settings)


async def test_sec_41_after_a_restore_no_rollout_goes_on_by_itself(settings, tmp_path):
    states = {1: RolloutState.RUNNING, 2: RolloutState.HALTED, 3: RolloutState.PROMOTED}
    store = open_store(tmp_path / "manager" / DATABASE)

    def work(tx):
        for number, state in states.items():
            begun = Rollout.begin(f"r{number}", RolloutTerms.of([0.1]), now=1.0)
            begun = begun.became(state, now=2.0) if state is not RolloutState.RUNNING else begun
            tx.put_rollout(StoredRollout(number=number, rollout=begun, groups={}, author="ada", at=1.0).row())
        tx.set_meta(RESTORED, "3.0 2")

    await store.write(work)
    await store.aclose()
    assert await start(settings)
    store = open_store(tmp_path / "manager" / DATABASE)
    found = [open_rollout(row).rollout for row in await store.read(lambda tx: tx.rollouts())]
    entries = [row for row in await store.read(lambda tx: tx.audit()) if row.object.startswith("rollout/")]
    forgotten = await store.read(read_forgotten)
    await store.aclose()
    assert (forgotten.begin, forgotten.end) == (2.0, 3.0)
    assert [(one.id, one.state) for one in found] == [("r3", "promoted"), ("r2", "halted"), ("r1", "paused")]
    assert found[-1].reason == "this Manager was restored from a backup"
    assert [(row.actor, row.method, row.object) for row in entries] == [
        ("popham", "rollout.pause", "rollout/r1")
    ]
