from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import WireError
from popham.opamp.codec import custom, parse_agent, parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentDescription,
    AgentDisconnect,
    AgentIdentification,
    AgentToServer,
    AnyValue,
    CustomCapabilities,
    KeyValue,
    RemoteConfigStatus,
    ServerErrorResponse,
    ServerToAgent,
)
from popham.opamp.schema.popham.v1.popham_pb2 import Append, Report, Standings
from popham.opamp.session import AgentSession, Ear, Missing, Parts
from popham.opamp.wire import OWN_AGENT, REPORT_FULL_STATE, SESSION

UID = bytes(range(16))
ANSWER = ServerToAgent(instance_uid=UID).SerializeToString()


def describe(name: str) -> AgentDescription:
    pair = KeyValue(key="service.name", value=AnyValue(string_value=name))
    return AgentDescription(identifying_attributes=[pair])


def parts(name: str = "a", state: bytes = b"s1") -> Parts:
    status = RemoteConfigStatus(last_remote_config_hash=b"h")
    return Parts(describe(name), status, custom(Report(generation=1, state=state)))


def say(session: AgentSession, what: Parts, *, force: bool = True) -> AgentToServer | None:
    data = session.message(what, force=force)
    return None if data is None else parse_agent(data)


@pytest.fixture
def session() -> AgentSession:
    return AgentSession(UID, int(OWN_AGENT), (SESSION,))


def test_opc_2_the_first_message_is_the_full_state(session):
    said = say(session, parts())
    assert said.HasField("agent_description")
    assert said.HasField("remote_config_status")
    assert list(said.custom_capabilities.capabilities) == [SESSION]


def test_opc_7_what_was_answered_and_did_not_change_is_omitted(session):
    say(session, parts())
    session.receive(ANSWER)
    said = say(session, parts())
    assert not said.HasField("agent_description")
    assert not said.HasField("custom_message")
    assert not said.HasField("custom_capabilities")


def test_opc_3_nothing_is_said_when_nothing_changed(session):
    say(session, parts())
    session.receive(ANSWER)
    assert say(session, parts(), force=False) is None


def test_opc_3_a_change_is_said_without_being_asked_for_and_only_the_change(session):
    say(session, parts())
    session.receive(ANSWER)
    said = say(session, parts(state=b"s2"), force=False)
    assert said.HasField("custom_message")
    assert not said.HasField("agent_description")


@given(st.lists(st.booleans(), max_size=30))
def test_opc_5_each_message_has_the_next_number(forces):
    session = AgentSession(UID, int(OWN_AGENT))
    said = [say(session, parts(), force=force) for force in forces]
    numbers = [message.sequence_num for message in said if message]
    assert numbers == list(range(len(numbers)))


def test_opc_6_capabilities_are_always_set(session):
    for _ in range(3):
        assert say(session, parts()).capabilities == int(OWN_AGENT)


def test_opc_8_the_same_answer_twice_does_no_harm(session):
    say(session, parts())
    session.receive(ANSWER)
    session.receive(ANSWER)
    assert say(session, parts(), force=False) is None


def test_opc_9_everything_is_said_when_the_full_state_is_asked_for(session):
    say(session, parts())
    session.receive(ServerToAgent(instance_uid=UID, flags=REPORT_FULL_STATE).SerializeToString())
    said = say(session, parts(), force=False)
    assert said.HasField("agent_description")
    assert said.HasField("remote_config_status")
    assert said.HasField("custom_capabilities")


def test_what_was_never_answered_is_said_again(session):
    say(session, parts())
    session.receive(ANSWER)
    say(session, parts(state=b"s2"))
    session.lost()
    assert say(session, parts(state=b"s2")).HasField("custom_message")


def test_what_was_refused_is_said_again_only_when_a_message_is_due(session):
    say(session, parts())
    session.receive(ANSWER)
    say(session, parts(state=b"s2"))
    refusal = ServerToAgent(instance_uid=UID, error_response=ServerErrorResponse(error_message="no"))
    session.receive(refusal.SerializeToString())
    assert say(session, parts(state=b"s2")).HasField("custom_message")


def test_a_new_link_begins_with_our_report_and_little_else(session):
    say(session, parts())
    session.receive(ANSWER)
    session.opened()
    said = say(session, parts())
    assert said.HasField("custom_message")
    assert not said.HasField("agent_description")


def test_opc_18_goodbye_is_the_last_message(session):
    say(session, parts())
    said = parse_agent(session.goodbye())
    assert said.HasField("agent_disconnect")
    assert said.sequence_num == 1


def test_opc_20_a_new_instance_uid_is_adopted(session):
    new = bytes(reversed(UID))
    identification = AgentIdentification(new_instance_uid=new)
    session.receive(ServerToAgent(instance_uid=UID, agent_identification=identification).SerializeToString())
    assert say(session, parts()).instance_uid == new


def test_an_answer_for_another_agent_is_refused(session):
    with pytest.raises(WireError, match="another agent"):
        session.receive(ServerToAgent(instance_uid=bytes(16)).SerializeToString())


def full(number: int, *capabilities: str) -> AgentToServer:
    return AgentToServer(
        instance_uid=UID,
        sequence_num=number,
        capabilities=1,
        agent_description=describe("a"),
        custom_capabilities=CustomCapabilities(capabilities=capabilities) if capabilities else None,
    )


def beat(number: int) -> AgentToServer:
    return AgentToServer(instance_uid=UID, sequence_num=number, capabilities=1)


@pytest.mark.parametrize("first", [0, 1, 4711])
def test_ops_19_the_first_message_of_an_unknown_agent_may_have_any_number(first):
    ear = Ear()
    assert ear.hear(full(first)) is Missing.NOTHING
    assert ear.hear(beat(first + 1)) is Missing.NOTHING


@given(st.integers(min_value=2, max_value=1000))
def test_ops_19_a_gap_asks_for_the_full_state(gap):
    ear = Ear()
    ear.hear(full(1))
    assert ear.hear(beat(1 + gap)) is Missing.FULL_STATE


def test_ops_14_a_duplicate_is_no_gap():
    ear = Ear()
    ear.hear(full(1))
    ear.hear(beat(2))
    assert ear.hear(beat(2)) is Missing.NOTHING
    assert ear.hear(beat(3)) is Missing.NOTHING


def test_ops_19_a_full_state_fills_the_gap_it_comes_with():
    ear = Ear()
    ear.hear(full(1))
    assert ear.hear(full(9)) is Missing.NOTHING


def test_ops_19_an_agent_never_described_is_asked_for_its_full_state():
    assert Ear().hear(beat(5)) is Missing.FULL_STATE


def test_ops_20_what_was_heard_outlives_a_link():
    ear = Ear()
    ear.hear(full(1, SESSION))
    assert ear.hear(beat(2)) is Missing.NOTHING
    assert ear.custom == frozenset({SESSION})


def test_ops_17_capabilities_may_change_with_any_message_and_zero_means_unchanged():
    ear = Ear()
    ear.hear(full(1))
    ear.hear(AgentToServer(instance_uid=UID, sequence_num=2, capabilities=0x3007))
    ear.hear(AgentToServer(instance_uid=UID, sequence_num=3))
    assert ear.capabilities == 0x3007


def test_a_message_with_nothing_but_its_uid_neither_advances_nor_breaks_the_sequence():
    ear = Ear()
    ear.hear(full(7))
    assert ear.hear(AgentToServer(instance_uid=UID)) is Missing.NOTHING
    assert ear.hear(beat(8)) is Missing.NOTHING


def test_quirk_python_9_goodbye_never_asks_for_anything():
    ear = Ear()
    goodbye = AgentToServer(
        instance_uid=UID, sequence_num=9, capabilities=1, agent_disconnect=AgentDisconnect()
    )
    assert ear.hear(goodbye) is Missing.NOTHING


def test_an_agent_without_custom_capabilities_in_its_full_state_has_none():
    ear = Ear()
    ear.hear(full(1))
    assert ear.custom == frozenset()


def test_only_an_answer_to_a_report_counts_as_one(session):
    capable = ServerToAgent(instance_uid=UID, custom_capabilities=CustomCapabilities(capabilities=[SESSION]))
    say(session, parts(state=b"s1"))
    assert (session.said, session.answered) == (1, 0)
    session.receive(ANSWER)
    assert session.answered == 0, "news without a question"
    session.receive(capable.SerializeToString())
    session.receive(capable.SerializeToString())
    assert session.answered == 1
    say(session, parts(state=b"s2"))
    assert (session.said, session.answered) == (2, 1)
    session.opened()
    assert (session.said, session.answered) == (2, 2), "over a new link it is said again"


def test_results_are_said_with_each_heartbeat_and_that_they_are_heard_is_no_news(session):
    said = custom(Report(generation=1, results=[b"r"]))
    with_results = replace(parts(), results=said)
    say(session, parts())
    session.receive(ANSWER)
    for force in (False, True, True):
        heard = parse_custom(say(session, with_results, force=force).custom_message)
        assert (list(heard.results), heard.state) == ([b"r"], b"")
        session.receive(ANSWER)
    assert say(session, with_results, force=False) is None
    assert say(session, parts(), force=False) is None
    assert not say(session, parts()).HasField("custom_message")


def test_a_report_and_results_are_one_message(session):
    said = custom(Report(generation=1, results=[b"r"]))
    heard = parse_custom(say(session, replace(parts(state=b"s"), results=said)).custom_message)
    assert (list(heard.results), heard.state, heard.generation) == ([b"r"], b"s", 1)


def test_what_is_said_beside_the_reports_has_no_number_and_breaks_no_row(session):
    ear = Ear()
    ear.hear(say(session, parts()))
    beside = parse_agent(session.beside(custom(Append(stream="logs"))))
    assert (beside.instance_uid, beside.sequence_num, beside.capabilities) == (UID, 0, 0)
    assert parse_custom(beside.custom_message).stream == "logs"
    assert ear.hear(beside) is Missing.NOTHING
    assert ear.hear(say(session, parts(state=b"s2"))) is Missing.NOTHING


def test_what_upstream_says_of_streams_answers_no_report(session):
    say(session, parts())
    session.receive(ServerToAgent(custom_message=custom(Standings())).SerializeToString())
    session.lost()
    assert say(session, parts()).HasField("agent_description")
