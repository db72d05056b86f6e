"""The session stories in virtual time, in each of the four cells; and those that need weather, which is made up."""

import pytest
from tests import stories

from popham.model.cell import Mode
from popham.model.status import SyncState, sync_state
from popham.testing.simulation import ADMIN, Simulation
from popham.testing.virtual import pass_time

from .conftest import HEARTBEAT, LAB, settings

OF_ROWS = (
    stories.the_first_round_is_at_start,
    stories.a_partition_changes_nothing_and_heals_by_itself,
    stories.another_mode_needs_no_restart_and_misses_nothing,
    stories.another_dialer_needs_no_restart_and_misses_nothing,
)
"""Stories that rows name; each has a test of its own."""

BRIEF = 0.01
"""Seconds in which a change is known to the whole Manager."""


class Stage:
    """Two agents of one group in virtual time; see :mod:`tests.stories`."""

    switches, exact, hop = 3, True, 0.0

    def __init__(self, simulation: Simulation):
        self.simulation, self.manager = simulation, simulation.manager
        self.agents, self.texts = [], []
        self.text = ""

    async def order(self, cell, heartbeat):
        self.cell, self.heartbeat = cell, heartbeat
        await self.manager.put_group("lab", settings(cell, heartbeat))
        await pass_time(BRIEF)

    async def begin(self):
        self.agents = await self.simulation.add_agents("lab", ["a0", "a1"])

    async def publish(self, text):
        for agent in self.agents:
            agent.applier.broken = ""
        self.text = text
        await self._publish(text)

    async def _publish(self, text):
        self.texts.append(text)
        await self.manager.publish(LAB.format(text=text))
        await pass_time(BRIEF)

    async def publish_broken(self):
        for agent in self.agents:
            agent.applier.broken = "no such account"
        await self._publish("broken")
        return "no such account"

    def has(self, text):
        motd = f"motd@{len(self.texts) - self.texts[::-1].index(text)}"
        return all(agent.applied == (motd,) for agent in self.agents)

    def settled(self):
        return in_sync(self.simulation, self.agents)

    def records(self):
        return [self.manager.book.record(agent.state.uid) for agent in self.agents]

    def heard(self):
        return self.records()

    def found(self):
        return all(one.ear.described for one in self.records())

    def sets(self):
        return [len(agent.applier.applied) for agent in self.agents]

    async def check_in(self):
        for agent, asked in zip(
            self.agents, await self.manager.service.check_in(ADMIN, group="lab"), strict=True
        ):
            if asked.state == "waits":
                agent.end.check_in()

    async def admit(self, *, accepted):
        change = self.manager.service.accept if accepted else self.manager.service.revoke
        for agent in self.agents:
            await change(ADMIN, agent.name)

    async def start(self):
        for agent in self.agents:
            agent.start()

    async def crash(self):
        for agent in self.agents:
            await agent.crash()

    async def leave(self):
        for agent in self.agents:
            await agent.stop()

    async def cut(self):
        self.simulation.network.cut = {agent.name for agent in self.agents}

    async def heal(self):
        self.simulation.network.cut = set()

    async def stop_manager(self):
        await self.manager.crash()

    async def start_manager(self):
        await self.manager.start()

    async def until(self, holds, seconds):
        await pass_time(seconds)
        assert holds()

    async def quiet(self, heartbeats):
        await pass_time(heartbeats * self.heartbeat)


def tell(simulate, cell, told, heartbeat=HEARTBEAT):
    async def story(simulation):
        stage = Stage(simulation)
        await stage.order(cell, heartbeat)
        if told is not stories.the_first_round_is_at_start:
            await stage.begin()
            await pass_time(2 * heartbeat)
        await told(stage)

    simulate(story)


@pytest.mark.parametrize(
    "told", [one for one in stories.STORIES if one not in OF_ROWS], ids=lambda one: one.__name__
)
def test_the_story(simulate, cell, told):
    tell(simulate, cell, told)


@pytest.mark.parametrize("heartbeat", [10.0, 3600.0])
def test_f_l1_the_first_round_is_at_start_whatever_the_heartbeat(simulate, cell, heartbeat):
    tell(simulate, cell, stories.the_first_round_is_at_start, heartbeat)


def test_rel_5_a_partition_changes_nothing_on_the_machine_and_heals_by_itself(simulate, cell):
    tell(simulate, cell, stories.a_partition_changes_nothing_and_heals_by_itself)


def test_f_c3_a_switch_of_mode_needs_no_restart_and_misses_nothing(simulate, cell):
    tell(simulate, cell, stories.another_mode_needs_no_restart_and_misses_nothing)


def test_f_c3_a_switch_of_dialer_needs_no_restart_and_misses_nothing(simulate, cell):
    tell(simulate, cell, stories.another_dialer_needs_no_restart_and_misses_nothing)


async def begin(simulation: Simulation, cell, agents: int = 2):
    await simulation.manager.put_group("lab", settings(cell))
    added = await simulation.add_agents("lab", [f"a{n}" for n in range(agents)])
    await pass_time(2 * HEARTBEAT)
    return added


def in_sync(simulation: Simulation, agents) -> bool:
    book = simulation.manager.book
    wanted = book.wanted("lab")
    return all(
        sync_state(wanted.content_digest, book.record(agent.state.uid).state) is SyncState.IN_SYNC
        for agent in agents
    )


def latency(cell) -> float:
    return 1.0 if cell[0] is Mode.PUSH else HEARTBEAT + 1.0


def test_f_p6_a_half_open_link_is_found_and_what_it_swallowed_arrives_by_another(simulate, cell):
    async def story(simulation):
        agents = await begin(simulation, cell)
        for agent in agents:
            simulation.network.half_open(agent.name)
        await simulation.manager.publish(LAB.format(text="one"))
        await pass_time(2 * HEARTBEAT + 10)
        assert [agent.applied for agent in agents] == [("motd@1",)] * 2
        assert in_sync(simulation, agents)

    simulate(story)


def test_rel_8_duplicate_reordered_and_lost_messages_change_nothing_in_the_end(simulate, cell):
    async def story(simulation):
        agents = await begin(simulation, cell, agents=5)
        weather = simulation.network.weather
        weather.duplicate, weather.reorder, weather.loss, weather.delay = 0.3, 0.3, 0.2, 2.0
        for number in range(10):
            await simulation.manager.publish(LAB.format(text=f"text {number}"))
            await pass_time(HEARTBEAT / 3)
        weather.duplicate = weather.reorder = weather.loss = 0.0
        await pass_time(12 * HEARTBEAT)
        assert [agent.applied for agent in agents] == [("motd@10",)] * 5
        assert in_sync(simulation, agents)

    simulate(story)


def test_rel_6_a_slow_reader_is_let_go_and_keeps_nobody_waiting(simulate, cell):
    async def story(simulation):
        slow, quick = await begin(simulation, cell)
        for pipe in simulation.network.pipes:
            if pipe.name == slow.name:
                pipe.stall()
        changes = 400 if cell[0] is Mode.PUSH else 100  # without a link nothing waits
        for number in range(changes):
            await simulation.manager.publish(LAB.format(text=f"text {number}"))
            await pass_time(0.05)
        await pass_time(latency(cell))
        assert quick.applied == (f"motd@{changes}",)
        waiting = [pipe.lower.waiting for pipe in simulation.network.pipes]
        assert max(waiting, default=0) <= simulation.network.limits.queue
        await pass_time(12 * HEARTBEAT)
        assert in_sync(simulation, [slow, quick])

    simulate(story)
