"""By how much rounds are put off under load."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.link.cadence import STRETCH_MOST, bound_stretch
from popham.model.communication import HEARTBEAT_MAX
from popham.net.seam import Peer
from popham.upstream.shedding import LAG, QUEUE, Load
from popham.upstream.steering import EVERY, Demand, Steering, steer

from .conftest import STATUS, files

LOADS = st.builds(Load, st.floats(0, 10), st.integers(0, 10_000))
DEMANDS = st.builds(Demand, LOADS, st.floats(0, 10_000), st.floats(0, 1_000))
FACTORS = st.floats(1, STRETCH_MOST)
BUSY = [Demand(Load(2 * LAG)), Demand(Load(0.0, 2 * QUEUE)), Demand(Load(), 99.0, 100.0)]


@given(FACTORS, DEMANDS)
def test_f_c10_a_heartbeat_is_never_shortened_and_at_most_four_times_as_long(factor, demand):
    assert 1.0 <= steer(factor, demand) <= STRETCH_MOST


@pytest.mark.parametrize("demand", BUSY, ids=["lag", "queue", "rounds"])
def test_f_c10_lag_a_queue_and_too_many_rounds_stretch_more_and_more_and_the_end_of_them_ends_it(demand):
    factor, seen = 1.0, []
    for _ in range(10):
        factor = steer(factor, demand)
        seen.append(factor)
    assert seen == sorted(seen)
    assert factor == STRETCH_MOST
    for _ in range(20):
        factor = steer(factor, Demand())
    assert factor == 1.0


def test_f_c10_between_too_much_and_little_the_factor_stays():
    assert steer(2.0, Demand(Load(0.75 * LAG))) == 2.0
    assert steer(2.0, Demand(Load(), 80.0, 100.0)) == 2.0


def test_f_c10_rounds_without_a_limit_are_no_load():
    assert steer(1.0, Demand(Load(), 1e6, 0.0)) == 1.0


def test_f_c10_rounds_are_counted_between_two_looks():
    counted = [0]
    steering = Steering(rounds=lambda: counted[0], allowed=lambda: 100.0)
    counted[0] = int(99 * EVERY)
    steering.look()
    assert steering.factor > 1.0
    before = steering.factor
    steering.look()
    assert steering.factor < before


@given(st.floats(1, HEARTBEAT_MAX), st.floats(allow_nan=True, allow_infinity=True))
def test_f_c10_an_agent_obeys_within_bounds_whatever_it_is_asked(heartbeat, asked):
    stretch = bound_stretch(heartbeat, asked)
    assert math.isfinite(stretch)
    assert 0.0 <= stretch <= (STRETCH_MOST - 1) * heartbeat
    assert heartbeat + stretch <= HEARTBEAT_MAX * (1 + 1e-9)


# In the hub.


@pytest.fixture
async def agent(manager):
    await manager.publish(files())
    made = await manager.add_agent("a", "lab")
    await made.round()
    await made.round()
    return made


def record_of(manager, agent):
    return manager.book.record(agent.state.uid)


async def test_f_c10_under_load_a_quiet_heartbeat_is_answered_with_a_stretch_and_expected_later(
    manager, agent
):
    heartbeat = agent.end.settings.heartbeat
    manager.hub._steering.factor = 3.0
    await agent.round()
    assert agent.end.stretch == 2 * heartbeat
    assert record_of(manager, agent).promise == 3 * heartbeat
    assert manager.hub.left_out["round"] >= 1


async def test_f_c10_when_the_load_ends_the_next_answer_ends_the_stretch_and_costs_no_write(manager, agent):
    heartbeat = agent.end.settings.heartbeat
    written = manager.store.writes
    manager.hub._steering.factor = 3.0
    await agent.round()
    manager.hub._steering.factor = 1.0
    await agent.round()
    assert agent.end.stretch == 0.0
    assert record_of(manager, agent).promise == heartbeat
    assert record_of(manager, agent).settled is not None
    assert manager.store.writes == written


async def test_f_c10_a_stock_agent_is_answered_as_ever_under_load(stock, manager):
    await stock.begin()
    promise = stock.record.promise
    manager.hub._steering.factor = 3.0
    answer = await stock.say(capabilities=STATUS)
    assert not answer.HasField("custom_message")
    assert stock.record.promise == promise


async def test_f_c10_an_agent_on_a_held_link_is_expected_at_its_heartbeat(manager, agent):
    manager.hub._steering.factor = 3.0
    await agent.round()
    _, end = manager.hold(agent.peer())
    agent.end.opened()
    await agent.end.receive((await manager.hear(end, agent.end.report(force=True))).SerializeToString())
    assert agent.end.stretch == 0.0
    assert record_of(manager, agent).promise == agent.end.settings.heartbeat


async def test_f_c10_who_is_visited_is_not_put_off_for_it_does_not_choose_when(manager, agent):
    record = record_of(manager, agent)
    manager.hub._steering.factor = 3.0
    await agent.round(Peer(address="192.0.2.2", uid=record.uid, key=record.public_key))
    assert agent.end.stretch == 0.0
    assert record.promise == agent.end.settings.heartbeat
    assert record.settled is not None, "nothing was said"
