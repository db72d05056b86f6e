"""An agent changes its key: what a Manager gives, what the former key still serves for, and what it does not."""

import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.manager.rotating import UID, add_other, begin

from popham.errors import EnrollmentError, TrustError
from popham.manager.book import ManagerBook
from popham.model.fleet import Admission
from popham.model.registry import IdentityKind
from popham.net.seam import Peer, Refused
from popham.trust.assignment import ASSIGNMENT_TYPE, Assignment
from popham.trust.dsse import Envelope
from popham.trust.identity import load_certificate, make_csr, read_identity
from popham.trust.keys import IdentityKey


@pytest.fixture
async def agent(bench):
    return await begin(bench)


def assigned(envelope):
    return Assignment.from_payload(Envelope.parse(envelope, types=(ASSIGNMENT_TYPE,)).payload)


async def test_rel_9_a_new_key_proven_by_the_old_one_becomes_the_agents(agent):
    fresh = IdentityKey.create()
    before = await agent.row()
    agent.bench.clock.at += 1
    given = await agent.ask(fresh)
    assert read_identity(load_certificate(given.certificate)).spki == fresh.keyid
    found, row = assigned(given.assignment), await agent.row()
    assert (found.spki_sha256, found.group) == (fresh.keyid, "fleet")
    assert found.seq > before.assignment_seq
    assert (row.spki, row.public_key, row.former_key) == (
        fresh.keyid,
        fresh.public.der,
        agent.key.public.der,
    )
    assert agent.book.name_of_key(fresh.keyid) == "web-1"
    entry = (await agent.bench.audit())[-1]
    assert (entry.method, json.loads(entry.after)["spki"]) == ("agent.rotate", fresh.keyid)


async def test_rel_9_a_lost_answer_is_given_again_to_the_former_key(agent):
    fresh = IdentityKey.create()
    await agent.ask(fresh)
    again = await agent.ask(fresh)
    assert read_identity(load_certificate(again.certificate)).spki == fresh.keyid
    row = await agent.row()
    assert (row.assignment, row.former_key) == (again.assignment, agent.key.public.der)
    assert sum(entry.method == "agent.rotate" for entry in await agent.bench.audit()) == 1


async def test_rel_9_the_former_key_proves_no_third_one_nor_itself(agent):
    fresh = IdentityKey.create()
    await agent.ask(fresh)
    for key in (IdentityKey.create(), agent.key):
        with pytest.raises(EnrollmentError, match=r"enrollment\.unknown_agent"):
            await agent.ask(key)
    assert (await agent.row()).spki == fresh.keyid


async def test_rel_9_two_keys_ago_proves_nothing(agent):
    second, third = IdentityKey.create(), IdentityKey.create()
    given = await agent.ask(second)
    await agent.ask(third, proven=second, certificate=given.certificate)
    with pytest.raises(EnrollmentError, match=r"enrollment\.unknown_agent"):
        await agent.ask(third)
    with pytest.raises(Refused):
        agent.who(agent.certificate)
    with pytest.raises(Refused):
        agent.dialled(agent.key)


async def test_rel_9_nobody_changes_a_key_without_the_one_in_use(agent):
    fresh = IdentityKey.create()
    with pytest.raises(TrustError, match=r"trust\.signature"):
        await agent.ask(fresh, proven=fresh)
    assert (await agent.row()).spki == agent.key.keyid


async def test_rel_9_the_former_certificate_serves_for_renewal_only(agent):
    fresh = IdentityKey.create()
    assert agent.who(agent.certificate).caller is IdentityKind.AGENT
    given = await agent.ask(fresh)
    assert agent.who(agent.certificate).caller is IdentityKind.NONE
    assert agent.who(given.certificate).caller is IdentityKind.AGENT
    assert agent.dialled(agent.key).caller is IdentityKind.NONE
    assert agent.dialled(fresh).caller is IdentityKind.AGENT
    other = agent.bench.keys.ca.issue_agent(make_csr(IdentityKey.create(), UID), UID)
    with pytest.raises(Refused):
        agent.who(other)


async def test_rel_9_so_it_is_on_a_connection_that_was_open_before(agent):
    der = load_certificate(agent.certificate).public_bytes(Encoding.DER)
    other = await add_other(agent.bench)
    await agent.book.reread([other.uid])
    peers = [
        Peer(address="192.0.2.9", certificate=der),
        Peer(address="192.0.2.9", uid=UID, key=agent.key.public.der),
        Peer(address="192.0.2.9", uid=other.uid, key=other.public_key),
    ]
    for peer in peers:
        peer.identity = agent.book.identify(peer)
    assert {peer.identity.caller for peer in peers} == {IdentityKind.AGENT}
    assert agent.book.identify(peers[0]) is peers[0].identity, "nothing is looked up twice"
    await agent.ask(IdentityKey.create())
    assert [agent.book.identify(peer).caller for peer in peers] == [
        IdentityKind.NONE,
        IdentityKind.NONE,
        IdentityKind.AGENT,
    ]


async def test_rel_9_so_it_is_after_a_restart(agent):
    given = await agent.ask(IdentityKey.create())
    agent.book = ManagerBook(agent.bench.store, agent.bench.keys, agent.bench.clock)
    await agent.book.load()
    assert agent.who(agent.certificate).caller is IdentityKind.NONE
    assert agent.who(given.certificate).caller is IdentityKind.AGENT


async def test_rel_9_a_key_of_another_agent_is_refused(agent):
    other = IdentityKey.create()
    await add_other(agent.bench, other)
    with pytest.raises(EnrollmentError, match=r"enrollment\.key_taken"):
        await agent.ask(other)


async def test_rel_9_who_was_revoked_changes_no_key(agent):
    row = replace(await agent.row(), admission=Admission.REVOKED)
    await agent.bench.store.write(lambda tx: tx.put_agent(row))
    given = await agent.ask(IdentityKey.create())
    assert (given.admission, given.certificate) == (Admission.REVOKED, b"")
    assert (await agent.row()).spki == agent.key.keyid


async def test_rel_23_an_expired_certificate_changes_its_key_too(agent):
    agent.bench.clock.at += 30 * 86400
    given = await agent.ask(IdentityKey.create())
    assert given.admission is Admission.ACCEPTED
