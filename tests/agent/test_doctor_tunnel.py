"""A doctor goes through the web proxy that the agent goes through, and says which part of that way fails."""

import pytest
from tests.net.visits.test_visit_proxies import WebProxy

from popham.agent.doctor.finding import Outcome
from popham.agent.doctor.way import Credentials, Way, check_proxies

from .patients import nobodys_url, told

OK, FAILED, SKIPPED = Outcome.OK, Outcome.FAILED, Outcome.SKIPPED
INSIDE = ("tls", "pin", "livez", "identity")


@pytest.fixture
async def web_proxy():
    """A web proxy that wants a password."""
    one = WebProxy()
    one.password = True
    await one.start()
    yield one
    await one.stop()


@pytest.fixture
def through(patient, web_proxy):
    """Return a function that tries the way to a URL through the web proxy."""

    async def examine(url, http_proxy=None):
        ca = patient.keys.ca
        credentials = Credentials(ca=ca.pem, pin=ca.spki_sha256, own=None)
        way = http_proxy or f"http://sqc:p%3Aw@127.0.0.1:{web_proxy.port}"
        return await Way(url, credentials, patient.probes, http_proxy=way).examine()

    return examine


async def test_f_o17_a_way_through_a_web_proxy_is_tried_to_its_end(through, upstream, web_proxy):
    manager = await upstream()
    found = await through(manager.url)
    checks = [one.check for one in found]
    assert checks == ["name", "route", "port", "connect", "tls", "pin", "livez", "clock", "identity"]
    assert {one.outcome for one in found[:-1]} == {OK}
    assert manager.asked == ["/v1/trust/ca", "/livez"]
    assert {head.split()[0] for head in web_proxy.heads} == {b"CONNECT"}
    assert "on the way to" in told(found, "name").text
    assert not any("p:w" in one.text or "p%3Aw" in one.text for one in found)


@pytest.mark.parametrize(
    ("refuse", "text"),
    [
        (b"403 Forbidden", "refuses to lead to"),
        (b"502 Bad Gateway", "does not reach"),
    ],
)
async def test_f_o17_a_web_proxy_that_does_not_lead_there_says_why(through, web_proxy, refuse, text):
    web_proxy.refuse, web_proxy.password = refuse, False
    found = await through("https://manager.example:4320")
    connect = told(found, "connect")
    assert (connect.outcome, text in connect.text, refuse.decode() in connect.text) == (FAILED, True, True)
    assert [told(found, check).outcome for check in INSIDE] == [SKIPPED] * 4


@pytest.mark.parametrize(
    ("login", "text"), [("", "wants a user and a password"), ("sqc:no@", "wants another user or password")]
)
async def test_f_o17_a_web_proxy_that_wants_another_password_says_so(through, web_proxy, login, text):
    found = await through("https://manager.example:4320", f"http://{login}127.0.0.1:{web_proxy.port}")
    connect = told(found, "connect")
    assert (connect.outcome, text in connect.text, "http_proxy" in connect.step) == (FAILED, True, True)
    assert "sqc" not in connect.text


async def test_f_o17_a_web_proxy_that_nobody_is_at_is_told_from_a_server(through):
    nobody = nobodys_url().replace("https", "http")
    found = await through("https://manager.example:4320", nobody)
    assert told(found, "name").outcome is OK, "the server's name is the web proxy's to find"
    port = told(found, "port")
    assert (port.outcome, "refused" in port.text) == (FAILED, True)
    assert [told(found, check).outcome for check in ("connect", *INSIDE)] == [SKIPPED] * 5


def test_a_web_proxy_of_the_configuration_is_named_without_its_password(patient):
    found = check_proxies(patient.probes, "http://joe:hunter2@proxy:3128")
    assert (found.outcome, found.text) == (OK, "the agent dials through proxy:3128, by 'http_proxy'")
