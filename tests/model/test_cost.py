"""Rounds, links, memory and age follow from agents and settings by arithmetic."""

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.model.cell import Mode
from popham.model.communication import CommunicationSettings
from popham.model.cost import KEPT, Cost, Load, cost, load_of, longest_heartbeat
from popham.model.measured import BUILT_IN, Connection
from popham.model.schedule import Override, Period

AGENTS = st.integers(1, 1_000_000)
HEARTBEATS = st.integers(1, 7 * 86400).map(float)


def pull(agents, heartbeat):
    return Load(agents=agents, mode=Mode.PULL, heartbeat=heartbeat, longest=heartbeat, pulls=True)


def push(agents, heartbeat=300.0):
    return Load(agents=agents, heartbeat=heartbeat, longest=heartbeat)


@given(AGENTS, HEARTBEATS, st.sampled_from(Mode), st.sampled_from(Connection))
def test_f_o11_rounds_per_second_are_agents_divided_by_the_heartbeat(agents, heartbeat, mode, connection):
    load = Load(agents=agents, mode=mode, heartbeat=heartbeat, longest=heartbeat, connection=connection)
    found = cost([load], BUILT_IN)
    assert found.rounds_per_second == pytest.approx(agents / heartbeat)
    assert found.links == (agents if mode is Mode.PUSH else 0)


@given(AGENTS, AGENTS, HEARTBEATS, st.sampled_from(Mode))
def test_f_o11_more_agents_never_cost_less(few, more, heartbeat, mode):
    def of(agents):
        return cost([Load(agents=agents, mode=mode, heartbeat=heartbeat, longest=heartbeat)], BUILT_IN)

    assert all(a <= b for a, b in zip(astuple(of(few)), astuple(of(few + more)), strict=True))


@given(AGENTS, HEARTBEATS, HEARTBEATS)
def test_f_o11_a_longer_heartbeat_never_makes_more_rounds_and_never_a_younger_age(agents, one, other):
    short, long = sorted((one, other))
    before, after = cost([pull(agents, short)], BUILT_IN), cost([pull(agents, long)], BUILT_IN)
    assert after.rounds_per_second <= before.rounds_per_second
    assert after.age_bound_s >= before.age_bound_s
    if (short <= KEPT) == (long <= KEPT):
        assert after.cpu_cores <= before.cpu_cores
        assert after.bandwidth <= before.bandwidth


@given(st.lists(st.tuples(AGENTS, HEARTBEATS), max_size=5))
def test_f_o11_loads_add_up(pairs):
    loads = [pull(*pair) for pair in pairs]
    whole, parts = cost(loads, BUILT_IN), [cost([load], BUILT_IN) for load in loads]
    for name in ("agents", "rounds_per_second", "links", "connections", "cpu_cores", "bandwidth"):
        assert getattr(whole, name) == pytest.approx(sum(getattr(part, name) for part in parts))
    assert whole.age_bound_s == max((part.age_bound_s for part in parts), default=0.0)


def test_f_o11_no_agents_cost_nothing_but_the_manager():
    assert cost([push(0)], BUILT_IN) == Cost(memory_mb=BUILT_IN.base_mb)


def test_a_connection_that_pulls_often_stays_open_and_costs_no_handshake():
    often, seldom = cost([pull(100, KEPT)], BUILT_IN), cost([pull(100, KEPT + 1)], BUILT_IN)
    assert (often.connections, often.links, seldom.connections) == (100, 0, 0)
    assert often.cpu_cores < seldom.cpu_cores


def test_push_tells_at_once_and_pull_waits_for_the_heartbeat():
    assert cost([push(5, 300.0)], BUILT_IN).wait_bound_s == 0
    assert cost([push(5, 300.0)], BUILT_IN).age_bound_s == 300
    assert cost([push(5), pull(5, 3600.0)], BUILT_IN).wait_bound_s == 3600


def test_the_dearest_time_of_day_counts_for_the_cost_and_the_longest_heartbeat_for_the_age():
    night = Period(days=(0,), begin=0, end=360, override=Override(mode=Mode.PULL, heartbeat=7200.0))
    settings = CommunicationSettings(heartbeat=60.0, times=(night,), metered=Override(heartbeat=86400.0))
    found = load_of(settings, 10)
    assert (found.mode, found.heartbeat, found.longest, found.pulls) == (Mode.PUSH, 60.0, 86400.0, True)


@given(st.floats(0, 8 * 86400), st.floats(0, 3600), st.floats(0, 3600), st.integers(1, 4))
def test_f_c11_the_longest_heartbeat_keeps_the_age_and_one_more_second_does_not(age, every, adds, hops):
    beat = longest_heartbeat(age, collection=every, roll_up=adds, hops=hops)
    bound = every + adds
    if beat is None:
        assert (age - bound) / hops < 1
        return
    assert bound + hops * beat <= age + 1e-6
    assert beat == 7 * 86400 or bound + hops * (beat + 1) > age - 1e-6


def test_f_c11_ten_minutes_of_age_are_a_heartbeat_of_ten_minutes_and_five_behind_a_proxy():
    assert longest_heartbeat(600.0) == 600.0
    assert longest_heartbeat(600.0, hops=2) == 300.0
    assert longest_heartbeat(0.5) is None
