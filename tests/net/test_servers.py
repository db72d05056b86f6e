"""Which of several Managers is dialled."""

import random

import pytest

from popham.errors import ConfigError
from popham.net.servers import Servers


def test_servers_are_tried_in_order_of_priority_and_then_again():
    servers = Servers(["https://a", "https://b"], random.Random(1))
    assert servers.current == "https://a"
    assert (servers.failed(), servers.exhausted) == ("https://b", False)
    assert (servers.failed(), servers.exhausted) == ("https://a", True)
    assert (servers.failed(), servers.exhausted) == ("https://b", False)
    servers.succeeded()
    assert (servers.current, servers.exhausted) == ("https://b", False)
    assert servers.prefer() == "https://a"


def test_equals_are_shuffled_and_stay_before_lower_priorities():
    firsts = set()
    for seed in range(20):
        urls = Servers([["https://a", "https://b"], "https://c", "https://a"], random.Random(seed)).urls
        assert urls[2:] == ("https://c",)
        firsts.add(urls[0])
    assert firsts == {"https://a", "https://b"}


def test_an_empty_list_is_refused():
    with pytest.raises(ConfigError):
        Servers([[]], random.Random(1))
