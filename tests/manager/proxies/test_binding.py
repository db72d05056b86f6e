"""A machine becomes a Proxy Manager by a token for it and by being accepted, and is one no longer than that."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.manager.conftest import ADMIN, VIEWER

from popham.errors import ConflictError, DefinitionError, EnrollmentError, NotFoundError
from popham.model.fleet import Admission
from popham.model.registry import IdentityKind
from popham.net.seam import Peer
from popham.trust.identity import load_certificate

from .conftest import ADDRESS, Machine, proxy, visited

_DER = Encoding.DER


async def test_f_t3_a_proxy_waits_to_be_accepted_and_is_then_given_role_and_names(docks):
    machine, join = Machine(), await docks.token()
    waiting = await docks.enroll(machine, join)
    assert (waiting.admission, waiting.certificate) == (Admission.NEW, b"")
    assert (await docks.row(machine)).name == "dock"
    assert (await docks.proxy()).uid == machine.uid
    view = await docks.bench.service.proxy(VIEWER, "dock")
    assert (view.state, view.uid) == ("new", machine.uid)
    await docks.bench.service.accept(ADMIN, "dock")
    assert (await docks.enroll(machine, join)).admission is Admission.ACCEPTED
    assert (machine.identity.role, machine.identity.uid) == ("proxy", machine.uid)
    names = load_certificate(machine.certificate).extensions
    shown = str(names)
    assert "dock.example" in shown
    assert "10.0.0.7" in shown


async def test_a_token_for_a_proxy_serves_once_never_accepts_and_names_a_definition(docks):
    for wrong in ({"accepts": True}, {"uses": 2}):
        with pytest.raises(DefinitionError, match="token"):
            await docks.token(**wrong)
    with pytest.raises(NotFoundError, match="no proxy 'pier'"):
        await docks.token("pier")
    with pytest.raises(DefinitionError, match="is for no proxy"):
        await docks.bench.service.create_token(ADMIN, proxy="dock")
    join = await docks.token(group="rome")
    machine = Machine()
    await docks.enroll(machine, join)
    assert (await docks.row(machine)).group == "rome"
    with pytest.raises(EnrollmentError, match="used up"):
        await docks.enroll(Machine(), join)


async def test_a_plain_token_makes_nobody_a_proxy_whatever_its_name_is(docks):
    made = await docks.bench.service.create_token(ADMIN, accepts=True)
    machine = Machine()
    await docks.enroll(machine, made.secret, name="dock", proxy=False)
    assert machine.identity.role == "agent"
    assert (await docks.proxy()).uid == ""


async def test_sec_30_a_certificate_of_a_proxy_counts_while_the_definition_is_bound_to_it(docks):
    machine = await docks.make()
    peer = Peer(address=ADDRESS, certificate=load_certificate(machine.certificate).public_bytes(_DER))
    peer.identity = docks.book.identify(peer)
    assert (peer.identity.caller, peer.identity.uid) == (IdentityKind.PROXY, machine.uid)
    dialled = Peer(address=ADDRESS, uid=machine.uid, key=machine.key.public.der)
    assert docks.book.identify(dialled).caller is IdentityKind.PROXY
    await docks.bench.service.delete_proxy(ADMIN, "dock")
    await docks.directory.load()
    assert docks.book.identify(peer).caller is IdentityKind.AGENT
    assert docks.book.identify(dialled).caller is IdentityKind.AGENT
    assert (await docks.renew(machine)).role == "agent"


async def test_sec_30_a_definition_that_comes_back_is_nobodys(docks):
    machine = await docks.make()
    old = await docks.token()
    await docks.bench.service.delete_proxy(ADMIN, "dock")
    await docks.bench.apply(proxy())
    await docks.directory.load()
    assert docks.directory.uids() == ()
    assert (await docks.renew(machine)).role == "agent"
    with pytest.raises(EnrollmentError, match="revoked"):
        await docks.enroll(Machine(), old)


async def test_sec_30_a_proxy_that_is_revoked_is_none(docks):
    machine = await docks.make()
    assert docks.directory.has(machine.uid)
    await docks.bench.service.revoke(ADMIN, "dock")
    await docks.directory.load()
    assert not docks.directory.has(machine.uid)
    assert (await docks.bench.service.proxy(VIEWER, "dock")).state == "revoked"


async def test_role_and_names_stay_at_a_renewal_and_follow_the_definition(docks):
    machine = await docks.make()
    await docks.bench.apply(proxy(spec="groups: [paris], names: [quay.example]"))
    assert (await docks.renew(machine)).role == "proxy"
    assert "quay.example" in str(load_certificate(machine.certificate).extensions)


async def test_the_proxy_stays_until_the_one_of_a_newer_token_is_accepted(docks):
    old = await docks.make()
    new = Machine()
    docks.bench.clock.at += 60
    join = await docks.token()
    await docks.enroll(new, join)
    assert (await docks.proxy()).uid == old.uid
    assert ((await docks.row(new)).name, (await docks.row(old)).name) == ("dock", "dock-2")
    await docks.enroll(new, join)
    await docks.bench.service.accept(ADMIN, "dock")
    await docks.enroll(new, join)
    await docks.directory.load()
    assert docks.directory.uids() == (new.uid,)
    assert (new.identity.role, (await docks.renew(old)).role) == ("proxy", "agent")


async def test_the_one_of_an_older_token_does_not_take_it_back(docks):
    old = await docks.make()
    await docks.bench.service.revoke(ADMIN, "dock")
    docks.bench.clock.at += 60
    new = await docks.make()
    await docks.bench.service.accept(ADMIN, old.uid)
    await docks.directory.load()
    assert docks.directory.uids() == (new.uid,)


async def test_an_agent_that_comes_with_a_token_for_a_proxy_waits_anew(docks):
    made = await docks.bench.service.create_token(ADMIN, accepts=True)
    machine = Machine()
    await docks.enroll(machine, made.secret, proxy=False)
    found = await docks.enroll(machine, await docks.token())
    assert found.admission is Admission.NEW
    assert (await docks.row(machine)).assignment == b""


async def test_the_binding_stands_in_the_audit(docks):
    machine = await docks.make()
    methods = [(one.method, one.object) for one in await docks.bench.audit()]
    assert ("proxy.bind", "proxy/dock") in methods
    assert ("agent.join", f"agent/{machine.uid}") in methods


async def test_a_definition_that_visits_agents_is_not_deleted(docks):
    await docks.bench.apply(visited())
    with pytest.raises(ConflictError, match="is to visit web1"):
        await docks.bench.service.delete_proxy(ADMIN, "dock")


async def test_a_join_string_serves_who_it_is_for_and_costs_no_use_else(docks):
    ours, theirs = await docks.token(), (await docks.bench.service.create_token(ADMIN)).secret
    for join, is_proxy, hint in (
        (ours, False, "popham proxy enroll"),
        (theirs, True, "token create --proxy"),
    ):
        with pytest.raises(EnrollmentError) as caught:
            await docks.enroll(Machine(), join, proxy=is_proxy)
        assert caught.value.code == "enrollment.token_kind"
        assert hint in caught.value.hint
    assert [token.uses for token in await docks.bench.service.tokens(ADMIN)] == [0, 0]
