"""Forms of what an agent says of itself, and of what it is told that it may not have."""

from __future__ import annotations

import re
from collections.abc import Mapping

from popham.errors import LinkError, WireError
from popham.model.names import parse_json
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentDescription,
    AnyValue,
    KeyValue,
    ServerErrorResponse,
    ServerErrorResponseType,
)

LONGEST_WAIT = 86_400.0
"""Seconds that upstream may ask this agent to stay away; as for HTTP's Retry-After."""
_BUNDLE_LIMIT = 4 * 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")


def raise_refusal(error: ServerErrorResponse) -> None:
    """Raise what upstream's refusal means: LinkError if it asks to stay away, else WireError."""
    if error.type == ServerErrorResponseType.ServerErrorResponseType_Unavailable:
        asked = error.retry_info.retry_after_nanoseconds / 1e9
        wait = min(asked, LONGEST_WAIT) if error.HasField("retry_info") else None
        raise LinkError("busy", error.error_message or "upstream is busy", retry_after=wait)
    raise WireError("refused", error.error_message or "upstream refused a message")


def read_reference(body: bytes) -> tuple[str, int]:
    """Return digest and length of a bundle that is named instead of sent. Raises WireError."""
    try:
        named = parse_json(body)
        sha256, length = str(named["sha256"]), int(named["length"])
    except (ValueError, KeyError, TypeError) as error:
        raise WireError("reference", "a bundle is named in a way this agent does not know") from error
    if not _DIGEST.fullmatch(sha256):
        raise WireError("reference", "a bundle is named by something that is no digest")
    if length > _BUNDLE_LIMIT:
        raise WireError("too_large", f"a bundle of {length} bytes is offered")
    return sha256, length


def describe(uid: str, version: str, facts: Mapping[str, str]) -> AgentDescription:
    """Return the description, with OpenTelemetry's names for attributes."""

    def pair(key: str, value: str) -> KeyValue:
        return KeyValue(key=key, value=AnyValue(string_value=value))

    return AgentDescription(
        identifying_attributes=[
            pair("service.name", "popham-agent"),
            pair("service.version", version),
            pair("service.instance.id", uid),
        ],
        non_identifying_attributes=[pair(key, value) for key, value in sorted(facts.items())],
    )
