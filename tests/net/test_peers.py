"""Ranges of addresses: who is let in, and what is no range."""

import ipaddress
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import ConfigError
from popham.net.peers import QUIET, RANGES_MAX, Peers

NETWORKS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), st.tuples(st.ip_addresses(v=6), st.integers(0, 128))
).map(lambda pair: str(ipaddress.ip_network(pair, strict=False)))


def test_f_p7_without_ranges_everybody_may_connect():
    peers = Peers()
    assert all(peers.admits(address, 0.0) for address in ("192.0.2.7", "2001:db8::1", "", "no address"))
    assert peers.refused == 0


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("10.1.2.3", True),
        ("10.66.0.1", False),
        ("11.0.0.1", False),
        ("fd00::7", True),
        ("fd00::7%eth0", True),
        ("fe80::7%eth0", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:10.66.0.1", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("", True),
        ("no address", False),
    ],
)
def test_f_p7_deny_wins_over_allow_in_both_families(address, may):
    peers = Peers(["10.0.0.0/8", "fd00::/8", "192.0.2.7"], ["10.66.0.0/16"])
    assert peers.admits(address, 0.0) is may
    assert peers.refused == (not may)


@given(st.lists(NETWORKS, max_size=4), st.lists(NETWORKS, max_size=4), st.ip_addresses())
def test_f_p7_it_decides_as_the_ranges_say(allow, deny, address):
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return
    denied = any(address in ipaddress.ip_network(one) for one in deny)
    allowed = not allow or any(address in ipaddress.ip_network(one) for one in allow)
    assert Peers(allow, deny).admits(str(address), 0.0) is (allowed and not denied)


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.1/8", "example.com", "", "10.0.0.0/8,fd00::/8"])
def test_f_p7_what_is_no_range_is_named(text):
    with pytest.raises(ConfigError) as caught:
        Peers(deny=[text])
    assert (caught.value.code, "peers.deny" in str(caught.value)) == ("config.peers", True)


def test_f_p7_the_list_has_a_bound():
    Peers(allow=["10.0.0.0/8"] * RANGES_MAX)
    with pytest.raises(ConfigError, match="more than"):
        Peers(allow=["10.0.0.0/8"] * (RANGES_MAX + 1))


def test_f_p7_the_log_says_who_is_refused_once_a_minute(caplog):
    peers = Peers(deny=["0.0.0.0/0"])
    with caplog.at_level(logging.WARNING):
        for now in (0.0, 1.0, QUIET, QUIET + 1.0):
            peers.admits(f"192.0.2.{int(now)}", now)
    assert [record.getMessage() for record in caplog.records] == [
        "[peers] lets in nobody from 192.0.2.0; connections refused: 1",
        "[peers] lets in nobody from 192.0.2.60; connections refused: 3",
    ]
