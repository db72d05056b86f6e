"""Names and numbers on the wire: capabilities, flags, custom messages, config keys.

Source: OpAMP v0.20 for the bits; ``docs/reference/wire.md`` for ``io.popham.*``.
Bits that the specification does not define are never set.
"""

from __future__ import annotations

from enum import IntFlag

OPAMP_PATH = "/v1/opamp"
OPAMP_PORT = 4320
CONTENT_TYPE = "application/x-protobuf"

SESSION = "io.popham.session/1"
"""Declared by agents that are ours; reports up, directives down."""
TRUST = "io.popham.trust/1"
"""Enrollment and renewal up, admission down."""
STREAMS = "io.popham.streams/1"
"""Frames of streams up, and how far upstream is down; on held links only."""
PROXY = "io.popham.proxy/1"
"""Between a Proxy Manager and what stands above it, either direction, on held links only: there is something to relay."""
REPORT, DIRECTIVE = "report", "directive"
ENROLL, RENEW, ADMISSION = "enroll", "renew", "admission"
APPEND, READY, STANDINGS = "append", "ready", "standings"
WAKE = "wake"

BUNDLE_KEY = "io.popham/bundle"
BLOB_KEY = "io.popham/blob/"
"""Followed by the digest, 64 hexadecimal digits."""
DSSE_TYPE = "application/vnd.dsse+json"
REFERENCE_TYPE = "application/vnd.popham.reference.v1+json"
"""Body of a key whose bytes are to be fetched: ``{"sha256", "length"}``."""

HELD_MESSAGE_LIMIT = 8 * 1024
"""Bytes of a message on a held link between our own ends: TLS memory follows the largest. Source: design 4."""
INLINE_LIMIT = 256 * 1024
"""Bytes of blobs that travel inside one HTTP round. Source: design 4."""


class AgentCapability(IntFlag):
    """What an agent can do."""

    REPORTS_STATUS = 0x1
    ACCEPTS_REMOTE_CONFIG = 0x2
    REPORTS_EFFECTIVE_CONFIG = 0x4
    ACCEPTS_PACKAGES = 0x8
    REPORTS_PACKAGE_STATUSES = 0x10
    REPORTS_OWN_TRACES = 0x20
    REPORTS_OWN_METRICS = 0x40
    REPORTS_OWN_LOGS = 0x80
    ACCEPTS_OPAMP_CONNECTION_SETTINGS = 0x100
    ACCEPTS_OTHER_CONNECTION_SETTINGS = 0x200
    ACCEPTS_RESTART_COMMAND = 0x400
    REPORTS_HEALTH = 0x800
    REPORTS_REMOTE_CONFIG = 0x1000
    REPORTS_HEARTBEAT = 0x2000
    REPORTS_AVAILABLE_COMPONENTS = 0x4000
    REPORTS_CONNECTION_SETTINGS_STATUS = 0x8000


class UpstreamCapability(IntFlag):
    """What a Manager or Proxy Manager offers; OpAMP calls these server capabilities."""

    ACCEPTS_STATUS = 0x1
    OFFERS_REMOTE_CONFIG = 0x2
    ACCEPTS_EFFECTIVE_CONFIG = 0x4
    OFFERS_PACKAGES = 0x8
    ACCEPTS_PACKAGES_STATUS = 0x10
    OFFERS_CONNECTION_SETTINGS = 0x20
    ACCEPTS_CONNECTION_SETTINGS_REQUEST = 0x40


OWN_AGENT = (
    AgentCapability.REPORTS_STATUS
    | AgentCapability.ACCEPTS_REMOTE_CONFIG
    | AgentCapability.REPORTS_REMOTE_CONFIG
    | AgentCapability.REPORTS_HEARTBEAT
    | AgentCapability.ACCEPTS_OPAMP_CONNECTION_SETTINGS
)
"""Capabilities of an agent of ours."""
OWN_UPSTREAM = (
    UpstreamCapability.ACCEPTS_STATUS
    | UpstreamCapability.OFFERS_REMOTE_CONFIG
    | UpstreamCapability.OFFERS_CONNECTION_SETTINGS
    | UpstreamCapability.ACCEPTS_CONNECTION_SETTINGS_REQUEST
)
"""Capabilities of a Manager or Proxy Manager of ours."""

REPORT_FULL_STATE = 0x1
"""ServerToAgent.flags."""
REQUEST_INSTANCE_UID = 0x1
"""AgentToServer.flags."""
