"""What a lean agent says, mostly formatted beforehand.

Protobuf lets encoded messages be put one behind the other, so only the
instance_uid and the number differ from message to message.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from popham import __version__
from popham.errors import WireError
from popham.model.bundle import BUNDLE_TYPE, Bundle
from popham.model.generation import GENERATION
from popham.model.status import STATE_TYPE, Outcome, StateRecord
from popham.opamp.codec import custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentDescription,
    AgentToServer,
    AnyValue,
    CustomCapabilities,
    KeyValue,
    RemoteConfigStatus,
    RemoteConfigStatuses,
    ServerToAgent,
)
from popham.opamp.schema.popham.v1.popham_pb2 import Report
from popham.opamp.wire import BUNDLE_KEY, OPAMP_PATH, OWN_AGENT, SESSION, TRUST, AgentCapability
from popham.testing.load.identity import LoadIdentity
from popham.trust.dsse import ENVELOPE_LIMIT, Envelope
from popham.trust.verify import seal_state

STOCK_AGENT = (
    AgentCapability.REPORTS_STATUS
    | AgentCapability.ACCEPTS_REMOTE_CONFIG
    | AgentCapability.REPORTS_REMOTE_CONFIG
    | AgentCapability.REPORTS_HEARTBEAT
)
PROMISE = 300.0
"""Seconds, before a bundle says otherwise."""
_APPLIED = RemoteConfigStatuses.RemoteConfigStatuses_APPLIED


@dataclass(slots=True)
class Speech:
    """Composes the messages of one agent.

    Attributes:
        key: Its instance_uid, as a message begins.
        number: Of the last message.
        nonce: The newest that a Proxy Manager handed on, hexadecimal; what is signed from now on names it.
    """

    identity: LoadIdentity
    key: bytes = b""
    number: int = 0
    nonce: str = ""

    def __post_init__(self) -> None:
        """Begin to count."""
        self.key = b"\x0a\x10" + uuid.UUID(self.identity.uid).bytes

    def hello(self) -> bytes:
        """Return the first message of a link, with all there is to say."""
        self.number += 1
        if not self.identity.own:
            return self.key + b"\x10" + _varint(self.number) + _stock_hello(self.identity.uid)
        message = AgentToServer(
            sequence_num=self.number,
            capabilities=int(OWN_AGENT),
            agent_description=describe(self.identity.uid, "popham-agent"),
            custom_capabilities=CustomCapabilities(capabilities=[SESSION, TRUST]),
            custom_message=custom(Report(generation=GENERATION, state=self.state())),
        )
        return self.key + message.SerializeToString()

    def heartbeat(self) -> bytes:
        """Return a message with nothing new."""
        self.number += 1
        tail = _OWN_TAIL if self.identity.own else _STOCK_TAIL
        return self.key + b"\x10" + _varint(self.number) + tail

    def obey(self, answer: ServerToAgent) -> bytes:
        """Return the report that what was offered is applied; empty if nothing was offered."""
        if not answer.HasField("remote_config"):
            return b""
        self.number += 1
        head = self.key + b"\x10" + _varint(self.number)
        if not self.identity.own:
            return head + _stock_applied(answer.remote_config.config_hash)
        offered = answer.remote_config.config.config_map[BUNDLE_KEY].body
        if not offered.startswith(b'{"payload'):
            raise WireError("reference", "a lean agent takes bundles only where they stand in the message")
        held = _held(offered, self.identity.uid)
        self.identity.state = seal_next(self.identity, held, nonce=self.nonce)
        status = RemoteConfigStatus(last_remote_config_hash=answer.remote_config.config_hash, status=_APPLIED)
        message = AgentToServer(
            capabilities=int(OWN_AGENT),
            remote_config_status=status,
            custom_message=custom(Report(state=self.identity.state)),
        )
        return head + message.SerializeToString()

    def sign_anew(self) -> bytes:
        """Return the message that a Proxy Manager wants whose Manager found the nonce of the last record old."""
        payload = Envelope.parse(self.state(), types=(STATE_TYPE,), limit=ENVELOPE_LIMIT).payload
        self.identity.revision += 1
        record = replace(StateRecord.from_payload(payload), revision=self.identity.revision, nonce=self.nonce)
        self.identity.state = seal_state(record, self.identity.signer())
        return self.hello()

    def state(self) -> bytes:
        """Return the signed state record."""
        if not self.identity.state:
            self.identity.state = seal_next(self.identity, {})
        return self.identity.state


def holding(bundle: Bundle, *, candidate: bool = False) -> dict[str, Any]:
    """Return what stands in the state record of whoever has applied ``bundle``, or its candidate side."""
    side = bundle.candidate if candidate and bundle.candidate else bundle.stable
    held = side.locations[side.default_location]
    stable_serial = bundle.rollout.stable_serial if bundle.rollout else bundle.serial
    resolved = held.resolved_digest
    return {
        "serial": bundle.serial,
        "version": bundle.version,
        "content_digest": bundle.content_digest,
        "resolved": resolved,
        "applied_serial": bundle.serial if candidate else stable_serial,
        "applied_digest": bundle.content_digest,
        "applied_resolved": resolved,
        "outcome": Outcome.APPLIED,
        "promise": held.communication.heartbeat,
        "mode": str(held.communication.mode),
        "dialer": str(held.communication.dialer),
    }


def seal_next(identity: LoadIdentity, held: Mapping[str, Any], *, nonce: str = "") -> bytes:
    """Return the next state record of an agent, signed; ``held`` as :func:`holding` has it, or empty."""
    identity.revision += 1
    known = {"promise": PROMISE, "mode": "push", "dialer": "agent", **held}
    record = StateRecord(
        uid=identity.uid,
        revision=identity.revision,
        group=identity.group,
        assignment=identity.assignment,
        agent_version=__version__,
        nonce=nonce,
        **known,
    )
    return seal_state(record, identity.signer())


def request(body: bytes, host: str, bearer: str) -> bytes:
    """Return one round as an HTTP request."""
    shown = f"Authorization: Bearer {bearer}\r\n" if bearer else ""
    head = (
        f"POST {OPAMP_PATH} HTTP/1.1\r\nHost: {host}\r\n{shown}"
        f"Content-Type: application/x-protobuf\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def upgrade(host: str, bearer: str) -> bytes:
    """Return the request for a held link. The key is fixed: nothing here is cached by anybody."""
    shown = f"Authorization: Bearer {bearer}\r\n" if bearer else ""
    return (
        f"GET {OPAMP_PATH} HTTP/1.1\r\nHost: {host}\r\n{shown}Connection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2ltdWxhdGVkIGFnZW50cw==\r\n\r\n"
    ).encode()


def frame(opcode: int, data: bytes) -> bytes:
    """Return a masked frame. The mask is zero, which costs the reader the same as any other."""
    size = len(data)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + data


def describe(uid: str, service: str) -> AgentDescription:
    """Return a description that names a simulated agent."""

    def pair(key: str, value: str) -> KeyValue:
        return KeyValue(key=key, value=AnyValue(string_value=value))

    return AgentDescription(
        identifying_attributes=[pair("service.name", service)],
        non_identifying_attributes=[pair("host.name", name_of(uid))],
    )


def name_of(uid: str) -> str:
    """Return the host name of a simulated agent."""
    return f"sim-{uid[-12:]}"


def described(uid: str, service: str) -> dict[str, str]:
    """Return what an upstream keeps of :func:`describe`."""
    return {"service.name": service, "host.name": name_of(uid)}


def _stock_hello(uid: str) -> bytes:
    description = describe(uid, "otelcol")
    return AgentToServer(capabilities=int(STOCK_AGENT), agent_description=description).SerializeToString()


@lru_cache(16)
def _stock_applied(config_hash: bytes) -> bytes:
    status = RemoteConfigStatus(last_remote_config_hash=config_hash, status=_APPLIED)
    return AgentToServer(capabilities=int(STOCK_AGENT), remote_config_status=status).SerializeToString()


def _held(envelope: bytes, uid: str) -> dict[str, Any]:
    """Return what the bundle in an envelope says for an agent; a lean one believes whoever it dialled."""
    bundle, stable, candidate = _opened(envelope)
    return candidate if bundle.is_candidate(uid) else stable


@lru_cache(16)
def _opened(envelope: bytes) -> tuple[Bundle, dict[str, Any], dict[str, Any]]:
    payload = Envelope.parse(envelope, types=(BUNDLE_TYPE,), limit=ENVELOPE_LIMIT).payload
    bundle = Bundle.from_payload(payload)
    return bundle, holding(bundle), holding(bundle, candidate=True)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


_OWN_TAIL = AgentToServer(capabilities=int(OWN_AGENT)).SerializeToString()
_STOCK_TAIL = AgentToServer(capabilities=int(STOCK_AGENT)).SerializeToString()
