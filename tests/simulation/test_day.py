import pytest

from popham.model.communication import CommunicationSettings, Mode
from popham.model.status import SyncState, sync_state
from popham.testing.virtual import pass_time

from .conftest import LAB

DAY = 86400.0


@pytest.mark.parametrize("number", [100, pytest.param(500, marks=pytest.mark.soak)])
def test_agents_live_a_day_in_push_and_in_pull(simulate, number):
    async def story(simulation):
        manager = simulation.manager
        pull = CommunicationSettings(mode=Mode.PULL, heartbeat=1800)
        push = CommunicationSettings(mode=Mode.PUSH, heartbeat=1800)
        await manager.put_group("lab", pull)
        await manager.publish(LAB.format(text="one"))
        await manager.put_group("office", push, parent="lab")
        names = [f"lab-{n}" for n in range(number // 2)]
        agents = await simulation.add_agents("lab", names)
        agents += await simulation.add_agents("office", [name.replace("lab", "office") for name in names])
        for hour in range(24):
            await pass_time(DAY / 24)
            if hour % 6 == 0:
                await manager.publish(LAB.format(text=f"hour {hour}"))
        records = [manager.book.record(agent.state.uid) for agent in agents]
        states = [sync_state(manager.book.wanted(r.group).content_digest, r.state) for r in records]
        assert states == [SyncState.IN_SYNC] * number
        assert {agent.applied for agent in agents} == {("motd@5",)}
        silent = [simulation.clock.now() - record.last_contact for record in records]
        assert max(silent) <= 1801

    simulate(story)
