"""Takes note of what a message says: parts into a record, and what of it is new."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from popham.model.communication import Dialer
from popham.model.fleet import AgentKind
from popham.model.generation import GENERATION, OPERATIONS, check_generations
from popham.model.operation import DOCUMENTS
from popham.model.status import StateRecord
from popham.opamp.codec import parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentDescription, AgentToServer, KeyValue
from popham.opamp.schema.popham.v1.popham_pb2 import Report
from popham.opamp.wire import SESSION
from popham.trust.verify import open_state
from popham.upstream.record import Record, RemoteStatus

_ATTRIBUTES = 64
_TEXT = 256
LACKS_MAX = 32
"""Bodies that an agent may ask for in one report."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_HASH = 64
"""Bytes of a hash that is kept; ours have 32, and a longer one differs from them anyway."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What was new in a message.

    Attributes:
        changed: Something must be made durable.
        hello: The agent opened a session and is to be told the rules of the house.
        bundle: A bundle the agent was asked for; empty if none.
        results: How many results of operations there were.
        durable: Ends once they are; None if nothing of them was new.
    """

    changed: bool
    hello: bool = False
    bundle: bytes = b""
    results: int = 0
    durable: Awaitable[None] | None = None


HearResults = Callable[[Record, Sequence[bytes]], Awaitable[None] | None]
"""Takes note of results, as :meth:`popham.upstream.orders.Ordering.hear`."""


def hear_none(_record: Record, _results: Sequence[bytes]) -> None:
    """Take no note of results: nothing was ordered."""


def believe_state(_state: StateRecord) -> bool:
    """Believe any state record that the agent signed: it came from the agent itself."""
    return True


def note(
    record: Record,
    message: AgentToServer,
    hear: HearResults = hear_none,
    believes: Callable[[StateRecord], bool] = believe_state,
    *,
    vouched: bool = False,
) -> Heard:
    """Write what ``message`` says into ``record`` and return what of it is new.

    Args:
        record: The agent.
        message: What it said, or somebody says that it said.
        hear: Takes note of results.
        believes: Asked whether a new state record is to be taken, which the agent has signed.
        vouched: Whether it came from the agent itself, and others check its signature.

    Raises:
        WireError: A part is malformed, or the agent's generation may not talk to us.
        TrustError: The state record, or a result, is not signed by this agent.
    """
    report = parse_custom(message.custom_message) if message.HasField("custom_message") else None
    state, durable = None, None
    results: Sequence[bytes] = ()
    if isinstance(report, Report):
        # Whatever may be refused comes before anything is written down.
        check_generations(GENERATION, report.generation or GENERATION, Dialer.AGENT)
        state = _open_state(record, report.state, vouched=vouched)
        if state is not None and not believes(state):
            state = None
        results = report.results[:DOCUMENTS] if _takes_operations(state or record.state) else ()
        durable = hear(record, results) if results else None
    changed = _note_kind(record)
    if message.HasField("agent_description"):
        # It began anew, perhaps without what it was told.
        record.settings_told, record.settings = b"", RemoteStatus()
        if record.orders is not None:
            record.orders.described = True
        changed |= record.note_description(attributes(message.agent_description))
    changed |= _note_remote(record, message)
    if message.HasField("connection_settings_status"):
        told = message.connection_settings_status
        record.settings = RemoteStatus(told.last_connection_settings_hash[:_HASH], told.status)
    if not isinstance(report, Report):
        return Heard(changed)
    if state is not None:
        record.note_state(state, report.state)
    record.lacks = tuple(one for one in report.lacks[:LACKS_MAX] if _DIGEST.fullmatch(one))
    return Heard(
        changed or state is not None,
        hello=report.generation > 0,
        bundle=report.bundle,
        results=len(results),
        durable=durable,
    )


def _note_remote(record: Record, message: AgentToServer) -> bool:
    """Note how an agent says that it took its configuration; return whether that is another than before."""
    if not message.HasField("remote_config_status"):
        return False
    status = message.remote_config_status
    remote = RemoteStatus(
        status.last_remote_config_hash[:_HASH], status.status, status.error_message[: _TEXT * 4]
    )
    former, record.remote = record.remote, remote
    return remote != former


def _note_kind(record: Record) -> bool:
    """Settle what the agent is, once it has declared its custom capabilities."""
    if record.kind is not AgentKind.UNKNOWN or record.ear.custom is None:
        return False
    ours = SESSION in record.ear.custom and bool(record.public_key)
    record.kind = AgentKind.OWN if ours else AgentKind.STOCK
    return True


def find_newer(record: Record, message: AgentToServer) -> StateRecord | None:
    """Return the state record that a message brings if the agent signed it and none that is known is as new.

    Raises:
        WireError: It is malformed.
        TrustError: It is not signed by this agent.
    """
    report = parse_custom(message.custom_message) if message.HasField("custom_message") else None
    return _open_state(record, report.state) if isinstance(report, Report) and record.public_key else None


def _open_state(record: Record, envelope: bytes, *, vouched: bool = False) -> StateRecord | None:
    """Return the state record in ``envelope`` if it is newer than the one known."""
    if not envelope or envelope == record.envelope:
        return None
    state = open_state(envelope, public_der=record.public_key, uid=record.uid, vouched=vouched)
    known = record.state is not None and state.revision <= record.state.revision
    return None if known else state


def _takes_operations(state: StateRecord | None) -> bool:
    """Return whether an agent is told what was heard of it: what others say would be kept for ever."""
    return state is not None and state.generation >= OPERATIONS


def attributes(description: AgentDescription) -> dict[str, str]:
    """Return identifying and other attributes as text, bounded in number and length."""
    pairs = [*description.identifying_attributes, *description.non_identifying_attributes]
    return {pair.key[:_TEXT]: _text(pair) for pair in pairs[:_ATTRIBUTES]}


def _text(pair: KeyValue) -> str:
    """Return a plain value as text; lists, maps and bytes are not for people."""
    kind = pair.value.WhichOneof("value")
    plain = kind in {"string_value", "bool_value", "int_value", "double_value"}
    return str(getattr(pair.value, kind))[:_TEXT] if kind and plain else ""
