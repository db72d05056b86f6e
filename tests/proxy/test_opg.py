"""What follows from OpAMP for whoever stands between: the rows OPG, as far as a proxy that plays the server agrees."""

import asyncio
import uuid

import pytest
from tests.manager.intake.framing import Sender, join

from popham.model.status import STATE_TYPE
from popham.net.seam import Peer, Refusal, Refused
from popham.opamp.codec import MESSAGE_LIMIT, decode_frame, encode_frame, parse_custom, parse_upstream
from popham.opamp.relay import RELAY_LIMIT
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer, CustomMessage, ServerErrorResponseType
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.opamp.wire import OWN_UPSTREAM, REPORT_FULL_STATE, REQUEST_INSTANCE_UID, SESSION
from popham.testing.direct import DirectLink
from popham.trust.dsse import Envelope, seal
from popham.trust.keys import IdentityKey
from popham.upstream.presence import LINKED

from .dock import AGENTS, Agent, dock_at
from .test_book import shown, with_token
from .test_with_manager import Chain

WEB, DB = AGENTS[:2]
ONE, TWO = (uuid.UUID(int=number).bytes for number in (5, 6))
BAD_REQUEST = ServerErrorResponseType.ServerErrorResponseType_BadRequest
ALLOWED = int(OWN_UPSTREAM)


@pytest.fixture
async def dock(tmp_path):
    """A proxy that knows two of our agents, which have their policies; nothing above answers from then on."""
    agents = [Agent(number) for number in range(2)]
    made = await dock_at(tmp_path, *agents)
    made.web, made.db = agents
    async with made.connected():
        for agent in agents:
            await made.say(agent, full=True)
        await made.settle()
    return made


@pytest.fixture
async def gate(tmp_path):
    """A proxy that knows the token of a stock agent, and what its group is to have."""
    made = await with_token(tmp_path)
    for key in (ONE, TWO):
        told = wire.AgentTold(key=key, name=key.hex(), group="fleet", kind="stock", admission="accepted")
        made.desk.agents[key] = told
    made.desk.replies["meet"] = lambda call: made.desk.agents[call.key].SerializeToString()
    return made


def hold(dock, peer):
    """Open a held link. Raises Refused."""
    refusal = dock.hub.admit(peer, held=True, uid=b"")
    if refusal is not None:
        raise Refused(refusal)
    link = DirectLink(peer)
    return link, dock.hub.opened(link)


async def hear(end, data):
    """Return the answer to one message of a link."""
    answer = end.message(encode_frame(data))
    found = answer if isinstance(answer, bytes) or answer is None else await answer
    return parse_upstream(decode_frame(found)) if found else None


def stock(key, number=0, **parts):
    """Return what a stock agent says."""
    made = AgentToServer(instance_uid=key, sequence_num=number, capabilities=0x1, **parts)
    if not number:
        made.agent_description.identifying_attributes.add(key="service.name").value.string_value = key.hex()
    return made.SerializeToString()


async def say(dock, peer, data):
    """Return the answer to one message by HTTP. Raises Refused."""
    refusal = dock.hub.admit(peer, held=False, uid=b"")
    if refusal is not None:
        raise Refused(refusal)
    answer = dock.hub.round(peer, data)
    return parse_upstream(answer if isinstance(answer, bytes) else await answer)


def newer_state(agent):
    """Return a state record of a program that says more than this one knows."""
    payload = Envelope.parse(agent.state(), types=(STATE_TYPE,)).payload
    return seal(STATE_TYPE, payload[:-1] + b',"x-of-later":{"b":2,"a":[1]}}', agent.identity)


async def test_opg_1_agents_on_one_connection_are_told_apart_by_their_uids(gate):
    link, end = hold(gate, shown())
    async with gate.connected():
        for number in range(2):
            for key in (ONE, TWO):
                assert (await hear(end, stock(key, number))).instance_uid == key
        await gate.settle()
    assert not link.ended
    for key in (ONE, TWO):
        assert AgentToServer.FromString(gate.desk.said_of[key].message).instance_uid == key
    gate.hub.tell(str(uuid.UUID(bytes=TWO)))
    assert all(parse_upstream(data).instance_uid == TWO for data in link.sent)


async def test_opg_1_what_is_signed_passes_in_its_own_bytes_with_what_nobody_here_knows(dock):
    dock.web.revision = 2
    envelope = newer_state(dock.web)
    message = AgentToServer.FromString(dock.web.message(full=True))
    report = parse_custom(message.custom_message)
    report.state = envelope
    message.custom_message.data = report.SerializeToString()
    frames = join(Sender(uid=dock.web.key, key=dock.web.identity).frames(3))
    async with dock.connected():
        await say(dock, dock.web.peer(), message.SerializeToString())
        dock.carrying.waiting.append(wire.Carried(key=dock.web.key, stream="logs", frames=frames))
        await dock.settle()
    said = AgentToServer.FromString(dock.desk.said_of[dock.web.key].message)
    assert parse_custom(said.custom_message).state == envelope
    assert dock.desk.carried[-1].frames == frames
    bundle = dock.book.wanted("fleet").envelope
    assert bundle == dock.desk.groups["fleet"].envelope, "and down likewise"


async def test_opg_2_a_proxy_answers_for_nobody_it_plays_the_server_with_nothing_above(gate):
    async with gate.connected():
        first = await say(gate, shown(), stock(ONE))
    # From here on there is nothing above.
    again = await say(gate, shown(), stock(ONE))
    assert again.instance_uid == first.instance_uid == ONE, "a duplicate is answered like the first"
    assert first.capabilities == ALLOWED, "and no bit that is undefined"
    assert not again.flags
    assert (await say(gate, shown(), stock(ONE, 7))).flags == REPORT_FULL_STATE
    full = AgentToServer.FromString(stock(ONE))
    full.sequence_num = 8
    assert not (await say(gate, shown(), full.SerializeToString())).flags
    wrong = CustomMessage(capability=SESSION, type="report", data=b"\xff")
    error = await say(gate, shown(), stock(ONE, 9, custom_message=wrong))
    assert error.error_response.type == BAD_REQUEST
    assert {part.name for part, _ in error.ListFields()} <= {"instance_uid", "capabilities", "error_response"}


async def test_opg_3_a_gap_is_healed_where_it_arises_and_what_goes_up_is_the_newest_by_its_own_revision(dock):
    web = dock.web
    old = web.message(full=True)
    web.revision = 2
    await dock.say(web, full=True)
    web.sequence += 5
    answer = await dock.say(web)
    assert answer.flags == REPORT_FULL_STATE, "the proxy asks for what it missed, not those above"
    web.revision = 3
    assert not (await dock.say(web, full=True)).flags
    await say(dock, web.peer(), old)
    await dock.settle()
    said = AgentToServer.FromString(dock.desk.said_of[web.key].message)
    state = parse_custom(said.custom_message).state
    assert dock.book.find(web.key).state.revision == 3, "one of before that comes late changes nothing"
    assert state == dock.book.find(web.key).envelope


async def test_opg_4_while_the_uplink_is_lost_agents_stay_and_a_new_upstream_is_told_of_all_of_them(dock):
    link, end = hold(dock, dock.web.peer())
    await hear(end, dock.web.message())
    dock.uplink.up()
    dock.uplink.lost()
    assert (await hear(end, dock.web.message())).instance_uid == dock.web.key
    assert (await dock.say(dock.db)).instance_uid == dock.db.key
    assert not link.ended, "nobody has to learn of it: answers come from here"
    dock.desk.said_of.clear()
    dock.boot_manager()
    await dock.settle()
    assert set(dock.desk.said_of) == {dock.web.key, dock.db.key}
    assert dock.desk.said_of[dock.web.key].held


@pytest.mark.parametrize("held", [True, False])
async def test_opg_5_who_may_not_speak_is_refused_before_the_upgrade(dock, held):
    def refusal(peer):
        return dock.hub.admit(peer, held=held, uid=b"")

    stranger = Peer(address="10.0.0.9")
    if held:
        assert refusal(stranger).status == 401
    assert refusal(Peer(address="10.0.0.9", certificate=b"of nobody")).status == 401
    dock.desk.agents[dock.db.key].admission = "revoked"
    dock.relays.agent_changed(dock.db.uid)
    await dock.settle()
    found = refusal(dock.db.peer()) if held else None
    if found is None:
        with pytest.raises(Refused) as caught:
            await dock.say(dock.db)
        found = caught.value.refusal
    assert (found.status, "revoked" in found.body) == (403, True)
    waits = refusal(shown())
    assert (waits.status, waits.retry_after) == (503, 1.0), "its token is asked for above meanwhile"


async def test_opg_5_a_link_of_an_agent_that_is_met_first_ends_with_the_reason(dock):
    """A certificate of the fleet is good for an upgrade; whose agent it is, is known with its first message."""
    dock.desk.replies["meet"] = Refused(Refusal(status=403, body="its group was not given"))
    link, end = hold(dock, AGENTS[2].peer())
    async with dock.connected():
        assert await hear(end, AGENTS[2].message(full=True)) is None
    assert link.ended == (1008, "its group was not given")


async def test_opg_6_what_is_said_once_per_connection_is_said_on_each_by_the_proxy_itself(dock):
    for _ in range(2):
        link, end = hold(dock, dock.web.peer())
        first = await hear(end, dock.web.message(full=True))
        assert SESSION in first.custom_capabilities.capabilities
        assert first.capabilities == ALLOWED
        beat = AgentToServer.FromString(dock.web.message())
        beat.ClearField("custom_message")
        second = await hear(end, beat.SerializeToString())
        assert (second.capabilities, second.HasField("custom_capabilities")) == (ALLOWED, False)
        link.close(1000, "")
        end.closed(1006)


async def test_opg_7_an_agent_that_goes_without_a_word_is_seen_to_be_gone_at_the_manager(tmp_path):
    chain = await Chain().begin(tmp_path)
    await chain.rounds()
    dock, clock = chain.dock, chain.manager.clock
    _, end = hold(dock, chain.agent.peer())
    async with dock.connected():
        await hear(end, chain.agent.end.report(force=True))

        async def presence():
            clock.elapsed += 5
            await dock.settle()
            return chain.above.relay.roll.call(chain.above.relay.index)

        assert await presence() == LINKED
        assert chain.above.is_linked
        end.closed(1006)
        assert await presence() > LINKED
        assert not chain.above.is_linked
    before = chain.above.last_contact
    clock.elapsed += 3 * chain.above.promise
    await dock.settle()
    assert chain.above.last_contact == pytest.approx(before, abs=chain.above.promise / 32)


async def test_opg_8_an_agent_that_is_given_a_uid_is_known_by_it_from_its_next_message_on(gate):
    asks = AgentToServer.FromString(stock(ONE))
    asks.flags = REQUEST_INSTANCE_UID
    answer = await say(gate, shown(), asks.SerializeToString())
    assert answer.instance_uid == ONE
    new = answer.agent_identification.new_instance_uid
    assert uuid.UUID(bytes=new).version == 7
    told = wire.AgentTold(key=new, name="new", group="fleet", kind="stock", admission="accepted")
    gate.desk.agents[new] = told
    async with gate.connected():
        assert (await say(gate, shown(), stock(new))).instance_uid == new
        await gate.settle()
    assert new in gate.desk.said_of
    assert ONE not in gate.desk.said_of, "nobody is left under the old one"
    assert gate.book.find(ONE) is None


async def test_opg_9_a_bad_frame_of_one_agent_leaves_the_others_of_its_connection_alone(gate):
    link, end = hold(gate, shown())
    async with gate.connected():
        await hear(end, stock(ONE))
        for bad in (b"\xff\xff", stock(TWO) + bytes(MESSAGE_LIMIT)):
            answer = await hear(end, bad)
            assert answer.error_response.type == BAD_REQUEST
        assert (await hear(end, stock(ONE, 1))).instance_uid == ONE
    assert not link.ended


async def test_opg_9_one_agent_that_is_not_believed_above_takes_nobody_with_it_on_the_shared_link(tmp_path):
    chain = await Chain().begin(tmp_path)
    await chain.rounds()
    other = await chain.manager.add_agent("db", "lab")
    up = wire.RelayUp.FromString(chain.dock.uplink.up())
    up.agents.insert(0, wire.AgentSaid(key=uuid.UUID(other.uid).bytes, message=b"\xff\xff"))
    up.agents.add(key=b"short", message=b"")
    up.streams.add(key=chain.above.key, stream="logs", frames=b"none")
    number = up.head.number
    down = wire.RelayDown.FromString(
        await chain.dock.relays.answer(chain.dock.record, up.SerializeToString())
    )
    assert down.head.heard == number, "all else of it holds"
    assert chain.above.via == (chain.dock.record.uid,)
    large = up.SerializeToString() + bytes(RELAY_LIMIT)
    with pytest.raises(Exception, match="is the limit"):
        await chain.dock.relays.answer(chain.dock.record, large)
    with pytest.raises(Exception, match="is the limit"):
        await chain.dock.uplink.hear(bytes(RELAY_LIMIT + 1))


async def test_opg_10_a_connection_speaks_for_the_uid_of_its_own_certificate_only(dock):
    before = dict(dock.desk.said_of)
    answer = await say(dock, dock.web.peer(), dock.db.message(full=True))
    assert "wire.instance_uid" in answer.error_response.error_message
    stolen = Agent(1, IdentityKey.create())
    with pytest.raises(Refused, match="another key"):
        async with dock.connected():
            await dock.say(stolen, full=True)
    await dock.settle()
    assert dock.desk.said_of == before


async def test_opg_10_a_token_speaks_for_no_agent_that_has_a_key(gate):
    gate.book.tell(WEB.told())
    answer = await say(gate, shown(), stock(WEB.key))
    assert "wire.instance_uid" in answer.error_response.error_message


@pytest.mark.parametrize(("status", "wait"), [(413, None), (429, 40.0), (503, 77.0), (403, None)])
async def test_opg_11_what_those_above_refuse_is_refused_with_their_status_and_time(dock, status, wait):
    dock.desk.replies["meet"] = Refused(Refusal(status=status, retry_after=wait, body="Not now."))
    async with dock.connected():
        with pytest.raises(Refused) as caught:
            await dock.say(AGENTS[2], full=True)
    found = caught.value.refusal
    assert (found.status, found.retry_after or None, found.body) == (status, wait, "Not now.")


async def test_opg_11_while_nothing_above_answers_whoever_is_not_known_here_is_told_when_to_come_again(dock):
    asking = asyncio.ensure_future(dock.say(AGENTS[2], full=True))
    await asyncio.sleep(0)
    up = wire.RelayUp.FromString(dock.uplink.up())
    (call,) = up.calls
    dock.calls.reply([wire.RelayReply(id=call.id, code="link.timeout", problem="x", retry_after=30.0)])
    with pytest.raises(Refused) as caught:
        await asking
    assert caught.value.refusal.status == 503
    assert 0 < caught.value.refusal.retry_after <= 30, "spread, so that not all come at once"
