"""Alerts about services that the Manager asks itself."""

import asyncio

import pytest
from tests.manager.alerts.alerting import ALL, World, event
from tests.manager.conftest import ADMIN

from popham.errors import StateError
from popham.manager.alerts.probed import ProbeAlerts
from popham.manager.alerts.settings import LogRoute
from popham.manager.itself import MANAGER
from popham.store.refusal import overloaded

OF_PARIS = LogRoute(name="paris", group="paris")


async def begin(world, *names):
    """Return the probes' alerts as after a start."""
    world.alerts.loaded.set()
    probed = ProbeAlerts(world.store, world.alerts, world.clock)
    await probed.load(names)
    await world.alerts.step()
    return probed


async def say(world, probed, name, *, down):
    await probed.note(name, f"{name}: so it is", down=down)
    await world.alerts.step()


async def told(world):
    return [one for delivery in await world.told() for one in delivery]


async def test_f_d10_a_service_that_is_down_is_told_once_and_once_that_it_is_over(bench):
    world = await World(bench, ALL, OF_PARIS).begin()
    probed = await begin(world, "shop", "web")
    for down in (False, True, True, False, False):
        await say(world, probed, "shop", down=down)
    await say(world, probed, "web", down=True)
    states = [("manager", "probe", "error"), ("manager", "probe", "recovered"), ("manager", "probe", "error")]
    assert await told(world) == states
    assert await world.told("paris") == []
    (alert,) = (await bench.service.alerts(ADMIN)).items
    assert (alert.agent, alert.item, alert.resource, alert.text) == (
        "manager",
        "probe",
        "web",
        "web: so it is",
    )


async def test_a_restart_knows_what_is_down_and_what_nobody_asks_any_more_has_recovered(bench):
    world = await World(bench, ALL).begin()
    probed = await begin(world, "shop", "web", "mail")
    for name in ("shop", "web", "mail"):
        await say(world, probed, name, down=True)
    await told(world)
    world.restart()
    probed = await begin(world, "shop", "web")
    assert await told(world) == [("manager", "probe", "recovered")]
    await say(world, probed, "shop", down=True)
    assert await told(world) == []
    await say(world, probed, "web", down=False)
    assert await told(world) == [("manager", "probe", "recovered")]
    # What it finds of its agents is another matter.
    await world.alerts.look()
    await world.alerts.step()
    assert await world.open() == {(str(MANAGER)[-1], "probe", "shop"): "error"}


async def test_what_is_down_is_read_once_all_events_before_the_start_are_taken(bench):
    world = await World(bench, ALL).begin()
    reading = asyncio.ensure_future(ProbeAlerts(world.store, world.alerts, world.clock).load(["shop"]))
    await asyncio.sleep(0)
    assert not reading.done()
    running = asyncio.ensure_future(world.alerts.run())
    async with asyncio.timeout(30):
        await reading
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_could_not_be_written_is_still_to_be_told(bench, monkeypatch):
    world = await World(bench, ALL).begin()
    probed = await begin(world, "shop")

    async def refuse(_work):
        raise overloaded("there is too much to do")

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "write", refuse)
        with pytest.raises(StateError):
            await probed.note("shop", "shop: is silent", down=True)
    await say(world, probed, "shop", down=True)
    assert await told(world) == [("manager", "probe", "error")]


async def test_an_agent_cannot_say_that_a_probe_of_the_managers_is_down(bench):
    world = await World(bench, ALL).begin()
    await world.say(event(1, "error", item="probe", resource="shop"))
    assert await told(world) == []
