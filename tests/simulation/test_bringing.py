"""Bodies that do not fit beside the bundle, and bundles that do not fit on a link: fetched, or brought."""

import pytest

from popham.model.cell import Dialer, Mode
from popham.model.status import Outcome, SyncState, sync_state
from popham.model.yaml_text import write_yaml
from popham.testing.virtual import pass_time

from .conftest import HEARTBEAT, settings

HUGE, LARGE, SMALL = 300_000, 9_000, 500
"""Characters of a body: more than fit beside a bundle anywhere, than fit on a link, and than one of forty may have."""


def definitions(text, size, locations=0):
    """Return a group with a policy of that size, and one for each further location."""
    names = ["motd", *(f"motd-{number}" for number in range(locations))]
    head = {"apiVersion": "popham/v1"}
    found = [
        {
            **head,
            "kind": "Policy",
            "metadata": {"name": name},
            "spec": {"type": "files", "files": [{"path": "/etc/motd", "content": name + text * size}]},
        }
        for name in names
    ]
    places = [{"name": "default", "default": True}]
    places += [
        {
            "name": f"place-{number}-{'x' * 40}",
            "weight": number + 1,
            "when": {"address": f"10.{number}.0.0/16"},
            "policies": {"files": f"motd-{number}"},
        }
        for number in range(locations)
    ]
    spec = {"inheritance": {"communication": False, "locations": False, "policies": {"files": False}}}
    spec |= {"policies": {"files": "motd"}, "locations": places}
    found.append({**head, "kind": "Group", "metadata": {"name": "lab"}, "spec": spec})
    return "---\n".join(write_yaml(one) for one in found)


async def begin(simulation, cell):
    await simulation.manager.put_group("lab", settings(cell))
    (agent,) = await simulation.add_agents("lab", ["a"])
    await pass_time(2 * HEARTBEAT)
    return agent


def in_sync(simulation, agent):
    wanted = simulation.manager.book.wanted("lab").content_digest
    return sync_state(wanted, simulation.manager.book.record(agent.state.uid).state) is SyncState.IN_SYNC


def wait(cell):
    # An agent's service looks at ten requests a second.
    return 10.0 if cell[0] is Mode.PUSH else 2 * HEARTBEAT


@pytest.mark.parametrize(("size", "locations"), [(LARGE, 0), (HUGE, 0), (SMALL, 40), (LARGE, 40)])
def test_f_l7_whatever_its_size_it_is_in_force_as_soon_as_any_other(simulate, cell, size, locations):
    async def story(simulation):
        agent = await begin(simulation, cell)
        dialled = agent.dials
        for number, text in enumerate("abc", 1):
            await simulation.manager.publish(definitions(text, size, locations))
            await pass_time(wait(cell))
            assert agent.applied == (f"motd@{number}",)
            assert in_sync(simulation, agent)
        if cell[1] is Dialer.MANAGER:
            assert agent.dials == dialled, "it fetches nothing by itself"
        if locations:
            assert len(simulation.manager.book.wanted("lab").envelope) > 8192
        assert not any(agent.said)

    simulate(story)


@pytest.mark.parametrize("mode", Mode)
def test_what_is_replaced_while_it_is_brought_does_no_harm(simulate, mode):
    async def story(simulation):
        cell = mode, Dialer.MANAGER
        agent = await begin(simulation, cell)
        for number in range(30):
            await simulation.manager.publish(definitions(chr(97 + number % 26), LARGE, 10))
            await pass_time(0.05 * (number % 5))
        await pass_time(2 * HEARTBEAT)
        assert agent.applied == ("motd@30",)
        assert in_sync(simulation, agent)

    simulate(story)


@pytest.mark.parametrize("mode", Mode)
def test_bodies_that_are_lost_on_their_way_are_brought_again(simulate, mode):
    async def story(simulation):
        agent = await begin(simulation, (mode, Dialer.MANAGER))
        simulation.network.weather.loss = 0.3
        for number in range(10):
            await simulation.manager.publish(definitions(chr(97 + number), LARGE, 5))
            await pass_time(HEARTBEAT)
        simulation.network.weather.loss = 0.0
        await pass_time(6 * HEARTBEAT)
        assert agent.applied == ("motd@10",)
        assert in_sync(simulation, agent)
        record = simulation.manager.book.record(agent.state.uid)
        assert record.state.outcome is Outcome.APPLIED
        assert record.lacks == ()

    simulate(story)
