import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import WireError
from popham.opamp.codec import (
    bad_request,
    custom,
    decode_frame,
    encode_frame,
    parse_agent,
    parse_custom,
    parse_upstream,
)
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer, CustomMessage, ServerErrorResponseType
from popham.opamp.schema.popham.v1.popham_pb2 import Admission, Directive, Enroll, Renew, Report
from popham.opamp.wire import OWN_AGENT, OWN_UPSTREAM, SESSION

UID = bytes(range(16))


def varint(value: int, pad: int = 0) -> bytes:
    found = []
    while True:
        found.append(value & 0x7F)
        value >>= 7
        if not value:
            break
    found += [0] * pad
    return bytes([byte | 0x80 for byte in found[:-1]] + [found[-1]])


@given(st.binary(max_size=200))
def test_ops_5_a_message_on_a_websocket_has_the_header_zero_and_then_the_protobuf(data):
    assert encode_frame(data)[0] == 0
    assert decode_frame(encode_frame(data)) == data


@pytest.mark.parametrize("pad", range(10))
def test_ops_4_a_header_of_one_to_ten_bytes_is_understood(pad):
    assert decode_frame(varint(0, pad) + b"rest") == b"rest"


@given(st.integers(min_value=1, max_value=2**64 - 1))
def test_ops_4_a_header_other_than_zero_is_malformed(value):
    with pytest.raises(WireError, match="header"):
        decode_frame(varint(value) + b"rest")


def test_ops_4_a_header_that_does_not_end_is_malformed():
    with pytest.raises(WireError, match="does not end"):
        decode_frame(b"\x80" * 11)


def test_ops_4_no_bytes_at_all_are_an_empty_message():
    assert decode_frame(b"") == b""


@given(st.binary(max_size=300))
def test_ops_22_whatever_comes_is_a_message_or_a_wire_error(data):
    with contextlib.suppress(WireError):
        assert len(parse_agent(data).instance_uid) == 16


def test_ops_6_a_message_over_the_limit_is_refused_before_it_is_parsed():
    data = AgentToServer(instance_uid=UID).SerializeToString()
    with pytest.raises(WireError) as caught:
        parse_agent(data, limit=len(data) - 1)
    assert caught.value.code == "wire.too_large"
    assert parse_agent(data, limit=len(data)).instance_uid == UID


@pytest.mark.parametrize("length", [0, 15, 17, 26])
def test_opc_4_an_instance_uid_has_sixteen_bytes(length):
    with pytest.raises(WireError, match="instance_uid"):
        parse_agent(AgentToServer(instance_uid=bytes(length)).SerializeToString())


def test_ops_21_a_bad_request_carries_nothing_but_the_error_and_who_is_meant():
    answer = parse_upstream(bad_request(UID, "no such thing"))
    assert answer.error_response.type == ServerErrorResponseType.ServerErrorResponseType_BadRequest
    assert {field.name for field, _ in answer.ListFields()} == {
        "instance_uid",
        "capabilities",
        "error_response",
    }


def test_ops_51_unknown_fields_are_ignored():
    known = AgentToServer(instance_uid=UID, sequence_num=3).SerializeToString()
    unknown = known + bytes([(90 << 3 | 2) & 0x7F | 0x80, (90 << 3 | 2) >> 7, 3]) + b"abc"
    assert parse_agent(unknown).sequence_num == 3


@pytest.mark.parametrize("message", [Report(generation=1), Directive(), Enroll(), Renew(), Admission()])
def test_each_of_our_messages_travels_under_its_own_name(message):
    wrapped = custom(message)
    assert parse_custom(wrapped) == message


def test_ops_46_a_custom_message_that_is_not_ours_is_ignored():
    assert parse_custom(CustomMessage(capability="com.example/1", type="report", data=b"\xff")) is None
    assert parse_custom(CustomMessage(capability=SESSION, type="other")) is None


def test_a_custom_message_of_ours_that_is_malformed_is_refused():
    with pytest.raises(WireError):
        parse_custom(CustomMessage(capability=SESSION, type="report", data=b"\xff"))


def test_ops_16_and_opc_6_only_defined_capability_bits_are_set():
    assert int(OWN_AGENT) & 1
    assert int(OWN_AGENT) < 0x10000
    assert int(OWN_UPSTREAM) & 1
    assert int(OWN_UPSTREAM) < 0x80
