"""The way to a server is tried part by part, over real sockets, and each part that fails is told from the others."""

import asyncio
import socket
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from popham.agent.chain import dialing_context
from popham.agent.doctor.finding import Outcome
from popham.agent.doctor.probes import Address, find_addresses
from popham.agent.doctor.way import NOBODYS, Credentials, Way, check_proxies
from popham.testing.simulation import make_keys

from .patients import Clock, nobodys_url, told

OK, WARNING, FAILED, SKIPPED = Outcome.OK, Outcome.WARNING, Outcome.FAILED, Outcome.SKIPPED
AFTER = ("tls", "pin", "livez", "identity")


@pytest.fixture
def way(patient):
    """Return a function that tries the way to a URL."""

    async def examine(url, *, own=None, pin=None):
        ca = patient.keys.ca
        credentials = Credentials(ca=ca.pem, pin=pin or ca.spki_sha256, own=own)
        return await Way(url, credentials, patient.probes).examine()

    return examine


def self_made(keys, begin, end, names=("127.0.0.1",)):
    """Return a listener's certificate of the fleet's CA with dates of its own, and its key."""
    certificate, key = keys.ca.issue_listener(names)
    found, issuer = x509.load_pem_x509_certificate(certificate), x509.load_pem_x509_certificate(keys.ca.pem)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(found.subject)
        .issuer_name(issuer.subject)
        .public_key(found.public_key())
        .serial_number(5)
        .not_valid_before(now + timedelta(days=begin))
        .not_valid_after(now + timedelta(days=end))
    )
    for extension in found.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder.sign(keys.ca._key, SHA256()).public_bytes(Encoding.PEM), key


async def test_f_o17_a_way_that_works_is_told_part_by_part_and_nothing_is_changed_there(way, upstream):
    manager = await upstream()
    found = await way(manager.url)
    assert [one.check for one in found] == [
        "name",
        "route",
        "port",
        "tls",
        "pin",
        "livez",
        "clock",
        "identity",
    ]
    assert {one.outcome for one in found[:-1]} == {OK}
    assert all(one.server == manager.url for one in found)
    assert "TLSv1.3" in told(found, "tls").text
    assert told(found, "identity").outcome is SKIPPED
    assert manager.asked == ["/v1/trust/ca", "/livez"]


async def test_f_o17_a_port_that_refuses_is_told_from_one_that_is_silent(way, patient):
    found = await way(nobodys_url())
    refused = told(found, "port")
    assert (refused.outcome, "refused" in refused.text, bool(refused.step)) == (FAILED, True, True)
    assert [told(found, check).outcome for check in AFTER] == [SKIPPED] * 4
    patient.seconds = 0.2
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # Who comes when the queue is full is not answered.
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.settimeout(0.0)
            one.connect_ex(full.getsockname())
        found = await way(f"https://127.0.0.1:{full.getsockname()[1]}")
        for one in waiting:
            one.close()
    silent = told(found, "port")
    assert (silent.outcome, "within 0.2 s" in silent.text, "firewall" in silent.step) == (FAILED, True, True)


async def test_f_o17_a_listener_that_says_nothing_is_no_manager(way, patient):
    patient.seconds = 0.2
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(5)
        found = await way(f"https://127.0.0.1:{mute.getsockname()[1]}")
    assert told(found, "port").outcome is OK
    tls = told(found, "tls")
    assert (tls.outcome, "says nothing" in tls.text) == (FAILED, True)
    assert told(found, "livez").outcome is SKIPPED


async def test_f_o17_who_speaks_no_tls_is_told(way):
    async def answer(_reader, writer):
        writer.write(b"HTTP/1.1 400 no\r\n\r\n")
        writer.close()

    plain = await asyncio.start_server(answer, "127.0.0.1", 0)
    found = await way(f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}")
    plain.close()
    await plain.wait_closed()
    assert told(found, "tls").outcome is FAILED
    assert "does not speak TLS" in told(found, "tls").text


async def test_f_o17_another_fleet_is_told_by_tls_and_by_the_pin(way, upstream):
    other = make_keys(Clock())
    manager = await upstream(chain=other.ca.issue_listener(("127.0.0.1",)))
    manager.answers["/v1/trust/ca"] = (200, other.ca.pem)
    found = await way(manager.url)
    assert "another authority" in told(found, "tls").text
    assert "(trust.pin)" in told(found, "pin").text
    assert told(found, "identity").outcome is SKIPPED


async def test_f_o17_a_wrong_name_is_told_and_the_pin_still_says_that_it_is_this_fleet(way, upstream):
    manager = await upstream("manager.example")
    found = await way(manager.url)
    assert (told(found, "tls").outcome, told(found, "pin").outcome) == (FAILED, OK)
    assert "for another name" in told(found, "tls").text


@pytest.mark.parametrize(
    ("begin", "end", "outcome", "text"),
    [
        (-9, -1, FAILED, "has expired"),
        (1, 9, FAILED, "not valid yet"),
        (-9, 2, WARNING, "until"),
        (-9, 90, OK, "until"),
    ],
)
async def test_f_o17_the_dates_of_a_certificate_are_told(
    way, upstream, fleet_keys, begin, end, outcome, text
):
    manager = await upstream(chain=self_made(fleet_keys, begin, end))
    tls = told(await way(manager.url), "tls")
    assert (tls.outcome, text in tls.text, bool(tls.step)) == (outcome, True, outcome is not OK)


@pytest.mark.parametrize(("ahead", "text"), [(-1000, "ahead of"), (1000, "behind")])
async def test_f_o17_a_clock_that_is_off_is_told_with_the_number(way, upstream, ahead, text):
    manager = await upstream()
    manager.ahead = ahead
    clock = told(await way(manager.url), "clock")
    assert (clock.outcome, text in clock.text) == (WARNING, True)
    assert any(f"{number} s" in clock.text for number in range(999, 1002))


async def test_f_o17_a_name_that_is_not_found_is_told_from_a_resolver_that_is_away(way, patient):
    def unknown(_host, _port):
        raise socket.gaierror(socket.EAI_NONAME, "no")

    def away(_host, _port):
        raise socket.gaierror(socket.EAI_AGAIN, "no")

    for resolve, text in ((unknown, "there is no such name"), (away, "no resolver answers")):
        patient.given["resolve"] = resolve
        found = await way("https://manager.example:4320")
        assert (told(found, "name").outcome, text in told(found, "name").text) == (FAILED, True)
        assert [told(found, check).outcome for check in ("route", "port", *AFTER)] == [SKIPPED] * 6


async def test_f_o17_an_address_of_a_name_that_does_not_answer_is_a_warning(way, upstream, patient):
    manager = await upstream()
    addresses = [Address(socket.AF_INET, "127.0.0.2"), Address(socket.AF_INET, "127.0.0.1")]
    patient.given["resolve"] = lambda _host, _port: addresses
    found = await way(manager.url)
    port = told(found, "port")
    assert port.outcome is WARNING
    assert "of 127.0.0.1 answers" in port.text
    assert "127.0.0.2" in port.text
    assert told(found, "livez").outcome is OK


def test_a_name_has_the_addresses_that_the_machine_finds():
    assert find_addresses("127.0.0.1", 4320) == [Address(socket.AF_INET, "127.0.0.1")]


@pytest.mark.parametrize(
    ("answer", "outcome", "text"),
    [
        ((404, b"it names no such body (not_found.content)"), OK, "knows this machine"),
        ((404, b"nothing here"), FAILED, "HTTP 404"),
        ((401, b"the certificate has expired (trust.expired)"), FAILED, "refused this agent"),
        ((403, b"this agent is revoked (enrollment.revoked)"), FAILED, "revoked"),
        ((503, b"later"), WARNING, "busy"),
        ((200, b"hello"), FAILED, "no Manager"),
    ],
)
async def test_f_o17_whether_the_manager_knows_this_machine_is_asked_without_a_round(
    way, upstream, patient, answer, outcome, text
):
    patient.enroll()
    with patient.state() as state:
        pem, key = state.certificate(), state.identity_key().pem

    def own():
        ca, now = patient.keys.ca.pem, patient.clock.now()
        return dialing_context(patient.folder, ca=ca, certificate=pem, key=key, now=now)

    manager = await upstream()
    manager.nobodys = answer
    found = told(await way(manager.url, own=own), "identity")
    assert (found.outcome, text in found.text) == (outcome, True)
    assert manager.asked[-1] == NOBODYS
    assert "/v1/opamp" not in manager.asked
    assert [bool(shown) for shown in manager.shown] == [False, False, True]


def test_a_web_proxy_of_the_environment_is_named_as_unused_and_its_value_is_not_shown(patient):
    patient.environ = {"HTTPS_PROXY": "http://joe:hunter2@proxy:3128", "no_proxy": "*", "http_proxy": ""}
    found = check_proxies(patient.probes)
    assert (found.outcome, "HTTPS_PROXY is set and not used" in found.text) == (OK, True)
    assert "hunter2" not in str(found)
