import asyncio
import uuid
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from popham.errors import GrantError
from popham.model.fleet import AgentKind
from popham.model.names import digest
from popham.model.registry import IdentityKind
from popham.net.seam import Peer, Refused, Request
from popham.opamp.codec import parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentDescription, AgentToServer
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.opamp.wire import OWN_AGENT
from popham.proxy.bearers import ASKED_MAX
from popham.proxy.wanted import SMALL
from popham.testing.direct import DirectLink
from popham.trust.ca import Authority
from popham.trust.identity import load_certificate, make_csr
from popham.trust.keys import IdentityKey
from popham.trust.verify import open_state
from popham.upstream.book import Identity
from popham.upstream.destinations import NOWHERE
from popham.upstream.directive import plan

from .desk import CLOCK, body_of
from .dock import AGENTS, NONCES, Agent, dock_at

WEB, DB = AGENTS[:2]
TOKEN = "pops_t1_secret"
STOCK = uuid.UUID(int=5).bytes


def refused(call, *args):
    with pytest.raises(Refused) as found:
        call(*args)
    return found.value.refusal


async def known(folder, *agents):
    dock = await dock_at(folder, *agents)
    dock.book.groups.tell(dock.desk.groups["fleet"], wire.Known(key=b"fleet", digest=b"12345678"))
    for agent in agents:
        dock.book.tell(agent.told())
    return dock


async def test_an_agent_is_who_its_certificate_names(tmp_path):
    dock = await known(tmp_path, WEB)
    peer = WEB.peer()
    found = peer.identity = dock.book.identify(peer)
    assert (found.caller, found.uid) == (IdentityKind.AGENT, WEB.uid)
    assert dock.book.identify(peer) is found, "it is looked at once per connection"
    dock.book.tell(DB.told())
    dock.book.tell(DB.told(public_key=b"another"))
    assert dock.book.identify(peer).uid == found.uid, "it is looked at again once some agent has another key"


async def test_a_certificate_of_another_fleet_or_one_that_has_expired_is_refused(tmp_path):
    dock = await known(tmp_path, WEB)
    other = Authority.create("elsewhere", CLOCK)
    pem = other.issue_agent(make_csr(WEB.identity, WEB.uid), WEB.uid, 86400.0)
    der = load_certificate(pem).public_bytes(Encoding.DER)
    assert refused(dock.book.identify, Peer("a", certificate=der)).status == 401
    assert refused(dock.book.identify, Peer("a", certificate=b"none")).status == 401
    dock.clock.elapsed += 86400 * 60
    assert "expired" in refused(dock.book.identify, WEB.peer()).body


async def test_an_agent_with_another_key_than_was_told_is_asked_for_above(tmp_path):
    dock = await known(tmp_path, WEB)
    fresh = Agent(0, IdentityKey.create())
    identity = dock.book.identify(fresh.peer())
    assert identity.rejoins
    dock.desk.agents[WEB.key] = fresh.told()
    async with dock.connected():
        await dock.say(fresh, full=True)
    assert dock.book.find(WEB.key).public_key == fresh.identity.public.der
    assert dock.book.identify(fresh.peer()).caller is IdentityKind.AGENT
    async with dock.connected():
        with pytest.raises(Refused, match="another key"):
            await dock.say(WEB, full=True)


async def test_a_former_key_serves_for_asking_for_a_certificate_only(tmp_path):
    dock = await known(tmp_path)
    dock.book.tell(WEB.told(public_key=b"new", former_key=WEB.identity.public.der))
    assert dock.book.identify(WEB.peer()) == Identity(caller=IdentityKind.NONE)


async def test_who_answers_where_the_proxy_dialled_is_known_by_its_key(tmp_path):
    dock = await known(tmp_path, WEB)
    der = WEB.identity.public.der
    assert dock.book.identify(Peer("a", uid=WEB.uid, key=der)).caller is IdentityKind.AGENT
    assert refused(dock.book.identify, Peer("a", uid=WEB.uid, key=b"other")).status == 403
    assert refused(dock.book.identify, Peer("a", uid=DB.uid, key=der)).status == 403
    dock.book.tell(WEB.told(certificate_until=dock.clock.now() - 1))
    assert dock.book.identify(Peer("a", uid=WEB.uid, key=der)).caller is IdentityKind.NONE
    dock.book.tell(WEB.told(admission="refused"))
    assert "refused" in refused(dock.book.identify, Peer("a", uid=WEB.uid, key=der)).body


async def test_another_key_of_an_agent_that_is_visited_is_believed_if_those_above_do(tmp_path):
    dock = await known(tmp_path, WEB)
    fresh = Agent(0, IdentityKey.create())
    assert dock.book.forgets
    async with dock.connected():
        assert not await dock.book.rejoin(fresh.pem, "10.0.0.1")
        dock.desk.agents[WEB.key] = fresh.told()
        assert await dock.book.rejoin(fresh.pem, "10.0.0.1")
        assert not await dock.book.rejoin(b"none", "10.0.0.1")


async def test_sec_12_a_body_is_given_by_the_group_that_names_it_only(tmp_path):
    dock = await known(tmp_path, WEB)
    body, other = body_of("first"), body_of("other")
    dock.desk.put_group(other, name="lab")
    dock.book.groups.tell(dock.desk.groups["lab"], wire.Known())
    for one in (body, other):
        dock.book.groups.bring(wire.Body(sha256=digest(one), offset=0, length=len(one), data=one))
    assert dock.book.content(digest(body), "fleet") == body
    assert dock.book.content(digest(other), "fleet") is None
    assert dock.book.content(digest(body), "lab") is None
    envelope = dock.desk.groups["lab"].envelope
    assert dock.book.content(digest(envelope), "lab") == envelope
    assert dock.book.content(digest(envelope), "fleet") is None
    assert dock.book.content(digest(body), "nowhere") is None


async def fetch(dock, agent, sha256):
    """Return the proxy's answer to an agent that asks for a body."""
    return await dock.hub.other(
        Request(method="GET", path=f"/v1/content/sha256/{sha256}", peer=agent.peer(), body=b"", headers={})
    )


async def test_a_body_that_is_still_to_come_is_asked_for_again_soon_and_one_that_nobody_names_never(tmp_path):
    dock = await known(tmp_path, WEB)
    body = body_of("first")
    early = await fetch(dock, WEB, digest(body))
    assert (early.status, early.headers) == (503, {"Retry-After": "5"})
    assert (await fetch(dock, WEB, "0" * 64)).status == 404
    whole = wire.Body(sha256=digest(body), offset=0, length=len(body), data=body)
    dock.book.groups.bring(whole)
    assert (await fetch(dock, WEB, digest(body))).body == body
    await dock.write()
    await dock.boot()
    assert callable(dock.book.content(digest(body), "fleet")), "it is on the disk, which nobody waits for"
    assert (await fetch(dock, WEB, digest(body))).body == body
    (tmp_path / "bodies" / digest(body)).unlink()
    await dock.boot()
    assert (await fetch(dock, WEB, digest(body))).status == 503, "it was lost, and is asked for again above"
    dock.book.groups.bring(wire.Body(sha256=digest(body), absent=True))
    assert (await fetch(dock, WEB, digest(body))).status == 404, "they have it no more either"


async def test_a_large_body_that_is_on_the_disk_only_is_neither_said_unasked_nor_read_where_it_is_looked_for(
    tmp_path,
):
    dock = await known(tmp_path, WEB)
    large = body_of("large " * SMALL)
    dock.desk.put_group(large, name="lab")
    dock.book.groups.tell(dock.desk.groups["lab"], wire.Known())
    dock.book.groups.bring(wire.Body(sha256=digest(large), length=len(large), data=large))
    blobs = dock.book.wanted("lab").blobs
    assert dict(blobs.items()) == {digest(large): large}, "it is in memory, as it has just come"
    await dock.write()
    await dock.boot()
    blobs, dock.cache._read_body = dock.book.wanted("lab").blobs, None
    assert (list(blobs), digest(large) in blobs, "0" * 64 in blobs) == ([digest(large)], True, False)
    assert not dict(blobs.items())
    del dock.cache._read_body
    assert await dock.book.fetch(digest(large)) == len(large)
    assert dict(blobs.items()) == {digest(large): large}


async def test_the_name_of_a_key_is_found(tmp_path):
    dock = await known(tmp_path, WEB)
    assert dock.book.name_of_key(digest(WEB.identity.public.der)) == "web-0"
    dock.book.tell(DB.told())
    assert dock.book.name_of_key(digest(DB.identity.public.der)) == "web-1"
    assert not dock.book.name_of_key("0" * 64)


async def test_an_unknown_agent_waits_while_nothing_above_answers_and_its_link_is_closed_once_it_is_gone(
    tmp_path,
):
    dock = await known(tmp_path, WEB)
    link = DirectLink(WEB.peer())
    dock.book.find(WEB.key).link = link
    dock.book.tell(wire.AgentTold(key=WEB.key, gone=True))
    assert link.ended[0] == 1012
    assert dock.book.find(WEB.key) is None


async def test_rel_17_a_bundle_that_an_agent_has_and_nobody_above_is_shown_there(tmp_path):
    dock = await known(tmp_path, WEB)
    await dock.book.claim(dock.book.find(WEB.key), b"bundle")
    dock.desk.replies["claim"] = b""
    await dock.settle()
    assert [(call.kind, call.body) for call in dock.desk.calls] == [("claim", b"bundle")]


async def test_rel_17_while_a_bundle_is_looked_at_above_its_agent_is_not_asked_for_it_again(tmp_path):
    """An answer may take until the next visit, and agent and proxy are in touch all the time."""
    dock = await known(tmp_path, WEB)
    record = dock.book.find(WEB.key)
    record.kind = AgentKind.OWN
    record.ear.capabilities, record.ear.described = int(OWN_AGENT), True
    envelope = WEB.state(version=99, serial=1)
    record.note_state(open_state(envelope, public_der=record.public_key, uid=record.uid), envelope)
    wanted = SimpleNamespace(serial=1, version=98, content_digest="", guards=lambda _record: False)

    def asks():
        return plan(record, wanted, full_state=False, hello=False, to=NOWHERE).ask_bundle

    assert asks()
    await dock.book.claim(record, b"bundle")
    assert not asks()


# Stock agents.


def shown(address="10.0.0.9", token=TOKEN):
    return Peer(address=address, bearer=token)


def stock_told(dock, *, until=600.0, group="fleet"):
    return wire.AgentTold(
        key=STOCK,
        name="otel",
        group=group,
        kind="stock",
        admission="accepted",
        token_until=dock.clock.now() + until if until else 0.0,
    )


async def with_token(folder, **rest):
    dock = await known(folder)
    told = stock_told(dock, **rest)
    dock.desk.agents[STOCK] = told
    dock.desk.replies["meet"] = lambda _call: told.SerializeToString()
    refusal = refused(dock.book.identify, shown())
    assert (refusal.status, refusal.retry_after) == (503, 1.0)
    assert refused(dock.book.identify, shown()).status == 503
    await dock.settle()
    assert len(dock.desk.calls) == 1, "it is asked for once"
    return dock


async def test_a_token_is_looked_up_above_and_remembered_until_the_time_that_was_named(tmp_path):
    dock = await with_token(tmp_path)
    found = dock.book.identify(shown("10.9.9.9"))
    assert (found.caller, found.token, found.group) == (IdentityKind.STOCK, "t1", "fleet")
    await dock.write()
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    await dock.boot()
    assert dock.book.identify(shown()).token == "t1"
    dock.clock.elapsed += 700
    assert refused(dock.book.identify, shown()).status == 503


async def test_a_token_for_some_addresses_is_believed_from_the_one_it_was_shown_from(tmp_path):
    dock = await with_token(tmp_path, until=0.0)
    assert dock.book.identify(shown()).token == "t1"
    assert refused(dock.book.identify, shown("10.9.9.9")).status == 503


async def test_a_token_that_is_refused_above_is_refused_here_for_a_while(tmp_path):
    dock = await known(tmp_path)
    dock.desk.replies["meet"] = GrantError("unknown_token", "this token is not known")
    refused(dock.book.identify, shown())
    await dock.settle()
    assert "not known" in refused(dock.book.identify, shown()).body
    assert refused(dock.book.identify, shown()).status == 401
    dock.clock.elapsed += 60
    assert refused(dock.book.identify, shown()).status == 503


async def test_a_token_is_still_asked_for_when_a_visit_comes_long_after_who_showed_it(tmp_path):
    dock = await known(tmp_path)
    told = stock_told(dock, until=7200.0)
    dock.desk.replies["meet"] = lambda _call: told.SerializeToString()
    assert refused(dock.book.identify, shown()).retry_after == 1.0
    for _ in range(3):
        dock.clock.elapsed += 200
        refusal = refused(dock.book.identify, shown())
        assert (refusal.status, refusal.retry_after) == (503, 10.0), "it need not come each second"
    await dock.settle()
    assert dock.book.identify(shown()).token == "t1"


async def test_sec_8_tokens_of_strangers_leave_room_for_what_agents_ask(tmp_path):
    dock = await known(tmp_path)
    for number in range(ASKED_MAX + 9):
        assert refused(dock.book.identify, shown(token=f"pops_x{number}_secret")).status == 503
    assert len(dock.book.calls) == ASKED_MAX
    dock.clock.elapsed += 3601
    refused(dock.book.identify, shown())
    assert len(dock.book.calls) == 1, "a question that nobody answers ends"


async def test_a_stock_agent_is_vouched_for_with_its_token_after_a_start_too(tmp_path):
    dock = await with_token(tmp_path)
    message = AgentToServer(instance_uid=STOCK, sequence_num=1, agent_description=AgentDescription())

    async def say():
        peer = shown()
        assert dock.hub.admit(peer, held=False, uid=STOCK) is None
        answer = dock.hub.round(peer, message.SerializeToString())
        await (asyncio.sleep(0) if isinstance(answer, bytes) else answer)
        await dock.settle()

    async with dock.connected():
        await say()
    said = dock.desk.said_of.pop(STOCK)
    assert (said.token, said.promise) == ("t1", 30.0)
    await dock.write()
    await dock.boot()
    message.agent_description.identifying_attributes.add(key="a").value.string_value = "b"
    await say()
    assert dock.desk.said_of[STOCK].token == "t1"


async def test_a_stock_agent_is_described_above_again_only_where_it_began_anew(tmp_path):
    dock = await with_token(tmp_path)
    message = AgentToServer(instance_uid=STOCK, sequence_num=1, capabilities=0x401)
    message.agent_description.identifying_attributes.add(key="a").value.string_value = "b"

    async def say():
        peer = shown()
        assert dock.hub.admit(peer, held=False, uid=STOCK) is None
        answer = dock.hub.round(peer, message.SerializeToString())
        found = answer if isinstance(answer, bytes) else await answer
        await dock.settle()
        message.sequence_num += 1
        return parse_upstream(found)

    def described():
        return AgentToServer.FromString(dock.desk.said_of[STOCK].message).HasField("agent_description")

    async with dock.connected():
        await say()
    assert described()
    message.ClearField("agent_description")
    dock.desk.agents[STOCK].restart = NONCES[0]
    dock.relays.agent_changed(str(uuid.UUID(bytes=STOCK)))
    await dock.settle()
    assert (await say()).HasField("command")
    assert list(dock.desk.said_of[STOCK].offered) == [NONCES[0]]
    assert not described(), "it would be taken for one that began anew"
    dock.desk.agents[STOCK].say = True
    dock.relays.agent_changed(str(uuid.UUID(bytes=STOCK)))
    await dock.settle()
    assert described(), "nobody above took it before"
    message.agent_description.identifying_attributes.add(key="a").value.string_value = "b"
    await say()
    assert described()
