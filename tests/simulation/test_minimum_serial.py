"""An agent that is not trusted with secrets yet: it applies the rest, and is given them once it has the serial."""

import pytest

from popham.manager.definitions import Terms
from popham.manager.operations.stored import Asked
from popham.model.cell import Dialer, Mode
from popham.model.status import SyncState, sync_state
from popham.testing.simulation import ADMIN
from popham.testing.virtual import pass_time

from .conftest import HEARTBEAT, settings

LAB = """
apiVersion: popham/v1
kind: Policy
metadata: {{name: keys}}
spec: {{type: files, files: [{{path: /etc/popham.d/key, content: "{text}", secret: {secret}}}]}}
---
apiVersion: popham/v1
kind: Group
metadata: {{name: lab}}
spec:
  inheritance: {{communication: false, policies: {{files: false}}}}
  policies: {{files: keys}}
  minimum_serial: {minimum}
"""


@pytest.fixture(params=list(Mode))
def cell(request):
    """Whoever is refused a body asks for it again, so the agent dials."""
    return request.param, Dialer.AGENT


def lab(text, minimum, secret="true"):
    return LAB.format(text=text, minimum=minimum, secret=secret)


def in_sync(simulation, agent):
    book = simulation.manager.book
    state = book.record(agent.state.uid).state
    return sync_state(book.wanted("lab").content_digest, state) is SyncState.IN_SYNC


def state_of(simulation, agent):
    return simulation.manager.book.record(agent.state.uid).state


def test_f_y14_an_agent_below_the_serial_applies_the_rest_and_is_given_the_secret_at_a_later_contact(
    simulate, cell
):
    async def story(simulation):
        await simulation.manager.put_group("lab", settings(cell))
        (agent,) = await simulation.add_agents("lab", ["a"])
        await pass_time(2 * HEARTBEAT)
        await simulation.manager.publish(lab("one", 0, "false"))
        await pass_time(HEARTBEAT + 5)
        assert agent.applied == ("keys@1",)
        assert in_sync(simulation, agent)
        serial = simulation.manager.book.wanted("lab").serial
        await simulation.manager.publish(lab("hunter2", serial + 1))
        await pass_time(4 * HEARTBEAT)
        assert agent.applied == ("keys@2",)
        assert in_sync(simulation, agent)
        assert state_of(simulation, agent).withheld == ()

    simulate(story)


def test_f_y14_a_new_agent_waits_until_the_serial_exists_and_says_for_what(simulate, cell):
    async def story(simulation):
        await simulation.manager.publish(lab("hunter2", 2))
        await simulation.manager.put_group("lab", settings(cell))
        (agent,) = await simulation.add_agents("lab", ["a"])
        first = simulation.manager.book.wanted("lab").serial
        await simulation.manager.publish(lab("hunter2", first + 1))
        await pass_time(4 * HEARTBEAT)
        state = state_of(simulation, agent)
        assert (state.applied_serial, state.withheld) == (first, ("keys",))
        assert "keys@1" not in agent.applied
        assert not in_sync(simulation, agent)
        await simulation.manager.publish(lab("hunter3", first + 1))
        await pass_time(4 * HEARTBEAT)
        assert agent.applied == ("keys@2",)
        assert in_sync(simulation, agent)

    simulate(story)


def test_f_y14_lowering_the_minimum_is_enough(simulate, cell):
    async def story(simulation):
        await simulation.manager.put_group("lab", settings(cell))
        (agent,) = await simulation.add_agents("lab", ["a"])
        await pass_time(2 * HEARTBEAT)
        await simulation.manager.publish(lab("hunter2", 99))
        await pass_time(2 * HEARTBEAT)
        assert state_of(simulation, agent).withheld == ("keys",)
        await simulation.manager.publish(lab("hunter2", 1))
        await pass_time(5 if cell[0] is Mode.PUSH else HEARTBEAT + 5)
        assert agent.applied == ("keys@1",)
        assert in_sync(simulation, agent)

    simulate(story)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("dialer", list(Dialer))
def test_sec_41_a_secret_is_not_given_ahead_of_time_for_a_candidate_that_is_held(simulate, mode, dialer):
    async def story(simulation):
        manager = simulation.manager
        await manager.put_group("lab", settings((mode, dialer)))
        (agent,) = await simulation.add_agents("lab", ["a"])
        agent.serve(on=True)
        await manager.publish(lab("one", 0, "false"))
        await pass_time(12 * HEARTBEAT)
        assert agent.applied == ("keys@1",)
        serial = manager.book.wanted("lab").serial
        await manager.publish(lab("hunter2", serial + 1), Terms(hold=True))
        await pass_time(12 * HEARTBEAT)
        wanted = manager.book.wanted("lab")
        (secret,) = wanted.guarded
        assert agent.state.blob(secret) is None
        made = await manager.service.order(ADMIN, "check-in", Asked(agents=("a",)))
        await pass_time(12 * HEARTBEAT)
        found = await manager.service.operation(ADMIN, made.name)
        assert found.counts == {"succeeded": 1}, "what is held back stops nothing else"

    simulate(story)
