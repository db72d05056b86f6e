"""How many links are held, and what becomes of the next one."""

import random

import pytest

from popham.net.listen_settings import LimitsSettings
from popham.net.rate import WINDOW
from popham.net.seam import FULL, Refused
from popham.testing.virtual import VirtualClock
from popham.upstream.room import LONGEST, Room

from .conftest import describe


def room(cap, held=0):
    made = Room(VirtualClock(), cap=cap, rng=random.Random(7))
    made.held = held
    return made


def test_f_p5_without_a_cap_there_is_always_room():
    assert not room(0, held=1_000_000).full


def test_f_p5_once_full_there_is_room_again_when_a_fiftieth_is_free():
    links = room(1000, held=999)
    assert not links.full
    links.held = 1000
    assert links.full
    links.held = 981
    assert links.full
    links.held = 980
    assert not links.full
    links.held = 999
    assert not links.full


@pytest.mark.parametrize("cap", [1, 2, 3, 49])
def test_f_p5_a_small_cap_has_room_again_when_one_link_is_gone(cap):
    links = room(cap, held=cap)
    assert links.full
    links.held = cap - 1
    assert not links.full


def test_f_p5_those_for_whom_there_is_no_room_ask_again_spread_over_a_window_that_grows_with_their_number():
    links = room(10, held=10)
    waits = [links.refusal(None, None).retry_after for _ in range(20_000)]
    few, many = waits[:300], waits[-500:]
    assert max(few) <= 1 + WINDOW
    assert len({round(wait) for wait in few}) > 25
    assert max(many) > 20 * WINDOW
    assert max(waits) <= 1 + LONGEST
    assert links.refused == 20_000


async def test_f_p5_a_stock_agent_is_refused_with_retry_after_and_a_code(stock, manager):
    link, _ = manager.hold(stock.peer)
    assert link.ended is None
    manager.hub.room.cap = 1
    with pytest.raises(Refused) as found:
        manager.hold(await manager.stock_peer("lab"))
    refusal = found.value.refusal
    assert refusal.status == 503
    assert 1 <= refusal.retry_after <= 1 + WINDOW
    assert FULL in refusal.body
    assert manager.hub.left_out["link"] == 1


async def test_f_p5_who_holds_a_link_may_replace_it_when_all_are_taken_and_nobody_else(stock, manager):
    _, end = manager.hold(stock.peer)
    await manager.hear(end, stock.message(agent_description=describe()))
    manager.hub.room.cap = 1
    other = await manager.stock_peer("lab")
    assert manager.hub.admit(other, held=True, uid=stock.key).status == 503
    assert manager.hub.admit(stock.peer, held=True, uid=stock.key) is None


async def test_f_p5_our_agent_may_replace_its_link_by_its_certificate(manager):
    agent, late = await manager.add_agent("a"), await manager.add_agent("b")
    _, end = manager.hold(agent.peer())
    await manager.hear(end, agent.end.report(force=True))
    manager.hub.room.cap = 1
    assert manager.hub.admit(agent.peer(), held=True, uid=b"") is None
    assert manager.hub.admit(late.peer(), held=True, uid=b"").status == 503


async def test_f_p5_a_round_is_welcome_when_all_links_are_taken(stock, manager):
    manager.hold(stock.peer)
    manager.hub.room.cap = 1
    assert not (await stock.begin()).HasField("error_response")


@pytest.mark.parametrize(
    ("settings", "held"),
    [
        (LimitsSettings(), 18_050),
        (LimitsSettings(connections=16), 8),
        (LimitsSettings(links=500), 500),
        (LimitsSettings(links=18_999), 18_050),
    ],
)
def test_f_p5_links_leave_connections_for_rounds(settings, held):
    assert settings.held() == held
