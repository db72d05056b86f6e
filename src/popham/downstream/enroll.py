"""Enrollment where this end dials: from a join string to an identity of its own.

In this order, so that nothing is told to a stranger and the token never travels:

1. The CA is fetched without verification and compared with the pin.
2. From then on TLS is verified; the TUF root is fetched and compared with its pin.
3. A CSR for a key made here is sent, signed by the token's key.
4. The answer is a certificate and a signed assignment, or a time to ask again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from popham.errors import EnrollmentError, TrustError
from popham.model.fleet import Admission
from popham.model.generation import GENERATION
from popham.net.seam import Dialer
from popham.opamp.codec import custom, parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentToServer,
    CertificateRequest,
    ConnectionSettingsRequest,
    OpAMPConnectionSettingsRequest,
    ServerToAgent,
)
from popham.opamp.schema.popham.v1.popham_pb2 import Admission as Said
from popham.opamp.schema.popham.v1.popham_pb2 import Enroll
from popham.opamp.session import AgentSession
from popham.opamp.wire import OWN_AGENT, SESSION, TRUST
from popham.trust.birth import read_refusal
from popham.trust.identity import load_certificate, make_csr, read_identity
from popham.trust.issuer import check_issued, find_anchor
from popham.trust.join import EnrollmentKey, JoinString
from popham.trust.keys import IdentityKey
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import open_assignment

CA_PATH = "/v1/trust/ca"
ROOT_PATH = "/v1/trust/root"
TARGETS_PATH = "/v1/trust/targets"
_LIMIT = 512 * 1024
"""Bytes of one trust document. Source: python-tuf's limit for a root."""
RETRY_AFTER = 60.0
"""Seconds to wait for an administrator where the Manager names no time."""
RETRY_AFTER_MAX = 3600.0
"""Seconds that a Manager may name."""
_STATES: Mapping[int, Admission] = {
    Said.NEW: Admission.NEW,
    Said.ACCEPTED: Admission.ACCEPTED,
    Said.REFUSED: Admission.REFUSED,
    Said.REVOKED: Admission.REVOKED,
}

MakeDialer = Callable[[str, bytes | None], Dialer]
"""URL and CA (PEM; None for the one unverified look) to a dialer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """What an agent believes from the beginning on.

    Attributes:
        ca: CA certificate, PEM, which has the pinned key.
        root, targets: TUF metadata, the root having the pinned digest.
    """

    ca: bytes
    root: bytes
    targets: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """What came of asking. ``certificate`` and ``assignment`` are empty unless accepted."""

    admission: Admission
    certificate: bytes = b""
    assignment: bytes = b""
    retry_after: float = RETRY_AFTER
    text: str = ""


async def find_anchors(join: JoinString, url: str, dial: MakeDialer) -> Anchor:
    """Return CA and TUF metadata as the join string pins them.

    Raises:
        TrustError: What the Manager shows does not have the pinned key or digest.
        LinkError: It could not be reached.
    """
    stranger = dial(url, None)
    try:
        ca = find_anchor(await stranger.fetch(CA_PATH, limit=_LIMIT), join.ca)
    finally:
        await stranger.aclose()
    dialer = dial(url, ca)
    try:
        root = await dialer.fetch(ROOT_PATH, limit=_LIMIT)
        targets = await dialer.fetch(TARGETS_PATH, limit=_LIMIT)
    finally:
        await dialer.aclose()
    TrustedTuf.from_bytes(root, targets, root_sha256=join.root)
    return Anchor(ca=ca, root=root, targets=targets)


async def ask(
    dialer: Dialer,
    *,
    anchor: Anchor,
    key: IdentityKey,
    uid: str,
    token: EnrollmentKey,
    name: str,
    labels: Mapping[str, str],
    proxy: bool = False,
) -> Enrolled:
    """Ask once to be admitted.

    Args:
        dialer: To the Manager, verified by the anchor's CA.
        anchor: What is believed.
        key: Identity key made on this machine; it stays here.
        uid: instance_uid chosen by this machine.
        token: Key made from the join string's seed.
        name: Name shown to people.
        labels: Told to the Manager.
        proxy: Whether this machine is to be a Proxy Manager.

    Raises:
        EnrollmentError: The Manager refuses, with its sentence.
        TrustError: What it gives may not be believed.
        LinkError: It could not be reached.
    """
    message = request_admission(key, uid, token, name=name, labels=labels, proxy=proxy)
    session = AgentSession(uuid.UUID(uid).bytes, int(OWN_AGENT), (SESSION, TRUST))
    answer = session.receive(await dialer.exchange(session.request(message)))
    return read_answer(answer, anchor, key, uid)


def request_admission(
    key: IdentityKey,
    uid: str,
    token: EnrollmentKey,
    *,
    name: str,
    labels: Mapping[str, str],
    proxy: bool = False,
) -> AgentToServer:
    """Return the message that asks to be admitted: a CSR, and the token's signature over it; arguments as :func:`ask`."""
    csr = make_csr(key, uid)
    enroll = Enroll(
        generation=GENERATION,
        token_id=token.token_id,
        signature=token.sign(csr),
        name=name,
        labels=dict(labels),
        proxy=proxy,
    )
    wanted = OpAMPConnectionSettingsRequest(certificate_request=CertificateRequest(csr=csr))
    return AgentToServer(
        connection_settings_request=ConnectionSettingsRequest(opamp=wanted),
        custom_message=custom(enroll),
    )


def read_answer(answer: ServerToAgent, anchor: Anchor, key: IdentityKey, uid: str) -> Enrolled:
    """Return what came of asking, once it is verified; arguments as :func:`ask`.

    Raises:
        EnrollmentError: The Manager refuses, with its sentence.
        TrustError: What it gives may not be believed.
    """
    if answer.HasField("error_response"):
        raise read_refusal(answer.error_response.error_message)
    said = parse_custom(answer.custom_message)
    if not isinstance(said, Said):
        raise EnrollmentError(
            "answer", "the Manager does not answer as one", "Check the address in the join string"
        )
    offered = answer.connection_settings.opamp.certificate
    if offered.private_key:
        problem = "a private key was offered; keys never leave the machine they are made on"
        raise TrustError("private_key", problem)
    return _read(said, offered.cert, anchor, key, uid)


def _read(said: Said, certificate: bytes, anchor: Anchor, key: IdentityKey, uid: str) -> Enrolled:
    admission = _STATES.get(said.state)
    if admission is None:
        raise EnrollmentError("answer", "the Manager says nothing about admission that this agent knows")
    if admission is not Admission.ACCEPTED:
        asked = said.retry_after_seconds
        wait = min(max(asked, 1.0), RETRY_AFTER_MAX) if asked > 0 else RETRY_AFTER
        return Enrolled(admission=admission, retry_after=wait, text=said.text[:1000])
    found = load_certificate(certificate)
    check_issued(found, anchor.ca)
    identity = read_identity(found)
    if identity.uid != uid or identity.spki != key.keyid:
        raise TrustError("certificate", "the certificate is for another agent or key")
    tuf = TrustedTuf.from_bytes(anchor.root, anchor.targets)
    open_assignment(said.assignment, tuf=tuf, uid=uid, spki_sha256=key.keyid, seq_floor=0)
    return Enrolled(admission=admission, certificate=certificate, assignment=said.assignment)
