"""Where an agent is visited that no definition names."""

import pytest

from popham.manager.visit_places import explain_place, find_place
from popham.net.visiting import Place

AT = "192.0.2.9"


@pytest.mark.parametrize(
    ("service", "address", "url", "tls"),
    [
        ("https://*:23440", AT, "https://192.0.2.9:23440", "agent"),
        ("https://*:9000", "2001:db8::7", "https://[2001:db8::7]:9000", "agent"),
        ("https://10.0.0.5:23440", AT, "https://192.0.2.9:23440", "agent"),
        ("https://[2001:db8::1]:23440", AT, "https://192.0.2.9:23440", "agent"),
        ("http://*:23440", AT, "http://192.0.2.9:23440", "off"),
        ("https://127.0.0.1:23440", "127.0.0.1", "https://127.0.0.1:23440", "agent"),
        ("https://127.0.0.1:23440", "::1", "https://[::1]:23440", "agent"),
    ],
)
def test_scheme_and_port_are_the_agents_word_and_the_host_is_where_it_came_from(service, address, url, tls):
    assert find_place(service, address) == Place(url, tls)
    assert explain_place(service, address) == ""


@pytest.mark.parametrize(
    ("service", "address", "missing"),
    [
        ("", AT, "its service is off"),
        ("unix", AT, "behind a web server"),
        ("http://127.0.0.1:8080", "127.0.0.1", "listens on 127.0.0.1:8080 only"),
        ("https://127.0.0.1:23440", AT, "listens on 127.0.0.1:23440 only"),
        ("https://localhost:23440", AT, "listens on localhost:23440 only"),
        ("https://*:23440", "", "not been in touch"),
        ("http://*:23440", "127.0.0.1", "comes from this machine's own address"),
        ("gopher://*:70", AT, "listens on *:70 only"),
        ("https://*:99999", AT, "listens on *:99999 only"),
        ("https://[::1", AT, "cannot be read"),
    ],
)
def test_who_cannot_be_visited_by_its_own_word_is_told_what_is_missing(service, address, missing):
    assert find_place(service, address) is None
    assert missing in explain_place(service, address)
