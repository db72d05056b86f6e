"""What an upstream that dials reads of a birth: who answers, and what came of its request; pure."""

from __future__ import annotations

import json

from popham.errors import EnrollmentError, TrustError, VisitError
from popham.net.visiting import Reply
from popham.opamp.codec import parse_custom, parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.schema.popham.v1.popham_pb2 import Admission
from popham.trust.birth import read_refusal
from popham.trust.identity import check_csr, load_certificate, read_identity

_WAITS = frozenset({Admission.NEW})
_UID = 36


def read_born(reply: Reply) -> tuple[str, bytes]:
    """Return instance_uid and certificate (PEM) of an agent that says that it was born already; empty if it does not.

    One before 0.6.0 shows no certificate. Nothing of it is verified.
    """
    if reply.status != 409:
        return "", b""
    try:
        said = json.loads(reply.body)
        if said["code"] != "visit.born":
            return "", b""
        return str(said["uid"])[:_UID], str(said.get("certificate", "")).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", b""


def is_admitted(answer: bytes) -> bool:
    """Return whether an answer to a request to be admitted grants it; False while an administrator has to decide.

    Raises:
        EnrollmentError: It was refused.
    """
    message = parse_upstream(answer)
    if message.HasField("error_response"):
        raise read_refusal(message.error_response.error_message)
    said = parse_custom(message.custom_message)
    if not isinstance(said, Admission):
        raise EnrollmentError("answer", "a machine that waits to be born asked for something else")
    if said.state in _WAITS:
        return False
    if said.state != Admission.ACCEPTED:
        text = said.text or "an administrator refused this agent"
        raise EnrollmentError("refused", text, "Delete its definition, or accept it: popham accept agent")
    return True


def read_request(message: AgentToServer) -> tuple[str, bytes]:
    """Return instance_uid and key (DER) of whoever asks for a certificate; raises TrustError."""
    uid = message.instance_uid.hex()
    dashed = f"{uid[:8]}-{uid[8:12]}-{uid[12:16]}-{uid[16:20]}-{uid[20:]}"
    csr = check_csr(message.connection_settings_request.opamp.certificate_request.csr, dashed)
    return dashed, csr.public_key_der


def read_certificate(reply: Reply) -> tuple[bytes, bytes]:
    """Return the certificate (PEM) that an agent shows, which was born already, and the key (DER) in it.

    Raises:
        VisitError: ``visit.signature``: it shows none.
    """
    _, certificate = read_born(reply)
    try:
        return certificate, read_identity(load_certificate(certificate)).public_der
    except TrustError as error:
        raise VisitError("signature", "the agent shows no certificate") from error
