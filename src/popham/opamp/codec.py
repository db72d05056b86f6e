"""Bytes to messages and back, with limits before anything is parsed.

On a WebSocket each message is a varint header, always 0, and the protobuf;
over HTTP it is the bare protobuf.  Source: OpAMP v0.20, WebSocket Message Format.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from popham.errors import WireError
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentToServer,
    CustomMessage,
    ServerErrorResponse,
    ServerErrorResponseType,
    ServerToAgent,
)
from popham.opamp.schema.popham.v1.popham_pb2 import (
    Admission,
    Append,
    Directive,
    Enroll,
    Ready,
    Renew,
    Report,
    Standings,
    Wake,
)
from popham.opamp.wire import (
    ADMISSION,
    APPEND,
    DIRECTIVE,
    ENROLL,
    OWN_UPSTREAM,
    PROXY,
    READY,
    RENEW,
    REPORT,
    SESSION,
    STANDINGS,
    STREAMS,
    TRUST,
    WAKE,
)

MESSAGE_LIMIT = 4 * 1024 * 1024
"""Bytes of one message, either direction. Source: guarantees SEC-9 (OpAMP recommends 64 MiB)."""
_VARINT_LIMIT = 10
_SENTENCE = 1000
"""Characters of an error that travels; it may quote what the other end said."""
_M = TypeVar("_M", bound=Message)

Custom = Report | Directive | Enroll | Renew | Admission | Append | Ready | Standings | Wake
_CUSTOM: dict[tuple[str, str], type[Custom]] = {
    (SESSION, REPORT): Report,
    (SESSION, DIRECTIVE): Directive,
    (TRUST, ENROLL): Enroll,
    (TRUST, RENEW): Renew,
    (TRUST, ADMISSION): Admission,
    (STREAMS, APPEND): Append,
    (STREAMS, READY): Ready,
    (STREAMS, STANDINGS): Standings,
    (PROXY, WAKE): Wake,
}


def encode_frame(data: bytes) -> bytes:
    """Return ``data`` with the WebSocket header before it."""
    return b"\0" + data


def decode_frame(data: bytes) -> bytes:
    """Return the protobuf of a WebSocket message; no bytes at all are an empty message.

    Raises:
        WireError: The header is not 0, or does not end.
    """
    if not data:
        return data
    value = 0
    for index, byte in enumerate(data[:_VARINT_LIMIT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value:
                raise WireError("header", f"a message has the header {value}, and only 0 is defined")
            return data[index + 1 :]
    raise WireError("header", "a message's header does not end")


def parse_agent(data: bytes, *, limit: int = MESSAGE_LIMIT) -> AgentToServer:
    """Return what an agent said.

    Raises:
        WireError: It is over ``limit`` bytes, no AgentToServer, or its
            instance_uid is not 16 bytes long.
    """
    message = _parse(AgentToServer(), data, limit)
    if len(message.instance_uid) != 16:
        problem = f"instance_uid has {len(message.instance_uid)} bytes, and needs 16"
        raise WireError("instance_uid", problem, "Upgrade the agent to OpAMP 0.10 or newer")
    return message


def read_heartbeat(data: bytes, at: int = 0) -> tuple[bytes, int, int] | None:
    """Return (instance_uid, sequence_num, capabilities) of a message from ``at`` on that has nothing else.

    None if there is more in it, or it is written in another way; :func:`parse_agent` reads it then.
    Reading these three by hand costs half of what parsing a message does.
    """
    size = len(data)
    start = at + 18
    if not start <= size <= start + 2 * _VARINT_LIMIT or data[at : at + 2] != b"\n\x10":
        return None
    key, number, capabilities = data[at + 2 : start], 0, 0
    at = start
    if at < size and data[at] == 0x10:
        number, at = _varint(data, at + 1, size)
    if at < size and data[at] == 0x20:
        capabilities, at = _varint(data, at + 1, size)
    return (key, number, capabilities) if at == size else None


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a number below 2**63 and where it ends; an end past ``end`` if it is none."""
    byte = data[at] if at < end else 0x80
    if byte < 0x80:
        return byte, at + 1
    if at + 1 < end and data[at + 1] < 0x80:
        return byte & 0x7F | data[at + 1] << 7, at + 2
    value, shift = 0, 0
    while at < end and shift < 63:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return 0, end + 1


def parse_upstream(data: bytes, *, limit: int = MESSAGE_LIMIT) -> ServerToAgent:
    """Return what an upstream said.

    Raises:
        WireError: It is over ``limit`` bytes or no ServerToAgent.
    """
    return _parse(ServerToAgent(), data, limit)


def custom(message: Custom) -> CustomMessage:
    """Return one of our messages, wrapped to travel."""
    for (capability, kind), cls in _CUSTOM.items():
        if isinstance(message, cls):
            return CustomMessage(capability=capability, type=kind, data=message.SerializeToString())
    raise TypeError(type(message).__name__)


def parse_custom(message: CustomMessage) -> Custom | None:
    """Return one of our messages, unwrapped; None if it is none of ours.

    Raises:
        WireError: It is ours by name and malformed.
    """
    cls = _CUSTOM.get((message.capability, message.type))
    return None if cls is None else _parse(cls(), message.data, MESSAGE_LIMIT)


def bad_request(uid: bytes, text: str) -> bytes:
    """Return the answer to a message that cannot be processed; nothing else may be in it."""
    error = ServerErrorResponse(
        type=ServerErrorResponseType.ServerErrorResponseType_BadRequest, error_message=text[:_SENTENCE]
    )
    return ServerToAgent(
        instance_uid=uid, capabilities=int(OWN_UPSTREAM), error_response=error
    ).SerializeToString()


def _parse(message: _M, data: bytes, limit: int) -> _M:
    if len(data) > limit:
        raise WireError("too_large", f"a message has {len(data)} bytes, and {limit} is the limit")
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise WireError("malformed", f"{len(data)} bytes are no {type(message).__name__}") from error
    return message
