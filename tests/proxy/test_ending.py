"""A Proxy Manager that is none any more: its agents go elsewhere."""

import asyncio
from types import SimpleNamespace

import pytest

from popham.net.seam import Refused
from popham.proxy.ending import LEFT, SLICE, TOLD, Ending
from popham.testing.direct import DirectLink
from popham.testing.virtual import VirtualClock, pass_time, run_virtual
from popham.upstream.relay_farewell import ENDED, LEAVING_MAX, Farewells

from .dock import AGENTS, dock_at

WEB = AGENTS[0]


class Machine:
    """A book in memory, and what else an end looks at."""

    def __init__(self, clock, count=0):
        self.clock, self.ended = clock, []
        self.held = {number: SimpleNamespace(key=number) for number in range(count)}
        self.meeting = SimpleNamespace(closed="")
        self.visitor = SimpleNamespace(expires=100.0)
        self.at, self.count, self.dials = None, 0, False
        self.ending = Ending(self, self, self, lambda: self.dials)

    def records(self):
        return self.held.values()

    def forget(self, key):
        del self.held[key]

    @property
    def holds(self):
        return self.visitor.expires > self.clock.elapsed

    def heard(self):
        """Have an exchange work."""
        self.at, self.count = self.clock.elapsed, self.count + 1


def play(story, count=0):
    clock = VirtualClock()

    async def told():
        machine = Machine(clock, count)
        running = asyncio.ensure_future(machine.ending.run())
        await story(machine)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run_virtual(told(), clock)


def test_agents_are_sent_away_some_in_each_turn_of_the_loop_and_no_more_once_it_is_taken_back():
    async def story(machine):
        machine.ending.end()
        assert (len(machine.held), machine.ending.why) == (3 * SLICE, TOLD), "whoever says so does not wait"
        left = []
        while len(machine.held) > SLICE:
            await asyncio.sleep(0)
            left.append(len(machine.held))
        assert set(left) >= {2 * SLICE, SLICE}
        machine.ending.ordered(ended=False)
        await pass_time(1.0)
        assert (len(machine.held), machine.ending.why) == (SLICE, "")

    play(story, 3 * SLICE)


def test_a_mailbox_that_nobody_empties_sends_its_agents_away_once_its_statement_is_over():
    async def story(machine):
        await pass_time(90.0)
        assert not machine.ending.why
        await pass_time(90.0)
        assert (machine.ending.why, machine.held) == (LEFT, {})
        machine.heard()
        await pass_time(70.0)
        assert not machine.ending.why, "somebody came, with a statement or without"
        await pass_time(300.0)
        assert not machine.ending.why

    play(story, 2)


def test_who_dials_hears_it_by_a_refusal_and_keeps_its_agents_while_nobody_answers():
    async def story(machine):
        machine.dials = True
        await pass_time(10_000.0)
        assert (machine.ending.why, len(machine.held)) == ("", 1)
        machine.ending.end()
        await pass_time(100.0)
        assert (machine.ending.why, machine.held) == (TOLD, {})
        machine.heard()
        await pass_time(100.0)
        assert not machine.ending.why

    play(story, 1)


def test_what_was_ordered_is_taken_back_by_another_order_only():
    async def story(machine):
        machine.ending.ordered(ended=True)
        machine.heard()
        await pass_time(200.0)
        assert machine.ending.why == TOLD
        machine.ending.ordered(ended=False)
        assert not machine.ending.why

    play(story)


async def test_a_visited_proxy_whose_definition_was_deleted_hears_so_in_the_next_visit_and_refuses_its_agents(
    tmp_path,
):
    dock = await dock_at(tmp_path, WEB)
    ending = Ending(dock.book, SimpleNamespace(), SimpleNamespace(count=0), lambda: False)
    dock.uplink.on_orders = lambda orders: ending.ordered(ended=bool(orders.get(ENDED)))
    await dock.visit()
    dock.book.tell(WEB.told())
    link = dock.book.find(WEB.key).link = DirectLink(WEB.peer())
    scope, dock.desk.scope = dock.desk.scope, lambda _proxy: None
    dock.relays.places_changed()
    await dock.visit("up lost")
    assert dock.relays.serves(dock.record), "nobody knows whether it heard, and it is dialled once more"
    await dock.visit("down lost")
    await dock.visit()
    assert not dock.relays.serves(dock.record)
    running = asyncio.ensure_future(ending.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert link.ended[0] == 1012
    with pytest.raises(Refused, match="no Proxy Manager any more"):
        await dock.say(WEB, full=True)
    await dock.write()
    told = []
    await dock.boot()
    dock.uplink.on_orders = told.append
    dock.uplink.load()
    assert told[0][ENDED], "it knows so after a new start, too"
    dock.uplink.on_orders = lambda orders: ending.ordered(ended=bool(orders.get(ENDED)))
    dock.desk.scope = scope
    dock.relays.places_changed()
    await dock.visit()
    assert not ending.why, "it was defined again"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_so_many_proxies_may_leave_at_once_and_the_newest_hear_it():
    farewells = Farewells()
    for number in range(LEAVING_MAX + 1):
        farewells.add(SimpleNamespace(proxy=SimpleNamespace(uid=str(number))))
    assert ("0" in farewells, "1" in farewells, len(list(farewells))) == (False, True, LEAVING_MAX)
