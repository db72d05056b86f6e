"""The answer to a certificate request, as it goes over the wire."""

from __future__ import annotations

from popham.model.communication import HEARTBEAT_DEFAULT
from popham.model.fleet import Admission
from popham.model.names import digest
from popham.opamp.codec import custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    ConnectionSettingsOffers,
    OpAMPConnectionSettings,
    ServerToAgent,
    TLSCertificate,
)
from popham.opamp.schema.popham.v1 import popham_pb2 as own
from popham.opamp.wire import OWN_UPSTREAM
from popham.upstream.book import Admitted

_ADMISSION = {
    Admission.NEW: own.Admission.NEW,
    Admission.ACCEPTED: own.Admission.ACCEPTED,
    Admission.REFUSED: own.Admission.REFUSED,
    Admission.REVOKED: own.Admission.REVOKED,
}


def render_admission(key: bytes, admitted: Admitted, endpoint: str) -> bytes:
    """Return the ServerToAgent that brings a certificate and an assignment, or says what to wait for.

    Endpoint and heartbeat are filled in because an offer without them means
    something else: no endpoint, no heartbeats.
    """
    message = ServerToAgent(instance_uid=key, capabilities=int(OWN_UPSTREAM))
    if admitted.certificate:
        certificate = TLSCertificate(cert=admitted.certificate, ca_cert=admitted.ca)
        offer = OpAMPConnectionSettings(
            destination_endpoint=endpoint,
            certificate=certificate,
            heartbeat_interval_seconds=int(HEARTBEAT_DEFAULT),
        )
        message.connection_settings.CopyFrom(
            ConnectionSettingsOffers(hash=bytes.fromhex(digest(admitted.certificate)), opamp=offer)
        )
    message.custom_message.CopyFrom(
        custom(
            own.Admission(
                state=_ADMISSION[admitted.admission],
                retry_after_seconds=admitted.retry_after,
                assignment=admitted.assignment,
                text=admitted.text,
            )
        )
    )
    return message.SerializeToString()
