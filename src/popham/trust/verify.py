"""An agent's checks of what it was sent, and a Manager's of what an agent signed.

The order matters: size, form, type, signature, then the very bytes that were
verified are parsed, then audience, version, TUF versions.  Nothing of a
document is looked at before its signature holds (SEC-49).

What these functions return is still to be made durable by the caller: the
floor and the assignment are on disk *before* the document is obeyed (SEC-22).

Source: guarantees 3.4, steps 1 to 9, without expiry: bundles do not expire.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from popham.errors import PophamError, TrustError
from popham.model.bundle import BUNDLE_TYPE, CRITICAL, Bundle
from popham.model.names import DEFAULT_TENANT, digest
from popham.model.status import STATE_TYPE, StateRecord
from popham.trust.assignment import ASSIGNMENT_TYPE, Assignment, check_audience, refuse_critical
from popham.trust.document import parse_strict
from popham.trust.dsse import ENVELOPE_LIMIT, Envelope, seal
from popham.trust.keys import IdentityKey, PublicKey
from popham.trust.tuf import TrustedTuf

PERSONAL_LIMIT = 64 * 1024
"""Bytes of an assignment or a state record in its envelope."""
_ENTRIES_LIMIT = 64
_NUMBER_END = 2**63


@dataclass(frozen=True, slots=True)
class Floor:
    """The newest bundle accepted for one tenant and group; nothing older is.

    Attributes:
        version: Its version.
        sha256: SHA-256 of its payload, hexadecimal.
    """

    version: int
    sha256: str


def open_bundle(
    envelope: bytes, *, tuf: TrustedTuf, tenant: str, group: str, floor: Floor | None
) -> tuple[Bundle, Floor]:
    """Return the bundle in ``envelope``, and the floor to make durable before it is applied.

    Args:
        envelope: What came over the wire.
        tuf: Says who the director is.
        tenant: The agent's tenant.
        group: The group of the agent's assignment.
        floor: Of that tenant and group; None if no bundle was accepted yet.

    Raises:
        TrustError: ``trust.size``, ``trust.envelope``, ``trust.type``,
            ``trust.signature``, ``trust.document``, ``trust.crit``, ``trust.audience``,
            ``trust.rollback``, ``trust.equivocation`` or ``trust.tuf_behind``.
    """
    sealed = Envelope.parse(envelope, types=(BUNDLE_TYPE,), limit=ENVELOPE_LIMIT)
    tuf.verify(sealed)
    data = _parse_payload(sealed.payload, "bundle")
    refuse_critical(data, CRITICAL)
    for name in ("version", "serial", "issued"):
        _check_number(data, name)
    try:
        bundle = Bundle.from_payload(sealed.payload)
    except PophamError as error:
        if error.code == "wire.crit":
            raise TrustError("crit", error.problem, error.hint) from error
        raise TrustError("document", error.problem, error.hint) from error
    check_audience("tenant", bundle.tenant, tenant)
    check_audience("group", bundle.group, group)
    fresh = Floor(bundle.version, digest(sealed.payload))
    _check_floor(fresh, floor)
    _check_minimum("root", tuf.root_version, bundle)
    _check_minimum("targets", tuf.targets_version, bundle)
    return bundle, fresh


def open_assignment(
    envelope: bytes,
    *,
    tuf: TrustedTuf,
    uid: str,
    spki_sha256: str,
    seq_floor: int,
    tenant: str = DEFAULT_TENANT,
) -> Assignment:
    """Return the assignment in ``envelope``.

    Args:
        envelope: What came over the wire.
        tuf: Says who the director is.
        uid: The agent's instance_uid, as a UUID string.
        spki_sha256: Digest of the agent's public key.
        seq_floor: Sequence number of the newest accepted; 0 if none. The same
            assignment may come again.
        tenant: The agent's tenant.

    Raises:
        TrustError: ``trust.size``, ``trust.envelope``, ``trust.type``,
            ``trust.signature``, ``trust.document``, ``trust.crit``, ``trust.audience``
            or ``trust.rollback``.
    """
    sealed = Envelope.parse(envelope, types=(ASSIGNMENT_TYPE,), limit=PERSONAL_LIMIT)
    tuf.verify(sealed)
    assignment = Assignment.from_payload(sealed.payload)
    check_audience("tenant", assignment.tenant, tenant)
    check_audience("agent", assignment.uid, uid)
    check_audience("key", assignment.spki_sha256, spki_sha256)
    if assignment.seq < seq_floor:
        problem = f"assignment {assignment.seq} is older than {seq_floor}, which was accepted before"
        raise TrustError("rollback", problem)
    return assignment


def seal_state(record: StateRecord, key: IdentityKey) -> bytes:
    """Return ``record`` in an envelope signed by the agent's identity key."""
    return seal(STATE_TYPE, record.payload(), key)


def open_state(
    envelope: bytes, *, public_der: bytes, uid: str, tenant: str = DEFAULT_TENANT, vouched: bool = False
) -> StateRecord:
    """Return the state record in ``envelope``.

    Args:
        envelope: What an agent sent, perhaps through a proxy.
        public_der: The agent's public key (SPKI), as its admission has it.
        uid: The agent's instance_uid, as a UUID string.
        tenant: The agent's tenant.
        vouched: Whether the agent's key has shown already who says it, as where the agent proved it on this very
            connection: then it is looked at whose signature it is, and those above check it.

    Raises:
        TrustError: ``trust.size``, ``trust.envelope``, ``trust.type``,
            ``trust.signature``, ``trust.document`` or ``trust.audience``.
    """
    sealed = Envelope.parse(envelope, types=(STATE_TYPE,), limit=PERSONAL_LIMIT)
    if not vouched or not public_der:
        verify_alone(sealed, public_der, "state record")
    else:
        _check_signer(sealed, digest(public_der), "state record")
    data = _parse_payload(sealed.payload, "state record")
    _check_state(data)
    try:
        record = StateRecord.from_checked(data)
    except PophamError as error:
        raise TrustError("document", error.problem, error.hint) from error
    check_audience("tenant", record.tenant, tenant)
    check_audience("agent", record.uid, uid)
    return record


def verify_alone(sealed: Envelope, public_der: bytes, what: str) -> None:
    """Return if ``sealed`` is signed by the key of this SubjectPublicKeyInfo, and by it alone.

    Raises:
        TrustError: ``trust.signature``: it is not; ``what`` says of which document that is told.
    """
    key = PublicKey.from_known(public_der)
    keyid = key.keyid
    _check_signer(sealed, keyid, what)
    key.verify(sealed.signatures[keyid], sealed.pae())


def _check_signer(sealed: Envelope, keyid: str, what: str) -> None:
    """Return if nothing but this key claims to have signed ``sealed``."""
    if sealed.signatures.keys() != {keyid}:
        raise TrustError("signature", f"the {what} is not signed by the agent's key, and by it alone")


def check_blob(data: bytes, sha256: str, length: int) -> None:
    """Return if ``data`` is what a bundle names by digest and length.

    Raises:
        TrustError: ``trust.blob``: it is not.
    """
    if len(data) != length:
        problem = f"content {sha256[:16]} has {len(data)} bytes; the bundle says {length}"
        raise TrustError("blob", problem)
    if digest(data) != sha256:
        raise TrustError("blob", f"content {sha256[:16]} has another digest than the bundle says")


def _parse_payload(payload: bytes, what: str) -> dict[str, Any]:
    try:
        return parse_strict(payload)
    except ValueError as error:
        raise TrustError("document", f"the {what} is malformed: {error}") from error


def _check_floor(fresh: Floor, floor: Floor | None) -> None:
    if floor is None or fresh.version > floor.version or fresh == floor:
        return
    if fresh.version == floor.version:
        problem = f"there are two different bundles of version {fresh.version}"
        raise TrustError(
            "equivocation", problem, "Tell the fleet's administrator: two signers may be at work"
        )
    problem = f"bundle version {fresh.version} is older than {floor.version}, which was accepted before"
    raise TrustError("rollback", problem, "If the Manager was restored, its next round signs a newer one")


def _check_minimum(role: str, held: int, bundle: Bundle) -> None:
    needed = bundle.tuf.get(role, 1)
    if held < needed:
        problem = f"the bundle goes with {role} metadata {needed}; {held} is held"
        raise TrustError("tuf_behind", problem, "Fetch newer metadata from the Manager, then try again")


def _check_number(data: dict[str, Any], name: str) -> None:
    if not _is_count(data.get(name)):
        raise TrustError("document", f"the document's {name} is no number, or out of range")


def _check_state(data: dict[str, Any]) -> None:
    """Return if each known field is of its kind; which fields must be there is the record's matter."""
    for name, value in data.items():
        is_fit = _FIELDS.get(name)
        # Most fields are texts.
        if is_fit is None or (is_fit is _is_text and type(value) is str):
            continue
        if not is_fit(value):
            raise TrustError("document", f"the state record's {name} is of another kind, or too large")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _NUMBER_END


def _is_seconds(value: Any) -> bool:
    return type(value) in {int, float} and 0 <= value < _NUMBER_END


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _ENTRIES_LIMIT and all(map(_is_text, value))


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and len(value) <= _ENTRIES_LIMIT and all(map(_is_text, value.values()))


_KINDS: dict[str, Callable[[Any], bool]] = {
    "str": _is_text,
    "Outcome": _is_text,
    "int": _is_count,
    "float": _is_seconds,
    "tuple[str, ...]": _are_texts,
    "Mapping[str, str]": _is_text_map,
}
_FIELDS = {name: _KINDS[str(known.type)] for name, known in StateRecord.__dataclass_fields__.items()}
