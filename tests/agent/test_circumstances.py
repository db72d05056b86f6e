"""What happens around a machine: other networks, sleep, clocks that are set."""

import asyncio
import time

import pytest

from popham import posix
from popham.agent.circumstances import TICK, Circumstances, is_mobile
from popham.agent.schedule import Schedule
from popham.model.communication import CommunicationSettings, Mode
from popham.model.criteria import Surroundings
from popham.model.schedule import Override
from popham.testing.host import SimHost
from popham.testing.virtual import VirtualClock, pass_time, run_virtual

METERED = CommunicationSettings(metered=Override(mode=Mode.PULL))


def live(story, *, metered=None, host=None):
    """Tell a story; return what happened: the seconds, and whether it was another network."""
    clock, happened, slept = VirtualClock(), [], [0.0]

    async def tell():
        def note(*, network, since):
            assert since <= clock.elapsed
            happened.append((round(clock.elapsed), network))

        schedule = Schedule(
            clock, phase=0.0, changed=lambda: happened.append((round(clock.elapsed), "settings"))
        )
        machine = host or SimHost()
        circumstances = Circumstances(
            machine, schedule, clock, metered=metered, happened=note, asleep=lambda: slept[0]
        )
        schedule.at(METERED)
        running = asyncio.ensure_future(circumstances.run())
        await pass_time(0.5)
        await story(machine, clock, slept, schedule)
        await pass_time(2 * TICK)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert getattr(machine, "listeners", 0) == 0

    run_virtual(tell(), clock)
    return happened


def test_f_l11_a_resume_from_sleep_is_seen_by_the_clock_that_counts_it():
    async def story(_host, clock, slept, _schedule):
        await pass_time(100)
        slept[0] += 3600
        clock.offset += 3600

    assert live(story) == [(105, False)]


def test_f_l11_another_network_is_seen_at_once_and_a_flood_of_changes_as_one():
    async def story(host, _clock, _slept, _schedule):
        await pass_time(99.5)
        for number in range(10):
            host.change(addresses=(f"10.0.0.{number}",), gateways=("10.0.0.1",))

    assert live(story) == [(101, True)]


def test_f_l11_link_local_addresses_and_interfaces_of_containers_are_no_other_network():
    async def story(host, _clock, _slept, _schedule):
        host.change(addresses=("fe80::1", "169.254.3.4"), interfaces={"veth1": "other"})

    assert live(story) == []


def test_f_l11_where_the_system_tells_of_no_changes_they_are_looked_for():
    host = SimHost()
    host.tells = False

    async def story(host, _clock, _slept, _schedule):
        host.put(addresses=("10.0.0.2",))

    assert live(story, host=host) == [(16, True)]


def test_f_c7_the_configuration_of_the_machine_decides_whether_its_link_is_metered():
    async def story(host, _clock, _slept, schedule):
        assert schedule.at(METERED).mode is Mode.PULL
        host.change(interfaces={"eth0": "ethernet"})
        await pass_time(5)
        assert schedule.at(METERED).mode is Mode.PULL

    assert live(story, metered=True) == []


def test_f_c7_by_itself_a_link_is_metered_while_it_is_mobile():
    async def story(host, _clock, _slept, schedule):
        host.change(interfaces={"wwan0": "mobile"})
        await pass_time(2)
        assert schedule.at(METERED).mode is Mode.PULL
        host.change(interfaces={"wwan0": "mobile", "eth0": "ethernet"})
        await pass_time(2)
        assert schedule.at(METERED).mode is Mode.PUSH

    assert [what for _, what in live(story)] == ["settings", "settings"]


@pytest.mark.parametrize(
    ("types", "mobile"),
    [
        ([], False),
        (["mobile"], True),
        (["mobile", "vpn", "loopback", "other"], True),
        (["mobile", "ethernet"], False),
        (["mobile", "wireless"], False),
        (["vpn"], False),
    ],
)
def test_f_c7_a_link_is_mobile_where_nothing_else_leads_out(types, mobile):
    around = Surroundings(interfaces={f"if{number}": kind for number, kind in enumerate(types)})
    assert is_mobile(around) is mobile


def test_the_time_asleep_is_what_one_clock_counts_and_the_other_does_not(monkeypatch):
    assert posix.time_asleep() >= 0 or abs(posix.time_asleep()) < 0.01
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    assert posix.time_asleep() == 0.0


def test_a_network_whose_routes_change_all_the_time_is_looked_at_ever_more_seldom():
    looks = []

    class Busy(SimHost):
        async def look(self, needs):
            looks.append(1)
            return await super().look(needs)

    host = Busy()

    async def story(host, _clock, _slept, _schedule):
        for _ in range(600):
            host.change(interfaces={"veth1": "other"})
            await pass_time(0.5)

    assert live(story, host=host) == []
    assert 8 <= len(looks) <= 20
