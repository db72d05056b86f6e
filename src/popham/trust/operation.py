"""Operations and their results: signed by the director, and by the agent that answers.

The order of checks is that of :mod:`popham.trust.verify`: nothing of a document is looked at before its
signature holds.
"""

from __future__ import annotations

from popham.errors import TrustError, WireError
from popham.model.names import DEFAULT_TENANT
from popham.model.operation import OPERATION_TYPE, RESULT_TYPE, Operation, Result
from popham.trust.assignment import check_audience, refuse_critical
from popham.trust.document import parse_strict
from popham.trust.dsse import Envelope, seal
from popham.trust.keys import IdentityKey, SigningKey
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import verify_alone

LIMIT = 8 * 1024
"""Bytes of an operation or a result in its envelope: each has to fit into a message on a held link."""


def seal_operation(operation: Operation, director: SigningKey) -> bytes:
    """Return ``operation`` in an envelope signed by the director."""
    return seal(OPERATION_TYPE, operation.payload(), director)


def open_operation(envelope: bytes, *, tuf: TrustedTuf, uid: str, tenant: str = DEFAULT_TENANT) -> Operation:
    """Return the operation in ``envelope``; whether it is over, or was obeyed before, is the caller's matter.

    One of a kind that this program does not know is genuine nevertheless; its kind is None.

    Args:
        envelope: What came over the wire.
        tuf: Says who the director is.
        uid: The agent's instance_uid, as a UUID string.
        tenant: The agent's tenant.

    Raises:
        TrustError: ``trust.size``, ``trust.envelope``, ``trust.type``, ``trust.signature``, ``trust.document``,
            ``trust.crit`` or ``trust.audience``.
    """
    sealed = Envelope.parse(envelope, types=(OPERATION_TYPE,), limit=LIMIT)
    tuf.verify(sealed)
    _refuse_unknown(sealed.payload)
    try:
        found = Operation.from_payload(sealed.payload)
    except WireError as error:
        raise TrustError("document", error.problem, error.hint) from error
    check_audience("tenant", found.tenant, tenant)
    check_audience("agent", found.uid, uid)
    return found


def seal_result(result: Result, key: IdentityKey) -> bytes:
    """Return ``result`` in an envelope signed by the agent's identity key."""
    return seal(RESULT_TYPE, result.payload(), key)


def open_result(envelope: bytes, *, public_der: bytes, uid: str, tenant: str = DEFAULT_TENANT) -> Result:
    """Return the result in ``envelope``, which this agent signed, and nobody else.

    Raises:
        TrustError: As :func:`popham.trust.verify.open_state`.
    """
    sealed = Envelope.parse(envelope, types=(RESULT_TYPE,), limit=LIMIT)
    verify_alone(sealed, public_der, "result")
    _refuse_unknown(sealed.payload)
    try:
        found = Result.from_payload(sealed.payload)
    except WireError as error:
        raise TrustError("document", error.problem, error.hint) from error
    check_audience("tenant", found.tenant, tenant)
    check_audience("agent", found.uid, uid)
    return found


def _refuse_unknown(payload: bytes) -> None:
    try:
        refuse_critical(parse_strict(payload))
    except ValueError as error:
        raise TrustError("document", f"the document is malformed: {error}") from error
