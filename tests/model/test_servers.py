import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import DefinitionError
from popham.model.servers import SERVERS_MAX, Server, order_servers, read_servers, servers_from_dicts

UIDS = [random.Random(seed).randbytes(16) for seed in range(10_000)]
servers = st.lists(
    st.builds(Server, st.integers(1, 100), st.integers(0, 999).map("https://m{}.example:4320".format)),
    min_size=1, max_size=8, unique_by=lambda one: one.url,
)  # fmt: skip


def equal(count):
    return [Server(1, f"https://manager-{number}.example:4320") for number in range(count)]


def firsts(found):
    return [order_servers(found, uid)[0][0] for uid in UIDS]


@pytest.mark.parametrize("count", range(2, 9))
def test_f_c8_ten_thousand_agents_share_servers_of_one_priority_within_a_tenth(count):
    chosen = firsts(equal(count))
    shares = [chosen.count(server.url) for server in equal(count)]
    assert max(shares) / (len(UIDS) / count) <= 1.1


def test_f_c8_one_server_less_moves_only_its_own_share():
    before, after = firsts(equal(5)), firsts(equal(4))
    gone = equal(5)[4].url
    assert all(new == old for old, new in zip(before, after, strict=True) if old != gone)
    assert set(after) == {server.url for server in equal(4)}


def test_f_c8_who_loses_its_server_spreads_over_the_others():
    gone = equal(4)[3].url
    seconds = [order[1] for uid in UIDS if (order := order_servers(equal(4), uid)[0])[0] == gone]
    shares = [seconds.count(server.url) for server in equal(3)]
    assert max(shares) / (len(seconds) / 3) <= 1.15


@given(servers, st.binary(min_size=16, max_size=16), st.randoms(use_true_random=False))
def test_f_c8_every_agent_has_all_servers_by_priority_whatever_their_order(found, uid, rng):
    levels = order_servers(found, uid)
    assert [len(level) for level in levels] == [
        sum(one.priority == priority for one in found) for priority in sorted({one.priority for one in found})
    ]
    shuffled = list(found)
    rng.shuffle(shuffled)
    assert order_servers(shuffled, uid) == levels


@given(servers)
def test_f_c8_a_server_list_comes_back_from_a_bundle_and_from_a_definition(found):
    assert servers_from_dicts([one.as_dict() for one in found]) == tuple(found)
    assert read_servers([one.as_dict() for one in found]) == tuple(sorted(found))


def test_f_c8_a_url_alone_has_the_first_priority():
    assert read_servers(["https://a.example:4320/"]) == (Server(1, "https://a.example:4320"),)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ([], "the list has no server"), ({}, "the list has no server"), ("https://a.example", "no list of servers"),
        (["https://a.example"] * (SERVERS_MAX + 1), "no list of servers"), ([{"priority": 1}], "names no server"), ([None], "names no server"),
        ([{"url": "https://a.example", "weight": 1}], "names no server"), ([{"url": "https://a.example", "priority": 0}], "is not 1 to 100"),
        ([{"url": "https://a.example", "priority": True}], "is not 1 to 100"), (["http://a.example"], "is no URL of a Manager"), (["https://"], "is no URL of a Manager"),
        (["https://a.example:99999"], "is no URL of a Manager"), (["https://u:p@a.example"], "is no URL of a Manager"), (["https://:p@a.example"], "is no URL of a Manager"),
        (["https://a.example/?x"], "is no URL of a Manager"), (["https://a\n.example"], "is no URL of a Manager"), (["https://a.example b"], "is no URL of a Manager"),
        (["https://" + "a" * 600], "is no URL of a Manager"), (["https://[::1"], "is no URL of a Manager"), (["https://a.example", "https://a.example/"], "stands twice"),
    ],
)  # fmt: skip
def test_f_c8_a_list_that_is_no_server_list_is_refused_in_one_sentence(spec, problem):
    with pytest.raises(DefinitionError, match=problem) as caught:
        read_servers(spec)
    assert caught.value.code == "definition.servers"
    assert caught.value.hint
