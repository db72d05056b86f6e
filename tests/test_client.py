"""The REST client: what it sends, and what it makes of answers."""

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham import errors
from popham.client import FAMILIES, MAX_ANSWER, Client, error_from
from popham.errors import (
    ConfigError,
    DefinitionError,
    LinkError,
    NotFoundError,
    PophamError,
    TrustError,
    WireError,
)
from popham.model.findings import DefinitionSetError


def client(handle, url="https://manager.test:8443"):
    return Client(url, "pop_a_b", transport=httpx2.MockTransport(handle))


def answering(*answers):
    left = list(answers)
    return client(lambda request: left.pop(0))


def test_every_family_of_errors_comes_back_as_itself():
    ours = {family for family in PophamError.__subclasses__() if family.__module__ == errors.__name__}
    assert set(FAMILIES.values()) == ours
    for area, family in FAMILIES.items():
        body = f'{{"code":"{area}.some_reason","detail":"it is so","hint":"do this"}}'.encode()
        found = error_from(400, body, "u")
        assert type(found) is family
        assert (found.code, found.problem, found.hint) == (f"{area}.some_reason", "it is so", "do this")


def test_a_definition_error_keeps_its_place_and_a_set_all_of_them():
    one = b'{"code":"definition.mode","detail":"a","hint":"","source":"x.yaml","line":3}'
    found = error_from(422, one, "u")
    assert isinstance(found, DefinitionError)
    assert (found.source, found.line) == ("x.yaml", 3)
    many = b'{"code":"definition.mode","detail":"a","errors":[' + one + b"," + one + b"]}"
    assert isinstance(error_from(422, many, "u"), DefinitionSetError)


@given(
    st.binary(max_size=50)
    | st.sampled_from([b"[]", b"3", b'{"code":3}', b'{"code":"x.y","detail":"a"}', b"null"])
)
def test_whatever_stands_in_the_way_is_one_error(data):
    found = error_from(502, data, "https://m")
    assert (found.code, found.status) == ("link.answer", 502)


def test_an_answer_that_is_no_object_is_refused():
    for content in (b"<html>", b"[1]", b"\xff"):
        with pytest.raises(LinkError) as caught:
            answering(httpx2.Response(200, content=content)).groups()
        assert caught.value.code == "link.answer"


def test_the_token_travels_in_the_header():
    seen = []
    client(lambda request: seen.append(request) or httpx2.Response(200, json={"items": []})).groups()
    assert seen[0].headers["authorization"] == "Bearer pop_a_b"
    assert str(seen[0].url) == "https://manager.test:8443/api/v1/groups"


def test_no_redirect_is_followed():
    with pytest.raises(LinkError, match="302"):
        answering(httpx2.Response(302, headers={"location": "https://evil.test/"})).groups()


def test_an_answer_without_end_is_cut_off():
    def endless():
        while True:
            yield b" " * 1024 * 1024

    with pytest.raises(WireError, match=str(MAX_ANSWER)):
        answering(httpx2.Response(200, content=endless())).groups()


def test_a_cursor_that_stands_still_ends_the_list():
    page = {"items": [{"uid": "a"}], "cursor": "same"}
    assert len(answering(*(httpx2.Response(200, json=page) for _ in range(9))).agents()) == 2


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_would_name_the_list_is_not_sent(name):
    with pytest.raises(NotFoundError):
        answering().delete_policy(name)


def failing(error):
    def handle(request):
        raise error

    return client(handle)


@pytest.mark.parametrize(
    ("raised", "family", "code"),
    [
        (httpx2.ReadTimeout("t"), LinkError, "link.timeout"),
        (httpx2.ConnectError("refused"), LinkError, "link.unreachable"),
        (httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] x"), TrustError, "trust.manager_certificate"),
        (httpx2.RemoteProtocolError("gone"), LinkError, "link.unreachable"),
    ],
)
def test_failures_of_the_network_are_ours(raised, family, code):
    with pytest.raises(family) as caught:
        failing(raised).groups()
    assert caught.value.code == code


@pytest.mark.parametrize(
    "url",
    [
        "",
        "manager:8443",
        "ftp://m",
        "https://",
        "https://u:p@m",
        "https://m?x=1",
        "https://m:99999",
        "https://[::1",
    ],
)
def test_what_is_no_url_of_a_manager_is_refused(url):
    with pytest.raises(ConfigError) as caught:
        Client(url, "t")
    assert caught.value.code == "config.url"


def test_sec_1_a_token_goes_in_the_clear_to_this_machine_only():
    for url in ("http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost:8080"):
        Client(url, "t").close()
    with pytest.raises(ConfigError, match="in the clear"):
        Client("http://192.0.2.1:8080", "t")


def test_a_ca_that_is_no_certificate_is_refused():
    with pytest.raises(ConfigError) as caught:
        Client("https://m", "t", ca="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert caught.value.code == "config.ca"
