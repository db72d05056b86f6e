"""A restored Manager and agents that changed their keys since the backup: what is believed, and what is not."""

import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.manager.conftest import NOW
from tests.manager.rotating import UID, add_other, begin

from popham.errors import EnrollmentError
from popham.manager.book import ManagerBook
from popham.manager.rejoining import Forgotten, note_forgotten, read_forgotten
from popham.model.registry import IdentityKind
from popham.net.seam import Peer, Refused
from popham.trust.ca import Authority
from popham.trust.identity import load_certificate, make_csr
from popham.trust.keys import IdentityKey

DAY = 86_400.0
MADE, RESTORED = NOW + DAY, NOW + 3 * DAY
KEY = bytes.fromhex(UID.replace("-", ""))


@pytest.fixture
async def agent(bench, monkeypatch):
    """An agent of a Manager that was restored two days after its backup."""
    # Those keys are made once for many tests: here it matters when certificates are issued.
    monkeypatch.setattr(bench.keys.ca, "_clock", bench.clock)
    agent = await begin(bench)
    await bench.store.write(lambda tx: note_forgotten(tx, f"{RESTORED} {int(MADE)}"))
    bench.clock.at = RESTORED + 1
    await agent.book.load()
    return agent


def issue(agent, at, key=None, uid=UID):
    """Return another key, and its certificate that was issued then."""
    clock, key = agent.bench.clock, key or IdentityKey.create()
    now, clock.at = clock.at, at
    certificate = agent.bench.keys.ca.issue_agent(make_csr(key, uid), uid)
    clock.at = now
    return key, certificate


async def meet(agent, certificate):
    peer = Peer(address="192.0.2.9", certificate=load_certificate(certificate).public_bytes(Encoding.DER))
    peer.identity = agent.book.identify(peer)
    return await agent.book.meet(peer.identity, KEY, peer)


async def test_rel_9_a_certificate_of_the_forgotten_time_is_believed(agent):
    key, certificate = issue(agent, MADE + DAY)
    before = await agent.row()
    found = agent.who(certificate)
    assert (found.caller, found.rejoins) == (IdentityKind.NONE, True), (
        "until its key was looked at, it is nobody"
    )
    record = await meet(agent, certificate)
    row = await agent.row()
    assert (record.public_key, row.public_key, row.former_key) == (
        key.public.der,
        key.public.der,
        before.public_key,
    )
    assert (row.spki, row.certificate_until) == (key.keyid, agent.who(certificate).until)
    assert row.assignment_seq > before.assignment_seq
    assert agent.who(certificate).caller is IdentityKind.AGENT
    assert agent.who(agent.certificate).caller is IdentityKind.NONE, "the former key serves for renewal"
    assert agent.dialled(key).caller is IdentityKind.AGENT
    entry = (await agent.bench.audit())[-1]
    assert (entry.method, entry.object, entry.actor) == (
        "agent.rejoin",
        f"agent/{UID}",
        f"certificate of {UID}",
    )
    assert json.loads(entry.after)["spki"] == key.keyid


@pytest.mark.parametrize("at", [NOW + 1, MADE - 1, MADE, RESTORED + 1, RESTORED + DAY])
async def test_rel_9_one_of_another_time_is_not(agent, at):
    key, certificate = issue(agent, at)
    agent.bench.clock.at = RESTORED + 2 * DAY
    with pytest.raises(Refused):
        agent.who(certificate)
    assert not await agent.book.rejoin(certificate, "192.0.2.9")
    with pytest.raises(EnrollmentError, match=r"enrollment\.unknown_agent"):
        await agent.ask(key, proven=key, certificate=certificate)


async def test_rel_9_nobody_goes_back_to_a_key_before_the_newest(agent):
    older, newer = issue(agent, MADE + 10), issue(agent, MADE + 20)
    await meet(agent, older[1])
    await meet(agent, newer[1])
    with pytest.raises(Refused):
        await meet(agent, issue(agent, MADE + 15)[1])
    assert not await agent.book.rejoin(issue(agent, MADE + 20)[1], "192.0.2.9")
    assert agent.who(older[1]).caller is IdentityKind.NONE
    assert not agent.who(older[1]).rejoins
    assert (await agent.row()).public_key == newer[0].public.der


async def test_rel_9_who_renews_the_known_key_first_locks_nobody_out(agent):
    key, certificate = issue(agent, MADE + 10)
    await agent.ask(agent.key)
    await meet(agent, certificate)
    assert (await agent.row()).public_key == key.public.der


@pytest.mark.parametrize("admission", ["new", "refused", "revoked"])
async def test_rel_9_who_is_not_accepted_gets_no_other_key(agent, admission):
    row = replace(await agent.row(), admission=admission)
    await agent.bench.store.write(lambda tx: tx.put_agent(row))
    _, certificate = issue(agent, MADE + 10)
    with pytest.raises(Refused):
        await meet(agent, certificate)
    assert (await agent.row()).public_key == agent.key.public.der


async def test_rel_9_a_key_of_another_agent_is_not_taken(agent):
    other = IdentityKey.create()
    await add_other(agent.bench, other)
    _, certificate = issue(agent, MADE + 10, other)
    with pytest.raises(Refused):
        await meet(agent, certificate)
    assert not await agent.book.rejoin(certificate, "192.0.2.9")


async def test_rel_9_a_certificate_of_another_ca_proves_nothing(agent):
    other = Authority.create("popham", agent.bench.clock)
    agent.bench.clock.at = MADE + 10
    certificate = other.issue_agent(make_csr(IdentityKey.create(), UID), UID)
    assert not await agent.book.rejoin(certificate, "192.0.2.9")
    assert not await agent.book.rejoin(b"no certificate", "192.0.2.9")


async def test_rel_9_a_renewal_proves_it_too_also_with_an_expired_certificate(agent):
    key, certificate = issue(agent, MADE + 10)
    agent.bench.clock.at = RESTORED + 30 * DAY
    fresh = IdentityKey.create()
    given = await agent.ask(fresh, proven=key, certificate=certificate)
    row = await agent.row()
    assert (row.public_key, row.former_key, row.assignment) == (
        fresh.public.der,
        key.public.der,
        given.assignment,
    )
    assert [entry.method for entry in (await agent.bench.audit())[-2:]] == ["agent.rejoin", "agent.rotate"]


async def test_rel_9_it_is_believed_after_a_restart_too(agent):
    _, certificate = issue(agent, MADE + 10)
    agent.book = ManagerBook(agent.bench.store, agent.bench.keys, agent.bench.clock)
    await agent.book.load()
    assert agent.book.forgets
    await meet(agent, certificate)
    with pytest.raises(Refused):
        await meet(agent, issue(agent, MADE + 5)[1])


async def test_what_was_done_while_the_database_was_in_use_is_not_forgotten(bench):
    def work(tx):
        tx.set_meta("alive_at", repr(MADE + 100))
        note_forgotten(tx, f"{RESTORED} {int(MADE)}")

    await bench.store.write(work)
    assert await bench.store.read(read_forgotten) == Forgotten(MADE + 100, RESTORED)


@pytest.mark.parametrize("said", ["1.0", f"{MADE} {int(RESTORED)}"])
async def test_a_backup_that_does_not_say_when_it_was_made_or_was_made_later_opens_nothing(bench, said):
    await bench.store.write(lambda tx: note_forgotten(tx, said))
    assert NOW not in await bench.store.read(read_forgotten)
    assert await bench.store.read(lambda tx: tx.meta("restored_between")) is None
