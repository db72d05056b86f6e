"""Forms of what an agent says of itself, and of what it is told that it may not have."""

from __future__ import annotations

from collections.abc import Mapping

from popham.errors import LinkError, WireError
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentDescription,
    AnyValue,
    KeyValue,
    ServerErrorResponse,
    ServerErrorResponseType,
)

LONGEST_WAIT = 86_400.0
"""Seconds that upstream may ask this agent to stay away; as for HTTP's Retry-After."""


def raise_refusal(error: ServerErrorResponse) -> None:
    """Raise what upstream's refusal means: LinkError if it asks to stay away, else WireError."""
    if error.type == ServerErrorResponseType.ServerErrorResponseType_Unavailable:
        asked = error.retry_info.retry_after_nanoseconds / 1e9
        wait = min(asked, LONGEST_WAIT) if error.HasField("retry_info") else None
        raise LinkError("busy", error.error_message or "upstream is busy", retry_after=wait)
    raise WireError("refused", error.error_message or "upstream refused a message")


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
