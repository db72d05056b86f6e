"""Where a stock agent is told to connect: for OpAMP, and with telemetry of its own.

Rules:

1. Each kind of connection is offered to those only that declare it.
2. Telemetry comes to this upstream, so the token that an agent shows here serves there too.  It goes back to that agent
   alone, on the connection that showed it: it is in no hash, in nothing that is kept, and in nothing that others get.
3. What is left out of an offer stays as it was: no offer takes a connection away.

Source: OpAMP "Connection Settings Management", "Own Telemetry Reporting".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from popham.model.names import canonical, digest
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    ConnectionSettingsOffers,
    Header,
    Headers,
    OpAMPConnectionSettings,
    TelemetryConnectionSettings,
)
from popham.opamp.wire import OPAMP_PATH, AgentCapability
from popham.upstream.record import Wanted

_TAKES_OPAMP = int(AgentCapability.ACCEPTS_OPAMP_CONNECTION_SETTINGS)
_REPORTS_METRICS = int(AgentCapability.REPORTS_OWN_METRICS)
_REPORTS_LOGS = int(AgentCapability.REPORTS_OWN_LOGS)


@dataclass(frozen=True, slots=True)
class Destinations:
    """URLs that one agent is told; empty where it is told none.

    Attributes:
        opamp: For OpAMP.
        metrics: For its own metrics, by OTLP/HTTP.
        logs: Likewise for its own logs.
        token: Id of the token that it shows there; empty if it has a certificate, or sends no telemetry.
    """

    opamp: str = ""
    metrics: str = ""
    logs: str = ""
    token: str = ""

    @property
    def has_telemetry(self) -> bool:
        """Whether it is told where its own telemetry goes."""
        return bool(self.metrics or self.logs)


NOWHERE = Destinations()


@lru_cache(128)
def find_destinations(
    endpoint: str, capabilities: int, *, held: bool, telemetry: bool, token: str
) -> Destinations:
    """Return where an agent with these capabilities is to connect.

    Args:
        endpoint: This upstream's own URL for OpAMP.
        capabilities: OpAMP's bits, as the agent declared them.
        held: Whether it speaks over a held link: an offer does not change the transport.
        telemetry: Whether telemetry is taken of it.
        token: Id of the token that it shows; empty if it has a certificate.
    """
    scheme, _, rest = endpoint.partition("://")
    secure = "s" if scheme in {"https", "wss"} else ""
    otlp = f"http{secure}://{rest.removesuffix(OPAMP_PATH)}/v1"
    metrics = telemetry and capabilities & _REPORTS_METRICS
    logs = telemetry and capabilities & _REPORTS_LOGS
    return Destinations(
        opamp=f"{'ws' if held else 'http'}{secure}://{rest}" if capabilities & _TAKES_OPAMP else "",
        metrics=f"{otlp}/metrics" if metrics else "",
        logs=f"{otlp}/logs" if logs else "",
        token=token if metrics or logs else "",
    )


def settings_digest(wanted: Wanted, to: Destinations) -> bytes:
    """Return the hash over all that an offer of connection settings holds; it gates the offer.

    It has the id of a token, which is no secret, in place of the token.
    """
    made = wanted.settings.get(to)
    if made is None:
        held: list[str | int] = [to.opamp, _heartbeat(wanted, to)]
        if to.has_telemetry:
            held += [to.metrics, to.logs, to.token]
        made = wanted.settings[to] = bytes.fromhex(digest(canonical(held)))
    return made


def _heartbeat(wanted: Wanted, to: Destinations) -> int:
    """Return whole seconds, as OpAMP has them; 0 would mean none, and is that of an offer without OpAMP."""
    return max(1, round(wanted.communication.heartbeat)) if to.opamp else 0


def render_settings(wanted: Wanted, to: Destinations, bearer: str) -> ConnectionSettingsOffers:
    """Return the offer; ``bearer`` is the token that the agent showed, empty if it has a certificate."""
    found = ConnectionSettingsOffers(hash=settings_digest(wanted, to))
    if to.opamp:
        opamp = OpAMPConnectionSettings(
            destination_endpoint=to.opamp, heartbeat_interval_seconds=_heartbeat(wanted, to)
        )
        found.opamp.CopyFrom(opamp)
    if to.metrics:
        found.own_metrics.CopyFrom(_telemetry(to.metrics, bearer))
    if to.logs:
        found.own_logs.CopyFrom(_telemetry(to.logs, bearer))
    return found


def _telemetry(endpoint: str, bearer: str) -> TelemetryConnectionSettings:
    found = TelemetryConnectionSettings(destination_endpoint=endpoint)
    if bearer:
        shown = Header(key="Authorization", value=f"Bearer {bearer}")
        found.headers.CopyFrom(Headers(headers=[shown]))
    return found
