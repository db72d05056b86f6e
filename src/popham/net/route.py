"""Where a round goes, and what its messages are called on the way; the same at both ends."""

from __future__ import annotations

OPAMP = "/v1/opamp"
"""Path of rounds and held links. Source: OpAMP "Communication Model"."""

PROTOBUF = "application/x-protobuf"
"""Content type of a round, without parameters: real agents compare it as a whole."""

OCTETS = "application/octet-stream"
"""Content type of what is only bytes to whoever carries it."""

OUTPUTS = "/v1/outputs/"
"""Beginning of the path of an output of an operation; its digest follows."""

FRAMES = "application/vnd.popham.frames"
"""Content type of frames of a stream, which are compressed already."""

OTLP = frozenset({"/v1/logs", "/v1/metrics"})
"""Paths of plain OTLP. Source: OTLP 1.9, OTLP/HTTP."""

RELAY = "/v1/relay"
"""Path of the messages of a Proxy Manager that dials."""

STREAMS = "/v1/streams/"
"""Beginning of the path of a stream of the agent that asks; its name follows."""

VISIT = "/v1/visit"
"""End of the path of an agent's service, whatever prefix a web server has before it."""
