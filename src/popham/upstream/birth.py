"""What an upstream that dials reads of a birth: who answers, and what came of its request; pure."""

from __future__ import annotations

import json

from popham.errors import EnrollmentError
from popham.net.visiting import Reply
from popham.opamp.codec import parse_custom, parse_upstream
from popham.opamp.schema.popham.v1.popham_pb2 import Admission
from popham.trust.birth import read_refusal

_WAITS = frozenset({Admission.NEW})
_UID = 36


def read_born(reply: Reply) -> str:
    """Return the instance_uid of an agent that says that it was born already; empty if it says something else."""
    if reply.status != 409:
        return ""
    try:
        said = json.loads(reply.body)
        return str(said["uid"])[:_UID] if said["code"] == "visit.born" else ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


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
