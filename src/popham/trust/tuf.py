"""The root of trust: TUF root and targets, and the director that targets names.

Targets lists no files here; it says which key is the ``director``, who signs
bundles and assignments.  So a lost director key is replaced by new targets,
and a lost targets key by a new root, without touching any agent.

Rules:

1. Only ``tuf.api.metadata`` of the TUF library is used; its repository part is
   not stable.
2. A keyid that is not its key's own is refused, so one key never counts twice
   towards a threshold (SEC-48).
3. Nobody holds keys for snapshot and timestamp yet; a later root may name them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import CryptoSigner, Key, Signature, SSlibKey
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Role, Root, Targets
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from popham.errors import TrustError
from popham.model.names import digest
from popham.trust.document import parse_strict
from popham.trust.dsse import Envelope
from popham.trust.keys import PublicKey, SigningKey

DIRECTOR = "director"
METADATA_LIMIT = 512 * 1024
"""Bytes of root or targets. Source: python-tuf's limit for root."""
ROTATIONS_LIMIT = 256
"""Roots that may be walked at once. Source: python-tuf."""
LIFETIME = 3653 * 86400.0
"""Seconds that root and targets are valid: ten years, until rotation exists."""
_SCHEMES = {
    ("ed25519", "ed25519"),
    ("ecdsa", "ecdsa-sha2-nistp256"),
    ("ecdsa", "ecdsa-sha2-nistp384"),
}


def create_root(root: SigningKey, targets: PublicKey, *, now: float, version: int = 1) -> bytes:
    """Return root metadata that names ``root`` and ``targets``, signed by ``root``.

    Args:
        root: Key of the root role.
        targets: Key of the targets role.
        now: Unix seconds; the metadata is valid for ten years from then.
        version: Number of the metadata, from 1.
    """
    signed = Root(version=version, expires=_expiry(now), consistent_snapshot=True)
    signed.add_key(_tuf_key(root.public), Root.type)
    signed.add_key(_tuf_key(targets), Targets.type)
    return _sign(Metadata(signed), root)


def create_targets(targets: SigningKey, director: PublicKey, *, now: float, version: int = 1) -> bytes:
    """Return targets metadata that makes ``director`` the director, signed by ``targets``.

    Args:
        targets: Key of the targets role.
        director: Key that signs bundles and assignments.
        now: Unix seconds; the metadata is valid for ten years from then.
        version: Number of the metadata, from 1.
    """
    role = DelegatedRole(DIRECTOR, [director.keyid], 1, terminating=True, paths=[])
    delegations = Delegations({director.keyid: _tuf_key(director)}, {DIRECTOR: role})
    signed = Targets(version=version, expires=_expiry(now), delegations=delegations)
    return _sign(Metadata(signed), targets)


class TrustedTuf:
    """Root and targets that have been verified, and so the keys they name.

    Attributes:
        root_version: Version of the root held.
        targets_version: Version of the targets held.
        expires: Unix seconds at which the first of the two expires.
    """

    def __init__(self, root: Metadata[Root], targets: Metadata[Targets]) -> None:
        """Verify ``targets`` by ``root``, which is trusted."""
        _verify_role(root.signed, Targets.type, targets.signed_bytes, targets.signatures)
        _check_keys(targets.signed, DIRECTOR)
        self._root = root
        self._targets = targets
        self.root_version = root.signed.version
        self.targets_version = targets.signed.version
        self.expires = min(root.signed.expires, targets.signed.expires).timestamp()

    @classmethod
    def from_bytes(cls, root: bytes, targets: bytes, *, root_sha256: str | None = None) -> TrustedTuf:
        """Return what ``root`` and ``targets`` say, once they are verified.

        Args:
            root: Metadata that is trusted because of where it comes from: the
                state directory, or a fetch whose digest the join string names.
            targets: Metadata that is verified by ``root``.
            root_sha256: Digest that ``root`` must have; None if its origin is enough.

        Raises:
            TrustError: ``trust.pin``, ``trust.size``, ``trust.tuf`` or ``trust.signature``.
        """
        if root_sha256 is not None and digest(root) != root_sha256:
            problem = "the fleet's trust root is not the one that the join string names"
            raise TrustError("pin", problem, "Get a new join string, and check who answers at its URL")
        trusted = _read_root(root)
        _verify_role(trusted.signed, Root.type, trusted.signed_bytes, trusted.signatures)
        return cls(trusted, _read_targets(targets))

    def advance(self, targets: bytes, roots: Sequence[bytes] = ()) -> TrustedTuf:
        """Return what newer metadata says, reached step by step from what is trusted.

        Args:
            targets: The newest targets; not older than those held.
            roots: Roots that follow the one held, in order and without a gap.

        Raises:
            TrustError: ``trust.rollback`` if something is older than what is held,
                ``trust.equivocation`` if it is another of the same version, and as
                :meth:`from_bytes`.
        """
        if len(roots) > ROTATIONS_LIMIT:
            problem = f"{len(roots)} roots came at once; {ROTATIONS_LIMIT} are allowed"
            raise TrustError("size", problem)
        root = self._root
        for data in roots:
            fresh = _read_root(data)
            if fresh.signed.version != root.signed.version + 1:
                problem = f"root {fresh.signed.version} does not follow root {root.signed.version}"
                raise TrustError("rollback", problem)
            _verify_role(root.signed, Root.type, fresh.signed_bytes, fresh.signatures)
            _verify_role(fresh.signed, Root.type, fresh.signed_bytes, fresh.signatures)
            root = fresh
        advanced = TrustedTuf(root, _read_targets(targets))
        if advanced.targets_version < self.targets_version:
            problem = (
                f"targets {advanced.targets_version} are older than {self.targets_version}, which are held"
            )
            raise TrustError("rollback", problem)
        same = advanced.targets_version == self.targets_version
        if same and advanced._targets.signed_bytes != self._targets.signed_bytes:
            problem = f"there are two different targets {self.targets_version}"
            raise TrustError("equivocation", problem, "Tell the fleet's administrator")
        return advanced

    def verify(self, envelope: Envelope) -> None:
        """Return if the director signed ``envelope``.

        Raises:
            TrustError: ``trust.signature``: not by enough keys of the director.
        """
        signatures = {
            keyid: Signature(keyid, signature.hex()) for keyid, signature in envelope.signatures.items()
        }
        _verify_role(self._targets.signed, DIRECTOR, envelope.pae(), signatures)

    def find_director(self, keyid: str) -> Ed25519PublicKey | None:
        """Return the director's key of that id; None if it has none, or one that is no Ed25519 key."""
        role = self._targets.signed.get_delegated_role(DIRECTOR)
        if keyid not in role.keyids:
            return None
        key = self._targets.signed.get_key(keyid)
        if key.keytype != "ed25519":
            return None
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.keyval["public"]))

    def check_current(self, now: float) -> None:
        """Return if root and targets have not expired at ``now``, in unix seconds.

        Raises:
            TrustError: ``trust.expired``: what is in force stays, nothing new is taken.
        """
        if now >= self.expires:
            problem = "the fleet's root or targets metadata has expired"
            raise TrustError("expired", problem, "Check this machine's clock; else sign new metadata")


def _expiry(now: float) -> datetime:
    return datetime.fromtimestamp(now + LIFETIME, UTC).replace(microsecond=0)


def _tuf_key(key: PublicKey) -> SSlibKey:
    return SSlibKey.from_crypto(key.crypto, keyid=key.keyid)


def _sign(metadata: Metadata[Any], key: SigningKey) -> bytes:
    metadata.sign(CryptoSigner(key.crypto, _tuf_key(key.public)))
    return metadata.to_bytes(JSONSerializer(compact=True))


def _read_root(data: bytes) -> Metadata[Root]:
    metadata = _read(data, "root")
    if not isinstance(metadata.signed, Root):
        raise TrustError("tuf", "the root metadata is of another kind")
    _check_keys(metadata.signed, Root.type)
    _check_keys(metadata.signed, Targets.type)
    return metadata


def _read_targets(data: bytes) -> Metadata[Targets]:
    metadata = _read(data, "targets")
    if not isinstance(metadata.signed, Targets):
        raise TrustError("tuf", "the targets metadata is of another kind")
    return metadata


def _read(data: bytes, what: str) -> Metadata[Any]:
    if len(data) > METADATA_LIMIT:
        problem = f"the {what} metadata has {len(data)} bytes; {METADATA_LIMIT} are allowed"
        raise TrustError("size", problem)
    try:
        parse_strict(data)
        return Metadata[Any].from_bytes(data)
    except (ValueError, DeserializationError) as error:
        raise TrustError("tuf", f"the {what} metadata is malformed: {error}") from error


def _check_keys(signed: Root | Targets, role_name: str) -> None:
    """Return if each key of a role stands under its own keyid."""
    try:
        role: Role = signed.get_delegated_role(role_name)
        keys: list[Key] = [signed.get_key(keyid) for keyid in role.keyids]
    except ValueError as error:
        raise TrustError("tuf", f"the metadata names no {role_name}: {error}") from error
    for keyid, key in zip(role.keyids, keys, strict=True):
        if _derive_keyid(key) != keyid:
            raise TrustError("tuf", f"a key of {role_name} stands under the keyid of another")


def _derive_keyid(key: Key) -> str:
    if (key.keytype, key.scheme) not in _SCHEMES:
        raise TrustError("key", f"keys of the scheme {key.scheme!r} cannot be used", "Upgrade this program")
    public = key.keyval["public"]
    try:
        if key.keytype == "ed25519":
            return PublicKey.wrap(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))).keyid
        return PublicKey.wrap(load_pem_public_key(public.encode())).keyid
    except ValueError as error:
        raise TrustError("key", f"a key of the metadata is malformed: {error}") from error


def _verify_role(
    signed: Root | Targets, role_name: str, payload: bytes, signatures: Mapping[str, Signature]
) -> None:
    try:
        signed.verify_delegate(role_name, payload, dict(signatures))
    except (UnsignedMetadataError, ValueError) as error:
        problem = f"the document is not signed by the {role_name} that this fleet trusts"
        hint = "If the fleet was set up anew, enroll again; else find out who altered it"
        raise TrustError("signature", problem, hint) from error
