"""An agent that opens nothing outward, over simulated weeks: born by a visit, and reached by visits alone."""

import asyncio
import copy
from dataclasses import replace

import pytest

from popham.agent.birth import Unborn, wait_for_birth
from popham.agent.settings import AgentSettings
from popham.agent.visited import AgentWorld
from popham.downstream.service import VisitService
from popham.manager.dialing import dial_agent
from popham.model.cell import Dialer, Mode
from popham.model.status import Presence, SyncState, presence, sync_state
from popham.testing.agent import SimAgent
from popham.testing.simulation import ADMIN, Simulation
from popham.testing.virtual import VirtualClock, pass_time, run_virtual
from popham.trust.identity import load_certificate, read_identity
from popham.trust.join import JoinString
from popham.trust.tuf import TrustedTuf

from .conftest import LAB

MINUTE, DAY = 60.0, 86_400.0
GROUP = LAB + "  communication: {{{communication}, spread: off}}\n"
DEFINITION = """
apiVersion: popham/v1
kind: Agent
metadata: {name: walled}
spec: {address: walled}
"""
VISITED = "preset: Pull by visit, heartbeat: 10m"
CELLS = {
    "push": "preset: Push, heartbeat: 5m",
    "pull": "preset: Pull by heartbeat, heartbeat: 5m",
    "visited": VISITED,
    "held": "preset: Push over the Manager's connection, heartbeat: 5m",
}


class Walled(SimAgent):
    """An agent that waits to be born, and then is one; a process that starts goes on from what is kept."""

    async def wait(self, join):
        """Wait behind the service, as ``popham agent enroll --listen`` and ``popham agent run`` do."""
        wait_for_birth(self.state, join)
        await self.wait_again()

    async def wait_again(self):
        """Wait on, as a process that starts anew."""
        self.unborn = Unborn(self.state, AgentSettings(name=self.name))
        self.service = VisitService(self.unborn, clock=self._simulation.clock)
        self._growing = asyncio.ensure_future(self._grow())

    async def _grow(self):
        await self.unborn.born.wait()
        self.start()
        documents = self.state.documents()
        tuf = TrustedTuf.from_bytes(documents.root, documents.targets)
        self.unborn.become(AgentWorld(self.state, tuf, self.driver, self.end))

    async def crash(self):
        self._growing.cancel()
        await asyncio.gather(self._growing, return_exceptions=True)
        if self.unborn.born.is_set():
            await super().crash()
        else:
            await self.service.aclose()

    @property
    def until(self):
        return read_identity(load_certificate(self.state.certificate())).not_after


@pytest.fixture
def tell(keys):
    """Tell a story of a Manager and one machine that waits; certificates are of the story's own time."""

    def run(story, *, accepts=True):
        clock = VirtualClock()
        authority = copy.copy(keys.ca)
        authority._clock = clock

        async def told():
            simulation = Simulation(clock, replace(keys, ca=authority))
            await simulation.manager.start()
            agent = Walled(simulation, "walled")
            simulation.agents["walled"] = agent
            try:
                service = simulation.manager.service
                await simulation.manager.publish(GROUP.format(text="0", communication=VISITED))
                made = await service.create_token(ADMIN, group="lab", accepts=accepts)
                await agent.wait(JoinString.parse(made.secret))
                await story(simulation, agent)
                assert agent.dials == 0
            finally:
                await simulation.end()

        run_virtual(told(), clock)

    return run


async def define(simulation):
    """Say where the machine is, and wait until it may have been visited."""
    await simulation.manager.publish(DEFINITION)
    simulation.manager.live.definitions_changed(["walled"])
    await pass_time(MINUTE)


def record_of(simulation, agent):
    return simulation.manager.book.record(agent.state.uid)


def is_in_sync(simulation, agent, group="lab"):
    wanted = simulation.manager.book.wanted(group).content_digest
    return sync_state(wanted, record_of(simulation, agent).state) is SyncState.IN_SYNC


def test_f_l12_born_within_a_minute_of_its_definition_and_in_sync(tell):
    async def story(simulation, agent):
        await pass_time(30 * MINUTE)
        assert agent.state.certificate() is None
        await define(simulation)
        assert agent.state.certificate() is not None
        assert agent.applied == ("motd@1",)
        assert is_in_sync(simulation, agent)

    tell(story)


@pytest.mark.parametrize("communication", CELLS.values(), ids=CELLS)
def test_f_l12_whatever_its_group_says_of_dialling_it_dials_nobody_and_follows(tell, communication):
    async def story(simulation, agent):
        await define(simulation)
        await simulation.manager.publish(GROUP.format(text="1", communication=communication))
        await pass_time(30 * MINUTE)
        assert agent.end.settings.dialer is Dialer.MANAGER
        for text in ("2", "3"):
            await simulation.manager.publish(GROUP.format(text=text, communication=communication))
            await pass_time(11 * MINUTE)
            assert is_in_sync(simulation, agent)
        held = agent.end.settings.mode is Mode.PUSH
        assert (record_of(simulation, agent).link is not None) is held
        await pass_time(DAY)
        record = record_of(simulation, agent)
        assert presence(record.last_contact, record.promise, simulation.clock.now()) is Presence.ON_TIME

    tell(story)


def test_f_l12_visits_that_do_not_come_for_days_make_it_dial_nobody(tell):
    async def story(simulation, agent):
        await define(simulation)
        await simulation.manager.crash()
        await pass_time(3 * DAY)
        assert agent.end.unvisited == ""
        await simulation.manager.start()
        await simulation.manager.publish(GROUP.format(text="1", communication=VISITED))
        await pass_time(11 * MINUTE)
        assert is_in_sync(simulation, agent)

    tell(story)


async def bear(simulation, name, communication):
    """Return a machine that waits in a group of its own, where it is said from the start to be visited."""
    text = GROUP.format(text="0", communication=communication).replace("name: lab", f"name: {name}")
    await simulation.manager.publish(text)
    made = await simulation.manager.service.create_token(ADMIN, group=name, accepts=True)
    agent = simulation.agents[name] = Walled(simulation, name)
    await agent.wait(JoinString.parse(made.secret))
    await simulation.manager.publish(DEFINITION.replace("walled", name))
    simulation.manager.live.definitions_changed([name])
    return agent


def test_f_l12_certificates_are_renewed_by_visits_for_two_weeks_whatever_the_group_says(tell):
    async def story(simulation, _agent):
        seldom = {name: said.rpartition(" ")[0] + " 6h" for name, said in CELLS.items()}
        agents = {name: await bear(simulation, name, VISITED) for name in seldom}
        await pass_time(MINUTE)
        for name, said in seldom.items():
            text = GROUP.format(text="1", communication=said).replace("name: lab", f"name: {name}")
            await simulation.manager.publish(text)
        first = {name: agent.until for name, agent in agents.items()}
        for _ in range(14):
            await pass_time(DAY)
            assert min(agent.until for agent in agents.values()) > simulation.clock.now()
        for name, agent in agents.items():
            assert agent.until > first[name] + 6 * DAY
            assert is_in_sync(simulation, agent, name)
            assert agent.dials == 0

    tell(story)


@pytest.mark.parametrize("communication", CELLS.values(), ids=CELLS)
def test_f_l12_clocks_that_jump_past_its_end_cost_a_renewal_and_nothing_else(tell, communication):
    async def story(simulation, agent):
        await define(simulation)
        await simulation.manager.publish(GROUP.format(text="1", communication=communication))
        await pass_time(30 * MINUTE)
        simulation.clock.offset += 8 * DAY
        assert agent.until < simulation.clock.now()
        await simulation.manager.publish(GROUP.format(text="2", communication=communication))
        await pass_time(30 * MINUTE)
        assert agent.until > simulation.clock.now()
        assert agent.applied == ("motd@3",)
        assert is_in_sync(simulation, agent)

    tell(story)


def test_f_l12_who_waits_for_an_administrator_is_born_soon_after_it_is_accepted(tell):
    async def story(simulation, agent):
        await define(simulation)
        await pass_time(DAY)
        assert agent.state.certificate() is None
        await simulation.manager.service.accept(ADMIN, "walled")
        await pass_time(MINUTE)
        assert agent.applied == ("motd@1",)

    tell(story, accepts=False)


def test_f_l12_a_machine_that_starts_anew_while_it_waits_is_born_all_the_same(tell):
    async def story(simulation, agent):
        await define(simulation)
        await agent.crash()
        await agent.wait_again()
        await simulation.manager.service.accept(ADMIN, "walled")
        await pass_time(MINUTE)
        assert agent.applied == ("motd@1",)

    tell(story, accepts=False)


def test_f_l12_an_assignment_that_lets_it_dial_is_followed_without_a_gap(tell):
    async def story(simulation, agent):
        await define(simulation)
        manager = simulation.manager
        await manager.publish(GROUP.format(text="1", communication=CELLS["pull"]))
        await pass_time(30 * MINUTE)
        assert agent.dials == 0

        def work(tx):
            director, now = manager.keys.director, simulation.clock.now()
            return dial_agent(tx, ADMIN, "walled", director, dialer=None, may_dial=True, now=now)

        row = await manager.store.write(work)
        manager.live.agent_changed(row.uid)
        await pass_time(30 * MINUTE)
        assert agent.dials > 0
        assert is_in_sync(simulation, agent)
        record = record_of(simulation, agent)
        assert presence(record.last_contact, record.promise, simulation.clock.now()) is Presence.ON_TIME
        agent.dials = 0

    tell(story)
