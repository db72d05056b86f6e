"""Enrollment and renewal through a proxy: asked above, and the answer kept for an agent that had to wait for it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError

from popham.clock import Clock
from popham.errors import LinkError, WireError
from popham.model.fleet import Admission
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.calls import Calls, unwrap
from popham.proxy.questions import Questions
from popham.trust.identity import check_csr
from popham.upstream.book import Admitted

KEPT_MAX: Final = 512
"""Agents that are being admitted at once."""
AGAIN: Final = 5.0
"""Seconds after which an agent is to ask again while nothing above answers."""
_WAITS: Final = "the Manager is asked whether this agent may join, as soon as this proxy reaches it"


class Admitting:
    """Agents that ask for certificates.

    Attributes:
        on_told: Told what is to be known of an agent that was admitted. Must not wait.
    """

    def __init__(self, calls: Calls, clock: Clock) -> None:
        """Ask by ``calls``."""
        self._questions = Questions(calls, clock, most=KEPT_MAX)
        self.on_told: Callable[[wire.AgentTold], None] = lambda _told: None

    async def admit(
        self, kind: str, key: bytes, csr: bytes, request: bytes, *, address: str, walled: bool
    ) -> Admitted:
        """Return what the Manager says; that it is to wait, if nothing above answers in time.

        Args:
            kind: ``enroll`` or ``renew``.
            key: instance_uid of the agent, 16 bytes.
            csr: Its certificate request.
            request: Enroll or Renew, encoded.
            address: Of the agent.
            walled: Whether it was visited.

        Raises:
            EnrollmentError: It may not join.
            TrustError: The request is not believed.
            WireError: The answer is malformed.
        """
        # A stranger costs a look here, and no place among the calls, unless it has the key that it asks for (SEC-8).
        checked = check_csr(csr, str(uuid.UUID(bytes=key)))
        body = wire.AdmitCall(csr=csr, request=request, walled=walled).SerializeToString()
        answer = await self._questions.ask((kind, key, checked.spki_sha256), kind, key, body, address=address)
        if answer is None:
            return Admitted(admission=Admission.NEW, retry_after=AGAIN, text=_WAITS)
        try:
            said = unwrap(answer)
        except LinkError as error:
            return Admitted(admission=Admission.NEW, retry_after=error.retry_after or AGAIN, text=_WAITS)
        return self._read(said)

    def _read(self, said: bytes) -> Admitted:
        try:
            found = wire.Admitted.FromString(said)
            admission = Admission(found.admission)
        except (DecodeError, ValueError) as error:
            raise WireError("relay", "the answer to an enrollment is malformed") from error
        if found.HasField("agent"):
            self.on_told(found.agent)
        return Admitted(
            admission=admission,
            certificate=found.certificate,
            ca=found.ca,
            assignment=found.assignment,
            retry_after=found.retry_after,
            text=found.text,
        )
