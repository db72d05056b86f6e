"""A Manager that starts takes as many new links as the last one found that the machine bears (REL-10)."""

import asyncio
from functools import partial

import pytest

from popham.clock import SystemClock
from popham.manager.app import open_manager
from popham.manager.founding import Founding, found
from popham.manager.settings import Listen, ManagerSettings
from popham.net.hot.admission import START
from popham.net.listen_settings import LimitsSettings
from popham.store.opening import open_store

KEY = "link_rate"


@pytest.fixture
async def serve(tmp_path):
    clock, state = SystemClock(), tmp_path / "state"
    asked = Founding(
        state=state,
        urls=("https://127.0.0.1:4320",),
        names=("127.0.0.1",),
        agents="127.0.0.1:0",
        people="127.0.0.1:0",
    )
    await found(asked, clock=clock, open_store=partial(open_store, "", clock=clock))

    async def run(during, **limits):
        """Serve until ``during`` returned, and stop in order."""
        settings = ManagerSettings(
            state=str(state), listen=Listen(agents="127.0.0.1:0"), limits=LimitsSettings(**limits)
        )
        async with open_manager(settings, clock) as manager:
            ready, stopping = asyncio.Event(), asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(manager.run(ready, stopping))
                await ready.wait()
                result = await during(manager)
                stopping.set()
            return result

    return run


async def rate_of(manager):
    return manager.listener.link_rate.per_second


def measure(rate):
    async def during(manager):
        manager.listener.link_rate.resume(f"[{rate}, {SystemClock().now()}]")

    return during


def note(text):
    async def during(manager):
        await manager._store.write(lambda tx: tx.set_meta(KEY, text))

    return during


async def noted(manager):
    return await manager._store.read(lambda tx: tx.meta(KEY))


async def test_rel_10_the_measured_rate_is_kept_over_a_restart(serve):
    await serve(measure(1234.5))
    assert await serve(rate_of) == 1234.5
    assert await serve(rate_of) == 1234.5


async def test_rel_10_what_was_not_measured_is_not_kept(serve):
    await serve(rate_of)
    assert await serve(noted) is None
    assert await serve(rate_of) == START


@pytest.mark.parametrize("text", ["", "abc", "[1e9, 0]", "[900, 1]"])
async def test_rel_10_a_damaged_or_old_note_is_not_used(serve, text):
    await serve(note(text))
    assert await serve(rate_of) == START


async def test_rel_10_a_rate_that_settings_fix_is_kept_whatever_was_noted(serve):
    await serve(measure(1234.5))
    assert await serve(rate_of, links_per_second=300.0) == 300.0
