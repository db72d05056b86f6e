"""Who may say what: an identity against the message it sends and the agent it speaks as; pure."""

from __future__ import annotations

from popham.errors import PophamError
from popham.model.fleet import Admission
from popham.model.registry import Direction, IdentityKind, find_message, require
from popham.net.seam import Refusal
from popham.opamp.codec import MESSAGE_LIMIT
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.wire import PROXY, SESSION, STREAMS, TRUST
from popham.upstream.book import Identity
from popham.upstream.record import Record

UNKNOWN = Refusal(
    status=401, body="no client certificate and no token (grant.missing); enroll this agent first"
)
"""Answer to whoever shows nothing."""

STRANGER_LIMIT = 16 * 1024
"""Bytes of a message from somebody without an identity: an enrollment or a renewal has about 2,000."""


def message_limit(identity: Identity) -> int:
    """Return how many bytes this identity may send in one message (SEC-2)."""
    return STRANGER_LIMIT if identity.caller is IdentityKind.NONE else MESSAGE_LIMIT


def shut_out(record: Record | None) -> Refusal | None:
    """Return the refusal of an agent that an administrator refused or revoked; None of any other."""
    if record is None or record.admission not in {Admission.REFUSED, Admission.REVOKED}:
        return None
    return Refusal(status=403, body=f"this agent is {record.admission} (enrollment.{record.admission})")


def explain_unfit(message: AgentToServer, identity: Identity) -> str:
    """Return why this identity may not send the custom message it sends; empty if it may, or it is not ours."""
    said = message.custom_message
    if said.capability not in {PROXY, SESSION, STREAMS, TRUST}:
        return ""
    try:
        require(find_message(said.capability, said.type, Direction.UP), identity.caller)
    except PophamError as error:
        return str(error)
    return ""


def explain_impostor(identity: Identity, uid: str, record: Record | None) -> str:
    """Return why this identity may not speak as the agent ``uid``; empty if it may (SEC-11).

    A certificate names one agent.  A token stands for the stock agents of its
    group, and never for an agent that has a key.
    """
    if identity.caller is IdentityKind.STOCK:
        if record is not None and (record.public_key or record.group != identity.group):
            return "instance_uid belongs to an agent that this token does not stand for (wire.instance_uid)"
        return ""
    return "" if identity.uid == uid else "instance_uid is not the certificate's (wire.instance_uid)"
