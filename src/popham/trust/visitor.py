"""The visitor statement: the director's word that a Proxy Manager may visit agents, by a key of its own.

A Manager signs its requests to agents with the director's key, which no Proxy Manager has.  A Proxy Manager signs with a
key that it made itself, and shows this statement beside each request (``net/signing.py``, header ``Popham-Visitor``).

Rules:

1. It lets nobody do more than deliver: what is brought is believed by its own signatures, as from any messenger.
2. It names groups and agents, and those Proxy Managers that it is the upstream of.  Whoever else sees it, and whatever else its key signs, counts for nothing.
3. It ends, and is made anew long before; an agent judges that by the latest time that it knows for certain.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from popham.errors import PophamError, TrustError
from popham.model.names import DEFAULT_TENANT, canonical, check_name
from popham.trust.assignment import check_audience, refuse_critical
from popham.trust.document import decode_base64, parse_strict
from popham.trust.dsse import Envelope, seal
from popham.trust.keys import PublicKey, SigningKey
from popham.trust.tuf import TrustedTuf

VISITOR_TYPE = "application/vnd.popham.visitor.v1+json"
VISITOR_LIMIT = 5 * 1024
"""Bytes of a statement in its envelope: as base64 it is a header, and the head of a request has 8 KiB in all, here and
in the web servers in between. Room for 150 groups. Source: guarantees SEC-2."""
_RAW_KEY = 32
_KEYID = re.compile(r"[0-9a-f]{64}")
_NUMBER_END = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who may visit which agents.

    Attributes:
        uid: instance_uid of the Proxy Manager, as a UUID string.
        keyid: Id of the key that signs its requests, as theirs name it.
        public_key: That key, Ed25519: 32 bytes.
        groups: Names of the groups that were given to it.
        agents: uids of single agents that were, as UUID strings.
        relays: uids of the Proxy Managers whose upstream it is: those take from it what else only the Manager says.
        issued, expires: Unix seconds of the signing, and of the end.
        tenant: Whose agents.
    """

    uid: str
    keyid: str
    public_key: bytes
    groups: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    relays: tuple[str, ...] = ()
    issued: int
    expires: int
    tenant: str = DEFAULT_TENANT

    @property
    def key(self) -> Ed25519PublicKey:
        """The key that signs its requests."""
        return Ed25519PublicKey.from_public_bytes(self.public_key)

    def payload(self) -> bytes:
        """Return the bytes to sign."""
        return canonical(
            {
                "tenant": self.tenant,
                "uid": self.uid,
                "keyid": self.keyid,
                "public_key": base64.b64encode(self.public_key).decode(),
                "groups": list(self.groups),
                "agents": list(self.agents),
                "relays": list(self.relays),
                "issued": self.issued,
                "expires": self.expires,
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Visitor:
        """Return the statement in ``payload``, whose signature has been verified.

        Fields that this program does not know are ignored, unless listed in ``crit``.

        Raises:
            TrustError: ``trust.document`` if it is no visitor statement; ``trust.crit``.
        """
        try:
            data = parse_strict(payload)
            refuse_critical(data)
            return _read(data)
        except (ValueError, PophamError) as error:
            if isinstance(error, TrustError):
                raise
            raise TrustError("document", f"the visitor statement is malformed: {error}") from error

    def may_visit(self, uid: str, group: str) -> bool:
        """Return whether an agent was given to this visitor, by itself or with its group; no group is empty."""
        return uid in self.agents or (bool(group) and group in self.groups)

    def may_relay(self, uid: str) -> bool:
        """Return whether a Proxy Manager is to take what this visitor relays: to be given its group is not enough."""
        return uid in self.relays

    def check_time(self, now: float) -> None:
        """Return if the statement has not ended at ``now``, in unix seconds; one from the future holds.

        Raises:
            TrustError: ``trust.expired``: it has.
        """
        if now >= self.expires:
            problem = f"the visitor statement ended {round(now - self.expires)} s ago, by the time that is known here"
            raise TrustError(
                "expired", problem, "Check this machine's clock, and whether its visitor reaches the Manager"
            )


def seal_visitor(visitor: Visitor, director: SigningKey) -> bytes:
    """Return a statement in an envelope signed by the director.

    Raises:
        TrustError: ``trust.size``: it names more than a request has room for.
    """
    made = seal(VISITOR_TYPE, visitor.payload(), director)
    if len(made) > VISITOR_LIMIT:
        problem = f"a visitor statement for {len(visitor.groups)} groups and {len(visitor.agents)} agents is too large"
        raise TrustError(
            "size", problem, "Give the Proxy Manager groups instead of single agents, or several of it"
        )
    return made


def open_visitor(envelope: bytes, *, tuf: TrustedTuf, tenant: str = DEFAULT_TENANT) -> Visitor:
    """Return the statement in ``envelope``; whether it has ended, and for whom it is, is the caller's matter.

    Args:
        envelope: What came over the wire.
        tuf: Says who the director is.
        tenant: The agent's tenant.

    Raises:
        TrustError: ``trust.size``, ``trust.envelope``, ``trust.type``, ``trust.signature``, ``trust.document``,
            ``trust.crit`` or ``trust.audience``.
    """
    sealed = Envelope.parse(envelope, types=(VISITOR_TYPE,), limit=VISITOR_LIMIT)
    tuf.verify(sealed)
    found = Visitor.from_payload(sealed.payload)
    check_audience("tenant", found.tenant, tenant)
    return found


def _read(data: Mapping[str, Any]) -> Visitor:
    """Return the statement that ``data`` says; raises ValueError or PophamError for anything else."""
    keyid, raw = _text(data, "keyid"), decode_base64(_text(data, "public_key"))
    if len(raw) != _RAW_KEY or not _KEYID.fullmatch(keyid):
        raise ValueError("its key is none")
    if PublicKey.wrap(Ed25519PublicKey.from_public_bytes(raw)).keyid != keyid:
        raise ValueError("its key stands under the keyid of another")
    issued, expires = _number(data, "issued"), _number(data, "expires")
    return Visitor(
        tenant=_text(data, "tenant"),
        uid=_uid(_text(data, "uid")),
        keyid=keyid,
        public_key=raw,
        groups=tuple(check_name(name, "group") for name in _texts(data, "groups")),
        agents=tuple(_uid(uid) for uid in _texts(data, "agents")),
        relays=tuple(_uid(uid) for uid in _texts(data, "relays")),
        issued=issued,
        expires=expires,
    )


def _uid(text: str) -> str:
    if str(uuid.UUID(text)) != text:
        raise ValueError("an instance_uid is not in its one form")
    return text


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is missing or of another kind")  # noqa: TRY004  # bad input alike
    return value


def _texts(data: Mapping[str, Any], name: str) -> list[str]:
    value = data.get(name)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{name} is missing or of another kind")
    return value


def _number(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    if type(value) is not int or not 0 <= value < _NUMBER_END:
        raise ValueError(f"{name} is missing, or out of range")
    return value
