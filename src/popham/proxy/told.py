"""What a proxy is told of one agent, written into its record; what agents themselves say is left as it is."""

from __future__ import annotations

import sys
import uuid
from hashlib import sha256
from typing import Final

from popham.errors import WireError
from popham.model.communication import Dialer
from popham.model.fleet import Admission, AgentKind
from popham.model.names import NAME_MAX
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.opamp.session import Ear
from popham.opamp.wire import SESSION
from popham.upstream.record import Record

ORDERS_MAX: Final = 64
"""Documents of operations of one agent."""
_NAME_MAX: Final = 4 * NAME_MAX
_OWN: Final = frozenset({SESSION})
_KINDS: Final = {str(kind): kind for kind in AgentKind}
_DIALERS: Final = {str(dialer): dialer for dialer in Dialer}
_ADMISSIONS: Final = {str(admission): admission for admission in Admission}


def known(key: bytes, data: bytes) -> wire.Known:
    """Return how something that was told is named after a boot."""
    return wire.Known(key=key, digest=sha256(data).digest()[:8])


def check_told(told: wire.AgentTold) -> None:
    """Return if what was told of an agent has the form that it needs.

    Raises:
        WireError: ``wire.relay``: it has not.
    """
    if len(told.key) != 16 or (not told.gone and told.admission not in _ADMISSIONS):
        raise WireError("relay", "what was told of an agent does not say of which, or whether it is admitted")
    if max(len(told.name), len(told.group)) > _NAME_MAX or len(told.orders) > ORDERS_MAX:
        raise WireError("relay", "what was told of an agent is too large")


def record_of(told: wire.AgentTold) -> Record:
    """Return the record of an agent of which nothing was heard yet; raises as :func:`check_told`."""
    check_told(told)
    kind = _KINDS.get(told.kind, AgentKind.UNKNOWN)
    ear = Ear()
    if kind is AgentKind.OWN:
        ear.custom = _OWN
    key = told.key  # each time that it is read there it is another object
    record = Record(
        uid=str(uuid.UUID(bytes=key)), key=key, name=told.name, group=told.group, kind=kind, ear=ear
    )
    write(record, told)
    return record


def write(record: Record, told: wire.AgentTold) -> bool:
    """Write into a record what others than the agent decide; return whether its key is another by now."""
    before = record.public_key
    record.settled = None
    record.name, record.group = told.name, sys.intern(told.group)
    record.admission = _ADMISSIONS[told.admission]
    if record.kind is AgentKind.UNKNOWN:
        record.kind = _KINDS.get(told.kind, AgentKind.UNKNOWN)
    record.public_key, record.former_key = told.public_key, told.former_key
    record.assignment, record.assignment_seq = told.assignment, told.assignment_seq
    record.certificate_until = told.certificate_until
    record.dialer, record.candidate = _DIALERS.get(told.dialer), told.candidate
    return before != record.public_key
