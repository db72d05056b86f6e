"""Who answers where this Manager dialled: the key that signs, and how long it may speak."""

import pytest

from popham.model.registry import IdentityKind
from popham.net.seam import Peer, Refused
from popham.trust.keys import IdentityKey

from .conftest import NOW
from .visiting import KEY, Fleet, number


@pytest.fixture
async def fleet(bench):
    found = Fleet(bench)
    await found.book.load()
    await found.group()
    return found


def peer(uid, key=KEY):
    return Peer(address="192.0.2.9", uid=uid, key=key.public.der)


async def test_whose_key_signs_is_that_agent_until_its_certificate_ends(fleet):
    uid = await fleet.agent()
    found = fleet.book.identify(peer(uid))
    assert (found.caller, found.uid, found.public_key) == (IdentityKind.AGENT, uid, KEY.public.der)
    assert found.until == NOW + 1000


async def test_who_has_an_ended_certificate_may_only_ask_for_another(fleet):
    uid = await fleet.agent()
    known = peer(uid)
    known.identity = fleet.book.identify(known)
    fleet.bench.clock.at = NOW + 1000
    assert fleet.book.identify(known).caller is IdentityKind.NONE
    assert fleet.book.identify(peer(uid)).caller is IdentityKind.NONE


async def test_a_certificate_whose_end_is_not_known_does_not_end(fleet):
    uid = await fleet.agent()
    fleet.book.record(uid).certificate_until = 0.0
    fleet.bench.clock.at = NOW + 1e9
    assert fleet.book.identify(peer(uid)).caller is IdentityKind.AGENT


async def test_another_key_and_an_unknown_agent_are_refused(fleet):
    uid = await fleet.agent()
    for wrong in (peer(uid, IdentityKey.create()), peer(number(9))):
        with pytest.raises(Refused) as caught:
            fleet.book.identify(wrong)
        assert caught.value.refusal.status == 403


@pytest.mark.parametrize("admission", ["refused", "revoked"])
async def test_who_was_shut_out_is_refused(fleet, admission):
    uid = await fleet.agent(admission=admission)
    with pytest.raises(Refused) as caught:
        fleet.book.identify(peer(uid))
    assert admission in caught.value.refusal.body


async def test_whoever_waits_to_be_born_is_nobody_yet(fleet):
    assert fleet.book.identify(Peer(address="192.0.2.9")).caller is IdentityKind.NONE


async def test_the_agent_that_answers_instead_is_named_by_the_digest_of_its_key(fleet):
    assert fleet.book.name_of_key(KEY.keyid) == ""
    await fleet.agent()
    assert fleet.book.name_of_key(KEY.keyid) == "web1"
    assert fleet.book.name_of_key("00" * 32) == ""
    assert fleet.book.name_of_key("no digest") == ""
