import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from popham.errors import EnrollmentError, GrantError, WireError
from popham.model.generation import GENERATION
from popham.model.status import STATE_TYPE
from popham.net.seam import Refused
from popham.opamp.codec import custom, parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.questions import KEPT
from popham.trust.dsse import Envelope
from popham.trust.identity import make_csr
from popham.trust.keys import SigningKey
from popham.upstream.presence import UNKNOWN, decode_age

from .desk import body_of
from .dock import AGENTS, Agent, dock_at

WEB, DB = AGENTS[:2]


async def at_dock(folder, *agents, **rest):
    """Return a proxy where these agents are, of which everything was said."""
    dock = await dock_at(folder, *agents, **rest)
    async with dock.connected():
        for agent in agents:
            await dock.say(agent, full=True)
    await dock.settle()
    return dock


def directive(answer):
    return parse_custom(answer.custom_message)


async def test_an_agent_that_comes_first_is_asked_for_above_and_given_what_its_group_is_to_have(tmp_path):
    dock = await dock_at(tmp_path, WEB)
    async with dock.connected():
        await dock.say(WEB, full=True)
        await dock.settle()
        answer = await dock.say(WEB)
    assert [call.kind for call in dock.desk.calls] == ["meet"]
    assert (
        answer.remote_config.config.config_map["io.popham/bundle"].body == dock.desk.groups["fleet"].envelope
    )


async def test_sec_30_an_agent_that_was_not_given_to_the_proxy_is_turned_away(tmp_path):
    dock = await dock_at(tmp_path, WEB)
    dock.desk.replies["meet"] = GrantError("proxy", "agent web-0 is in the group x")
    async with dock.connected():
        with pytest.raises(Refused, match="group x") as refused:
            await dock.say(WEB, full=True)
    assert refused.value.refusal.status == 403
    assert dock.book.find(WEB.key) is None


async def test_what_an_agent_says_goes_up_whole_with_its_own_signature(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    said = dock.desk.said_of[WEB.key]
    message = AgentToServer.FromString(said.message)
    report = parse_custom(message.custom_message)
    assert report.state == dock.book.find(WEB.key).envelope
    said_unsigned = {part.name for part, _ in message.ListFields()} - {"instance_uid", "custom_message"}
    assert not said_unsigned, "above nothing is believed of it but what it signed"
    assert (said.address, said.promise, said.held) == ("10.0.0.7", 300.0, False)


async def test_whose_a_state_record_is_a_proxy_sees_and_its_signature_the_manager_checks(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    former, WEB.revision = dock.book.find(WEB.key).envelope, WEB.revision + 1
    sealed = Envelope.parse(WEB.state(), types=(STATE_TYPE,))
    for signatures, taken in (({DB.identity.keyid: b"x"}, False), ({WEB.identity.keyid: b"x"}, True)):
        state = replace(sealed, signatures=signatures).encode()
        message = AgentToServer.FromString(WEB.message())
        message.custom_message.CopyFrom(custom(wire.Report(generation=GENERATION, state=state)))
        teller = SimpleNamespace(key=WEB.key, peer=WEB.peer, message=message.SerializeToString)
        assert bool((await dock.say(teller)).error_response.error_message) is not taken
        assert dock.book.find(WEB.key).envelope == (state if taken else former)
    await dock.settle()
    report = parse_custom(AgentToServer.FromString(dock.desk.said_of[WEB.key].message).custom_message)
    assert report.state == state, "it is said as it came"


async def test_a_lost_message_is_said_again(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    WEB.revision += 1
    await dock.say(WEB, full=True)
    for fate in ("up lost", "down lost"):
        await dock.exchange(fate)
    dock.desk.said_of.clear()
    await dock.settle()
    assert WEB.key in dock.desk.said_of
    dock.desk.said_of.clear()
    await dock.settle()
    assert not dock.desk.said_of, "what was heard is not said again"


async def test_a_new_manager_process_hears_everything_and_tells_only_what_is_other(tmp_path):
    dock = await at_dock(tmp_path, WEB, DB)
    dock.desk.agents[DB.key].name = "renamed"
    dock.boot_manager()
    dock.desk.said_of.clear()
    told = []
    dock.book.on_told, former = (
        (lambda record, *rest: (told.append(record.uid), former(record, *rest))),
        dock.book.on_told,
    )
    await dock.settle()
    assert set(dock.desk.said_of) == {WEB.key, DB.key}
    assert told == [DB.uid]
    assert dock.book.find(DB.key).name == "renamed"


async def test_after_its_own_restart_it_answers_while_nothing_above_does(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    await dock.write()
    await dock.boot()
    answer = await dock.say(WEB, full=True)
    assert (
        answer.remote_config.config.config_map["io.popham/bundle"].body == dock.desk.groups["fleet"].envelope
    )
    asking = asyncio.ensure_future(dock.say(DB, full=True))
    await asyncio.sleep(0)
    dock.clock.elapsed += KEPT
    dock.calls.expire()
    with pytest.raises(Refused) as refused:
        await asking
    assert refused.value.refusal.status == 503
    assert refused.value.refusal.retry_after > 0


async def test_after_its_own_restart_nothing_is_told_again_that_it_knows(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    await dock.write()
    dock.record.name = "dock"
    await dock.boot()
    up = wire.RelayUp.FromString(dock.uplink.up())
    assert [one.key for one in up.groups] == [b"fleet"]
    assert [one.key for one in up.agents_known] == [WEB.key]
    down = wire.RelayDown.FromString(await dock.relays.answer(dock.record, up.SerializeToString()))
    assert not down.agents
    assert not down.groups


async def test_presence_has_a_byte_for_each_agent_heard_of(tmp_path):
    dock = await at_dock(tmp_path, WEB, DB)
    dock.clock.elapsed += 100
    async with dock.connected():
        await dock.say(DB)
    await dock.exchange()
    ages = [decode_age(byte, 300.0) for byte in dock.desk.presence]
    assert ages == [pytest.approx(100, abs=5), pytest.approx(0, abs=5)]


async def test_a_place_in_the_presence_that_is_free_says_nothing(tmp_path):
    dock = await at_dock(tmp_path, WEB, DB)
    del dock.desk.agents[WEB.key]
    dock.relays.agent_changed(WEB.uid)
    await dock.settle()
    dock.clock.elapsed += 10
    await dock.exchange()
    assert dock.desk.presence[0] == UNKNOWN
    assert len(dock.desk.presence) == 2


async def test_an_agent_that_is_gone_is_forgotten_and_asked_for_anew_when_it_comes_back(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    told = dock.desk.agents.pop(WEB.key)
    dock.relays.agent_changed(WEB.uid)
    await dock.settle()
    assert dock.book.find(WEB.key) is None
    dock.desk.agents[WEB.key] = told
    dock.desk.said_of.clear()
    async with dock.connected():
        await dock.say(WEB, full=True)
    await dock.settle()
    assert [call.kind for call in dock.desk.calls] == ["meet", "meet"]
    assert WEB.key in dock.desk.said_of


async def test_an_agent_with_nothing_new_is_said_once_it_was_heard_of(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    record = dock.book.find(WEB.key)
    dock.uplink.saying.forget(WEB.key)
    dock.desk.said_of.clear()
    for _ in range(2):
        await dock.book.contacts([record])
        await dock.settle()
    assert list(dock.desk.said_of) == [WEB.key]


async def test_a_revoked_agent_is_shut_out_at_once(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    dock.desk.agents[WEB.key].admission = "revoked"
    dock.relays.agent_changed(WEB.uid)
    await dock.settle()
    with pytest.raises(Refused, match="revoked"):
        await dock.say(WEB)


async def test_a_check_in_that_rises_asks_once(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    for _ in range(2):
        assert dock.relays.check_in(WEB.uid)
        await dock.settle()
    assert dock.asked == [WEB.uid, WEB.uid]
    dock.boot_manager()
    await dock.settle()
    assert len(dock.asked) == 2


async def test_a_state_that_was_not_believed_is_asked_for_with_the_newest_nonce(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    dock.desk.nonce_now = b"n2"
    dock.desk.agents[WEB.key].want_state = True
    dock.relays.agent_changed(WEB.uid)
    await dock.settle()
    said = directive(await dock.say(WEB))
    assert said.want_state
    assert said.nonce == b"n2"


async def test_an_enrollment_is_passed_on_and_its_answer_kept_for_who_asks_again(tmp_path):
    dock = await dock_at(tmp_path)
    agent = Agent(9)

    csr, request = make_csr(agent.identity, agent.uid), wire.Enroll(generation=4, token_id="t")
    asking = asyncio.ensure_future(dock.book.enroll(agent.peer(), agent.key, csr, request))
    await asyncio.sleep(0)
    joined = asyncio.ensure_future(dock.book.enroll(agent.peer(), agent.key, csr, request))
    await asyncio.sleep(0)
    told = agent.told()
    dock.desk.agents[agent.key] = told
    dock.desk.replies["enroll"] = wire.Admitted(
        admission="accepted", certificate=b"pem", agent=told
    ).SerializeToString()
    await dock.settle()
    assert (await asking).certificate == (await joined).certificate == b"pem"
    assert [call.kind for call in dock.desk.calls] == ["enroll"]
    assert dock.book.find(agent.key) is not None


async def test_a_refused_enrollment_says_why_and_leaves_nothing(tmp_path):
    dock = await dock_at(tmp_path)
    agent = Agent(9)

    dock.desk.replies["enroll"] = EnrollmentError("used_up_token", "this token is used up", "Make a new one")
    csr = make_csr(agent.identity, agent.uid)
    async with dock.connected():
        with pytest.raises(EnrollmentError, match="used up"):
            await dock.book.enroll(agent.peer(), agent.key, csr, wire.Enroll())
    assert not len(dock.calls)


async def test_what_is_ordered_of_the_proxy_is_obeyed_and_kept(tmp_path):
    dock = await dock_at(tmp_path)
    dock.desk.custody = {"events": "hop", "logs": "end to end", "x": "hop"}
    dock.desk.custody.pop("x")
    await dock.settle()
    assert dock.carrying.custody == {"events": "hop", "logs": "end to end"}
    await dock.write()
    await dock.boot()
    assert dock.carrying.custody == {"events": "hop", "logs": "end to end"}


async def test_frames_go_up_and_how_far_they_are_comes_back(tmp_path):
    dock = await at_dock(tmp_path, WEB)
    dock.carrying.waiting = [wire.Carried(key=WEB.key, stream="events", frames=b"f")]
    await dock.settle()
    await dock.settle()
    assert [one.frames for one in dock.desk.carried][:1] == [b"f"]
    assert not dock.carrying.waiting


async def test_status_names_groups_that_are_not_believed(tmp_path):
    dock = await at_dock(tmp_path, WEB)

    dock.desk.put_group(body_of("second"), version=2, signer=SigningKey.create())
    dock.relays.groups_changed(["fleet"])
    await dock.settle()
    dock.clock.elapsed += 10
    await dock.exchange()
    assert "trust.signature" in dock.desk.status["refused"]["fleet"]
    assert dock.book.wanted("fleet").serial == 1


async def test_sec_31_a_message_that_is_malformed_or_too_large_is_refused(tmp_path):
    dock = await dock_at(tmp_path)
    for down in (b"\xff\xff", bytes(5 * 1024 * 1024), b""):
        with pytest.raises(WireError):
            await dock.uplink.hear(down)


async def test_visits_bring_the_same_as_dialling(tmp_path):
    dock = await dock_at(tmp_path, WEB)
    asking = asyncio.ensure_future(dock.say(WEB, full=True))
    for _ in range(3):
        await asyncio.sleep(0)
        await dock.visit()
    await asking
    await dock.visit()
    assert WEB.key in dock.desk.said_of
    assert dock.book.wanted("fleet").serial == 1
