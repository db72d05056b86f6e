"""A visited agent shows its certificate to a Manager that knows another key of it, and proves that it has the key."""

from types import SimpleNamespace

import pytest
from tests.agent.orders import UID
from tests.births import Wire, documents_of, make_fleet, visit_of

from popham.agent.state import MemoryAgentState
from popham.agent.visited import AgentWorld
from popham.downstream.service import VisitService
from popham.errors import VisitError
from popham.testing.virtual import VirtualClock
from popham.trust.identity import make_csr
from popham.trust.keys import IdentityKey
from popham.trust.tuf import TrustedTuf

CLOCK = VirtualClock()


@pytest.fixture(scope="module")
def fleet():
    return make_fleet(CLOCK)


def machine_of(fleet, key, certificate):
    """Return an enrolled machine whose service answers."""
    state = MemoryAgentState()
    state.create_identity(UID, key)
    if certificate:
        state.save_certificate(certificate)
    world = AgentWorld(state, TrustedTuf.from_bytes(fleet.root, fleet.targets), None, None)
    numbers = iter(range(1000))
    return SimpleNamespace(service=VisitService(world, clock=CLOCK, nonce=lambda: f"n{next(numbers)}"))


async def prove(fleet, machine):
    known = IdentityKey.create().public.der
    visit = visit_of(Wire(machine), fleet.director, CLOCK, uid=UID, key=known)
    with pytest.raises(VisitError) as error:
        await visit.exchange(b"")
    assert error.value.code == "visit.signature"
    return await visit.prove(documents_of(fleet))


async def test_rel_9_the_certificate_of_the_key_that_signs_is_shown(fleet):
    key = IdentityKey.create()
    certificate = fleet.ca.issue_agent(make_csr(key, UID), UID)
    assert await prove(fleet, machine_of(fleet, key, certificate)) == certificate


@pytest.mark.parametrize("shown", ["another's", "none"])
async def test_rel_9_whoever_shows_what_it_has_no_key_of_is_not_believed(fleet, shown):
    other = fleet.ca.issue_agent(make_csr(IdentityKey.create(), UID), UID) if shown == "another's" else b""
    with pytest.raises(VisitError) as error:
        await prove(fleet, machine_of(fleet, IdentityKey.create(), other))
    assert error.value.code == "visit.signature"


async def test_rel_9_a_stranger_is_shown_nothing(fleet):
    key = IdentityKey.create()
    machine = machine_of(fleet, key, fleet.ca.issue_agent(make_csr(key, UID), UID))
    stranger = visit_of(Wire(machine), make_fleet(CLOCK).director, CLOCK, uid=UID, key=key.public.der)
    with pytest.raises(VisitError):
        await stranger.prove(documents_of(fleet))
    assert b"CERTIFICATE" not in b"".join(reply.body for reply in stranger._dials.replies)
