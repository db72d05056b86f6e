"""Which of several Managers is dialled, and when a preferred one is tried again."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import ConfigError
from popham.net.servers import PATIENCE, RELAPSES, TRY_AGAIN, Servers

HOLD = 300.0


class Time:
    now = 0.0

    def __call__(self):
        return self.now


def make(*listed, reserve=("z",), hold=HOLD):
    time = Time()
    servers = Servers(reserve, now=time, draw=lambda: 0.0)
    servers.use(listed, hold=hold, window=0.0, first=True)
    return servers, time


def test_f_c8_servers_are_dialled_in_their_order_the_reserve_last_and_then_again():
    servers, _ = make("a", "b")
    assert (servers.current, servers.urls) == ("a", ("a", "b", "z"))
    assert (servers.failed(), servers.current, servers.stray) == (True, "b", False)
    assert (servers.failed(), servers.current, servers.stray) == (True, "z", True)
    assert (servers.failed(), servers.current, servers.stray) == (False, "a", False)
    assert (servers.failed(), servers.current) == (True, "b")


def test_a_single_server_leaves_no_other_to_dial():
    servers, _ = make()
    assert (servers.current, servers.failed(), servers.current, servers.stray) == ("z", False, "z", False)
    assert servers.until_candidate == math.inf


def test_f_c8_the_first_is_tried_again_after_the_hold_and_those_before_in_their_order():
    servers, time = make("a", "b", "c")
    servers.failed()
    servers.failed()
    time.now = 10.0
    servers.succeeded()
    assert (servers.current, servers.candidate(), servers.until_candidate) == ("c", None, HOLD)
    time.now += HOLD
    assert servers.candidate() == "a"
    servers.tried("a", works=False)
    assert servers.candidate() == "b"
    servers.tried("b", works=False)
    assert (servers.candidate(), servers.until_candidate, servers.current) == (None, HOLD, "c")
    time.now += HOLD
    servers.tried("a", works=True)
    assert (servers.current, servers.until_candidate) == ("a", math.inf)


def test_f_c8_a_hold_of_nothing_is_no_reason_to_try_all_the_time():
    servers, _ = make("a", "b", hold=0.0)
    servers.failed()
    servers.succeeded()
    assert servers.candidate() == "a"
    servers.tried("a", works=False)
    assert servers.until_candidate == TRY_AGAIN


def test_f_c8_each_relapse_of_the_first_doubles_the_hold_and_a_hold_without_one_ends_that():
    servers, time = make("a", "b")
    waits = []
    for _ in range(RELAPSES + 2):
        servers.failed()
        servers.succeeded()
        waits.append(servers.until_candidate)
        time.now += waits[-1]
        servers.tried("a", works=True)
        time.now += 1
    assert waits == [HOLD * 2**n for n in range(RELAPSES + 1)] + [HOLD * 2**RELAPSES]
    time.now += HOLD
    servers.succeeded()
    servers.failed()
    servers.succeeded()
    assert servers.until_candidate == HOLD


def test_f_c8_who_asks_to_come_later_is_given_patience():
    servers, _ = make("a", "b")
    for _ in range(PATIENCE - 1):
        assert servers.failed(refused=True) is False
        assert servers.current == "a"
    assert servers.failed(refused=True) is True
    assert servers.current == "b"


def test_f_c8_a_new_list_moves_nobody_before_its_time_and_nobody_that_is_first_in_it():
    servers, time = make("a")
    servers = Servers(("z",), now=time, draw=lambda: 0.5)
    servers.use(("a",), hold=HOLD, window=100.0, first=True)
    servers.use(("b", "c"), hold=HOLD, window=100.0)
    assert (servers.current, servers.candidate(), servers.until_candidate, servers.stray) == (
        *("a", None),
        *(50.0, False),
    )
    time.now = 50.0
    assert servers.candidate() == "b"
    servers.tried("b", works=False)
    servers.tried("c", works=True)
    servers.use(("c", "b"), hold=HOLD, window=100.0)
    assert (servers.current, servers.until_candidate) == ("c", math.inf)


def test_an_empty_list_is_refused():
    with pytest.raises(ConfigError):
        Servers((), now=lambda: 0.0, draw=lambda: 0.0)


@given(
    st.lists(st.sampled_from("abcd"), unique=True),
    st.lists(
        st.tuples(
            st.sampled_from(["fail", "refuse", "succeed", "try", "list"]), st.booleans(), st.floats(0, 900)
        )
    ),
)
def test_whatever_happens_a_server_of_the_list_or_a_known_one_is_in_use(listed, events):
    servers, time = make(*listed)
    for what, works, later in events:
        time.now += later
        candidate = servers.candidate()
        if what in {"fail", "refuse"}:
            servers.failed(refused=what == "refuse")
        elif what == "succeed":
            servers.succeeded()
        elif what == "list":
            servers.use(tuple(reversed(servers.listed)), hold=HOLD, window=later)
        elif candidate is not None:
            servers.tried(candidate, works=works)
            assert (servers.current == candidate) is works
        assert servers.current in {*listed, "z"}
        assert (servers.until_candidate == math.inf) is (servers.current == servers.urls[0])
