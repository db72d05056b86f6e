"""Who is visited, where and how often, whoever visits: the rules themselves."""

import uuid

import pytest

from popham.model.cell import Cell, Dialer, Mode
from popham.model.communication import VISIT_DEFAULT, CommunicationSettings
from popham.model.fleet import Admission, AgentKind
from popham.model.generation import PROXIES, STREAMS, VISITS
from popham.model.status import StateRecord
from popham.net.visiting import Place
from popham.trust.keys import IdentityKey
from popham.trust.verify import seal_state
from popham.upstream.record import Record, Wanted, Within
from popham.upstream.target_rules import (
    find_place,
    is_elsewhere,
    is_loopback,
    may_be_visited,
    settings_here,
    target_at_definition,
    target_of,
    target_where_it_came,
)

KEY = IdentityKey.create()
NOW = 1_800_000_000.0
VISITED = CommunicationSettings(mode=Mode.PULL, dialer=Dialer.MANAGER, heartbeat=600.0)
HELD = CommunicationSettings(mode=Mode.PUSH, dialer=Dialer.MANAGER, heartbeat=300.0)
DIALS = CommunicationSettings(mode=Mode.PULL, dialer=Dialer.AGENT, heartbeat=300.0)
PLACE = Place("https://192.0.2.7:23440")
HTTPS = "https://*:23440"


def wanted(settings=VISITED, **others):
    within = Within("default", {"default": settings} | others)
    return Wanted(
        group="lab",
        serial=1,
        version=1,
        content_digest="",
        envelope=b"",
        blobs={},
        objects={},
        objects_digest=b"",
        communication=settings,
        within=within,
        is_visited=within.is_visited,
    )


def record(said=(), *, at="192.0.2.9", **known):
    uid = str(uuid.UUID(int=1, version=4))
    usual = {"name": "web-1", "group": "lab", "kind": AgentKind.OWN, "admission": Admission.ACCEPTED}
    found = Record(uid=uid, key=uuid.UUID(uid).bytes, address=at, **(usual | known))
    if said is not None:
        usual = {"revision": 1, "group": "lab", "promise": 300.0, "mode": "pull", "dialer": "agent"}
        more = {"service": HTTPS, "location": "default"} | dict(said)
        state = StateRecord(uid=uid, **(usual | more))
        found.note_state(state, seal_state(state, KEY))
    return found


def test_f_l2_without_a_definition_it_is_visited_where_it_came_from_by_its_groups_settings():
    found = target_where_it_came(record(), wanted())
    assert (found.place.url, found.mode, found.interval) == ("https://192.0.2.9:23440", Mode.PULL, 600.0)
    assert (found.uid, found.name, found.reads) == (record().uid, "web-1", False)
    held = target_where_it_came(record(), wanted(HELD))
    assert (held.mode, held.interval) == (Mode.PUSH, 300.0)
    assert target_where_it_came(record(), wanted(DIALS)) is None
    assert target_where_it_came(record({"service": ""}), wanted()) is None


def test_f_t2_who_is_behind_a_proxy_is_visited_by_that_proxy_unless_a_definition_says_otherwise():
    behind = record(via=(str(uuid.UUID(int=9, version=4)),))
    assert target_where_it_came(behind, wanted()) is None
    assert target_at_definition("web", PLACE, behind.uid, behind, wanted()).place == PLACE


@pytest.mark.parametrize(
    ("version", "oldest", "visited"),
    [
        ("0.4.0", VISITS, False),
        ("0.5.0", VISITS, True),
        ("0.7.0", VISITS, True),
        ("0.7.0", PROXIES, False),
        ("0.8.0", PROXIES, True),
    ],
)
def test_f_l9_who_is_too_old_to_be_visited_goes_on_dialling(version, oldest, visited):
    assert STREAMS < PROXIES
    old = record({"agent_version": version})
    for found in (
        target_where_it_came(old, wanted(), oldest=oldest),
        target_of(old, wanted(), PLACE, "web", oldest=oldest),
        target_at_definition("web", PLACE, old.uid, old, wanted(), oldest=oldest),
    ):
        assert (found is not None) is visited


def test_f_l12_a_definition_without_an_agent_is_a_target_and_one_of_a_stock_agent_is_none():
    nobody = target_at_definition("web", PLACE, "", None, None)
    assert (nobody.uid, nobody.name, nobody.mode, nobody.interval) == ("", "web", Mode.PULL, VISIT_DEFAULT)
    assert target_at_definition("web", PLACE, "promised", None, None).uid == "promised"
    assert target_at_definition("web", PLACE, "u", record(kind=AgentKind.STOCK), wanted()) is None
    waits = record(said=None, admission=Admission.NEW)
    assert target_at_definition("web", PLACE, waits.uid, waits, wanted()).uid == ""


def test_f_l12_who_was_just_born_is_visited_before_it_reported():
    born = record(said=None, certificate_until=NOW)
    found = target_at_definition("web", PLACE, born.uid, born, wanted(DIALS))
    assert (found.uid, found.interval) == (born.uid, VISIT_DEFAULT)


@pytest.mark.parametrize("admission", [Admission.REFUSED, Admission.REVOKED])
def test_who_was_shut_out_is_not_visited_but_its_machine_may_wait_to_be_born(admission):
    gone = record(admission=admission)
    assert target_where_it_came(gone, wanted()) is None
    assert target_at_definition("web", PLACE, gone.uid, gone, wanted()).uid == ""


def test_f_c3_the_dialer_of_an_assignment_wins_and_who_was_not_told_is_visited_on():
    assert target_where_it_came(record(dialer=Dialer.AGENT), wanted()) is None
    assert target_where_it_came(record(dialer=Dialer.MANAGER), wanted(DIALS)).interval == 300.0
    waits = record({"dialer": "manager", "promise": 120.0})
    assert target_where_it_came(waits, wanted(DIALS)).interval == 120.0
    assert may_be_visited(waits, None)
    assert not may_be_visited(record(), wanted(DIALS))


def test_f_c6_who_dials_for_orders_is_visited_for_its_data_alone():
    reads = CommunicationSettings(
        mode=Mode.PULL,
        dialer=Dialer.AGENT,
        heartbeat=60.0,
        data=Cell(mode=Mode.PULL, dialer=Dialer.MANAGER),
    )
    found = target_where_it_came(record(), wanted(reads, there=VISITED))
    assert (found.reads, found.interval) == (True, 60.0)


def test_who_dials_where_it_is_and_came_within_its_interval_is_elsewhere():
    here = record()
    both = wanted(DIALS, office=VISITED)
    assert not is_elsewhere(here, both, 600.0, NOW), "it never came"
    here.last_contact = NOW - 500.0
    assert is_elsewhere(here, both, 600.0, NOW)
    assert not is_elsewhere(here, both, 400.0, NOW)
    assert not is_elsewhere(here, wanted(), 600.0, NOW), "its settings have it visited"
    assert not is_elsewhere(None, both, 600.0, NOW)


def test_settings_are_those_of_the_place_where_it_says_that_it_is():
    both = wanted(DIALS, office=VISITED).within
    assert settings_here(both, record({"location": "office"})) == VISITED
    assert settings_here(both, record(said=None)) == DIALS
    assert settings_here(both, record({"location": "office"}, dialer=Dialer.AGENT)).dialer is Dialer.AGENT


@pytest.mark.parametrize(
    ("service", "address", "url"),
    [
        (HTTPS, "192.0.2.9", "https://192.0.2.9:23440"),
        (HTTPS, "2001:db8::9", "https://[2001:db8::9]:23440"),
        ("http://*:8080", "192.0.2.9", "http://192.0.2.9:8080"),
        ("http://127.0.0.1:8080", "127.0.0.1", ""),
        ("https://127.0.0.1:23440", "192.0.2.9", ""),
        ("https://127.0.0.1:23440", "127.0.0.1", "https://127.0.0.1:23440"),
        ("unix", "192.0.2.9", ""),
        ("https://[", "192.0.2.9", ""),
        (HTTPS, "", ""),
    ],
)
def test_f_l2_a_place_is_the_port_that_it_says_at_the_address_that_it_has(service, address, url):
    found = find_place(service, address)
    assert (found.url if found else "") == url


def test_a_machine_knows_its_own_addresses():
    assert all(map(is_loopback, ("127.0.0.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("192.0.2.9", "*", "manager.example")))
