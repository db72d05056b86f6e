"""A machine that may not dial out is born by a visit of a Proxy Manager, which its director has signed a statement for."""

import pytest
from tests.births import Waiting, Wire, documents_of, join_of, make_fleet, visit_of

from popham.errors import VisitError
from popham.opamp.codec import parse_agent, parse_custom
from popham.opamp.schema.popham.v1.popham_pb2 import Enroll
from popham.testing.virtual import VirtualClock
from popham.trust.join import EnrollmentKey
from popham.trust.keys import SigningKey
from popham.trust.visitor import Visitor, seal_visitor

from .test_birth import grant, nobody, told

CLOCK = VirtualClock()
PROXY = "0198c2a0-0000-7000-8000-0000000000aa"


@pytest.fixture(scope="module")
def fleet():
    return make_fleet(CLOCK)


@pytest.fixture(scope="module")
def other():
    return make_fleet(CLOCK)


@pytest.fixture
async def machine(fleet):
    found = Waiting(CLOCK, join_of(fleet, EnrollmentKey.create().seed)).start()
    yield found
    await found.stop()


@pytest.fixture
def wire(machine):
    return Wire(machine)


def statement_of(signer, key, **changes):
    """Return a statement that a fleet's director signed, for a proxy's key and a group that nobody is in."""
    said = {"uid": PROXY, "keyid": key.keyid, "public_key": key.public.crypto.public_bytes_raw()}
    made = Visitor(**said | {"groups": ("dock",), "issued": 0, "expires": 1} | changes)
    return seal_visitor(made, signer)


async def test_f_l12_sec_20_a_proxy_manager_lets_a_machine_be_born_with_a_statement_of_its_director(
    machine, wire, fleet
):
    key = SigningKey.create()
    visit = visit_of(wire, key, CLOCK, statement=statement_of(fleet.director, key))
    report = parse_agent(await visit.birth(documents_of(fleet), nobody))
    assert isinstance(parse_custom(report.custom_message), Enroll)
    report = await told(machine, visit, fleet, grant(fleet, machine))
    assert report.instance_uid.hex() == machine.uid.replace("-", "")


async def test_f_l12_a_machine_that_begins_anew_between_two_visits_of_a_proxy_manager_goes_on(
    machine, wire, fleet
):
    key = SigningKey.create()
    visit = visit_of(wire, key, CLOCK, statement=statement_of(fleet.director, key))
    await visit.birth(documents_of(fleet), nobody)
    await machine.stop()
    machine.start()
    await told(machine, visit, fleet, grant(fleet, machine))


@pytest.mark.parametrize("signer", ["another fleet", "the proxy", "none"])
async def test_f_l12_sec_20_a_statement_of_anybody_else_lets_nobody_in(machine, wire, fleet, other, signer):
    key = SigningKey.create()
    signed = {
        "another fleet": statement_of(other.director, key),
        "the proxy": statement_of(key, key),
        "none": b"",
    }
    visit = visit_of(wire, key, CLOCK, statement=signed[signer])
    for documents in (documents_of(fleet), documents_of(other)):
        with pytest.raises(VisitError) as caught:
            await visit.birth(documents, nobody)
        assert caught.value.code == "visit.stranger"
    assert machine.state.documents() is None
