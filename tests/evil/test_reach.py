"""What the identity of a proxy, or of an agent, reaches: its own doors, and nothing that is for people or for others."""

import re
import uuid

import pytest
from tests.manager.relays.conftest import said, state_of

from popham.model.registry import ANYBODY, MESSAGES, ROUTES, Direction, IdentityKind, Listener
from popham.net.seam import Peer, Refused
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer, CustomMessage
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.testing.network import request_for

from .fleet import EvilFleet

PEOPLE = [route for route in ROUTES if route.listener is Listener.PEOPLE]


@pytest.fixture
async def rig(keys):
    found = await EvilFleet().begin(keys)
    yield found
    await found.end()


def concrete(path):
    return re.sub(r"\{\w+\}", "fleet", path)


@pytest.mark.parametrize("route", PEOPLE, ids=lambda route: f"{route.method} {route.path}")
def test_sec_31_no_route_for_people_is_for_proxies_or_agents(route):
    for kind in (IdentityKind.PROXY, IdentityKind.AGENT, IdentityKind.STOCK):
        assert not route.allows(kind) or route.identities == ANYBODY


async def test_sec_31_no_route_for_people_is_served_at_the_door_of_agents(rig):
    tables = dict(rig.manager.store._tables)
    for route in PEOPLE:
        for body in (b"", b"{}"):
            request = request_for(route.method, concrete(route.path), rig.peer, body)
            served = [one for one in ROUTES if one.listener is Listener.AGENTS and one.path == route.path]
            assert (await rig.manager.hub.other(request)).status in {403, 404, 405} or served
    assert rig.manager.store._tables == tables


async def test_sec_31_with_a_proxys_certificate_an_administrators_token_is_nothing_at_the_door_of_agents(rig):
    peer = Peer(address="192.0.2.9", certificate=rig.peer.certificate, bearer="pop_admin_secret")
    response = await rig.manager.hub.other(request_for("POST", "/api/v1/apply", peer, b"{}"))
    assert response.status == 404


async def test_sec_31_no_message_that_only_travels_down_is_taken_from_a_proxy(rig):
    before = rig.look()
    known = [(one.capability, one.name) for one in MESSAGES if one.direction is Direction.DOWN]
    for number, (capability, name) in enumerate([*known, ("io.popham.admin/1", "apply")]):
        message = AgentToServer(
            instance_uid=rig.dock.record.key,
            sequence_num=number + 1,
            custom_message=CustomMessage(capability=capability, type=name, data=b"\x08\x01"),
        )
        answer = await rig.manager.say(rig.peer, message)
        assert not answer.HasField("connection_settings")
    rig.judge(before)
    assert rig.broken == []


async def test_sec_30_an_agent_relays_nothing_and_wakes_nobody(rig):
    web = rig.mine[0]
    woken = []
    rig.manager.hub.relaying.on_woken = woken.append
    up = wire.RelayUp(head=rig.dock.exchange.head(), agents=[said(rig.mine[1], state_of(rig.mine[1], 50))])
    response = await rig.fleet.post(web.peer(), up.SerializeToString())
    assert response.status == 403
    assert rig.fleet.record(rig.mine[1]).state is None
    wake = CustomMessage(capability="io.popham.proxy/1", type="wake")
    record = rig.fleet.record(web)
    message = AgentToServer(instance_uid=record.key, sequence_num=1, custom_message=wake)
    await answered(rig, web.peer(), message)
    _, end = rig.manager.hold(web.peer())
    await rig.manager.hear(end, web.end.report(force=True))
    await rig.manager.hear(end, message)
    assert woken == []


async def answered(rig, peer, message):
    """Say something; return the answer, None if it was refused."""
    try:
        return await rig.manager.say(peer, message)
    except Refused:
        return None


async def test_sec_30_a_proxy_speaks_as_no_agent_and_an_agent_as_no_proxy_and_no_other_agent(rig):
    before = rig.look()
    everybody = [*rig.agents, rig.dock.agent, rig.pier.agent]
    for speaker in everybody:
        peer = rig.peer if speaker is rig.dock.agent else speaker.peer()
        for other in everybody:
            if other is speaker:
                continue
            message = AgentToServer.FromString(said(other, state_of(other, 77)).message)
            message.sequence_num = 1
            answer = await answered(rig, peer, message)
            assert answer is None or answer.HasField("error_response")
    rig.judge(before)
    assert rig.broken == []


async def test_sec_30_a_body_of_another_group_is_not_fetched_by_a_proxy(rig):
    book = rig.manager.book
    others = book.wanted("other").blobs.keys() - book.wanted("lab").blobs.keys()
    for sha256 in others:
        response = await rig.manager.hub.other(request_for("GET", f"/v1/content/sha256/{sha256}", rig.peer))
        assert response.status == 404
        down = await rig.dock.relay(lacks=[wire.Lack(sha256=sha256)])
        assert [body.absent for body in down.bodies] == [True]
    assert uuid.UUID(rig.dock.uid)
