"""How what an agent keeps is read: record by record, and what to do about one that is damaged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey

from popham.errors import PophamError, StateError, TrustError, WireError
from popham.model.bundle import BUNDLE_TYPE, Bundle
from popham.trust.dsse import Envelope
from popham.trust.keys import IdentityKey, load_private

_ANEW = "Restore it from a backup, or empty the state directory and run 'popham agent enroll' again"
FETCHED = "Remove that file; the agent is sent it again at its next round"
"""What to do about a damaged document."""
_REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "join.json": _ANEW,
        "identity.json": _ANEW,
        "trust.json": _ANEW,
        "floors.json": _ANEW,
        "progress.json": _ANEW,
        "assignment.json": FETCHED,
        "bundle.json": FETCHED,
        "last-good.json": FETCHED,
        "former.json": "Remove that file; an undo then goes back to what was proven before",
        "proven.json": "Remove that file; what is in force cannot be undone until another set has proven itself",
        "probation.json": "Remove that file; what was undone before is tried again",
        "drift.json": "Remove that file; what was put back is counted anew",
        "location.json": "Remove that file; the agent looks around again when it starts",
    }
)
_DIGEST = re.compile(r"[0-9a-f]{64}")
Record = TypeVar("Record")


def decode(name: str, data: bytes, kind: type[Record]) -> Record:
    """Return the record in the file of that name; raises StateError ``state.corrupt``."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise corrupt(name, str(error)) from error


def corrupt(name: str, why: str) -> StateError:
    """Return what to raise for a damaged file: it names the file, and what to do."""
    problem = f"{name} in the agent's state directory is damaged: {why}"
    return StateError("corrupt", problem, _REMEDIES[name])


def read_key(pem: bytes) -> IdentityKey:
    """Return an identity key; raises StateError ``state.corrupt`` if it is no P-256 key."""
    try:
        key = load_private(pem, "identity.json")
    except TrustError as error:
        raise corrupt("identity.json", error.problem) from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise corrupt("identity.json", "it holds no P-256 key")
    return IdentityKey(key)


def blobs_of(name: str, envelope: bytes) -> set[str] | None:
    """Return what a bundle names; None if this program does not know what stands in it."""
    try:
        payload = Envelope.parse(envelope, types={BUNDLE_TYPE}).payload
        return set(Bundle.from_payload(payload).blobs())
    except WireError:
        return None
    except PophamError as error:
        raise corrupt(name, error.problem) from error


def blob_name(sha256: str) -> str:
    """Return the file of a policy's body; raises TrustError ``trust.blob`` if that is no digest."""
    if not _DIGEST.fullmatch(sha256):
        raise TrustError("blob", f"{sha256[:100]!r} is no digest", "A digest is 64 hexadecimal digits")
    return f"blobs/{sha256}"
