"""The agent's process begins whatever the last one left behind, so that it is heard of."""

import asyncio
import random
import uuid

import pytest

from popham.agent.app import Agent
from popham.agent.records import Join
from popham.agent.settings import AgentSettings
from popham.agent.state import AgentState
from popham.clock import SystemClock
from popham.statedir import StateDir
from popham.trust.ca import Authority
from popham.trust.identity import make_csr
from popham.trust.keys import IdentityKey

UID = str(uuid.UUID("0198c2a0-0000-7000-8000-000000000001"))


@pytest.fixture
def enrolled(keys, tmp_path):
    """Return the settings and the state directory of a machine that has joined, and whose upstream is away."""
    clock, key = SystemClock(), IdentityKey.create()
    ca = Authority.create("popham", clock)
    settings = AgentSettings(state=str(tmp_path / "state"))
    with StateDir.open(tmp_path / "state", "agent", create=True) as directory:
        state = AgentState(directory)
        state.save_join(Join(urls=("https://127.0.0.1:9",), ca=ca.pem, ca_sha256="", root_sha256=""))
        state.create_identity(UID, key)
        state.save_certificate(ca.issue_agent(make_csr(key, UID), UID))
        state.save_documents(keys.root, keys.targets)
        yield settings, directory


async def test_an_agent_runs_although_what_an_apply_left_in_the_middle_cannot_be_finished(
    enrolled, tmp_path, caplog
):
    settings, directory = enrolled
    directory.path("applier").mkdir(mode=0o700)
    (directory.path("applier") / "journal.json").write_bytes(b"{torn")
    agent = Agent(settings, tmp_path / "agent.toml", directory, SystemClock(), random.Random(1))
    ready, stopping, said = asyncio.Event(), asyncio.Event(), asyncio.Event()
    agent.status.say = lambda _text, _wait: said.set()
    running = asyncio.ensure_future(agent.run(ready, stopping))
    try:
        dialled = asyncio.ensure_future(said.wait())
        await asyncio.wait({running, dialled}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert said.is_set(), "it dials, and fails, and dials again"
        assert not running.done()
        assert "what is in force cannot be looked at" in caplog.text
    finally:
        stopping.set()
        await running


async def test_f_o4_an_agent_of_which_a_restart_is_ordered_ends_in_order_and_says_so(enrolled, tmp_path):
    settings, directory = enrolled
    agent = Agent(settings, tmp_path / "agent.toml", directory, SystemClock(), random.Random(1))
    agent._again.set()
    async with asyncio.timeout(30):
        assert await agent.run(asyncio.Event(), asyncio.Event()) is True
    assert not settings.socket_path.exists()
    stopping = asyncio.Event()
    stopping.set()
    another = Agent(settings, tmp_path / "agent.toml", directory, SystemClock(), random.Random(1))
    async with asyncio.timeout(30):
        assert await another.run(asyncio.Event(), stopping) is False
