"""Answers requests for certificates: enrollment with a token, renewal of a certificate."""

from __future__ import annotations

import logging
from collections.abc import Callable

from popham.clock import Clock
from popham.errors import EnrollmentError, PophamError, StateError
from popham.model.registry import Direction, find_message, require
from popham.net.seam import Peer, Refused
from popham.opamp.codec import bad_request, parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.schema.popham.v1.popham_pb2 import Enroll, Renew
from popham.upstream.admission import render_admission
from popham.upstream.book import Admitted, Book
from popham.upstream.record import Record
from popham.upstream.shedding import Shedder, Work

_log = logging.getLogger(__name__)


class Credentials:
    """Admits agents, and gives them certificates, by the word of the book."""

    def __init__(
        self,
        book: Book,
        clock: Clock,
        dirty: dict[bytes, Record],
        shedder: Shedder,
        endpoint: Callable[[], str],
    ) -> None:
        """Keep what is needed.

        Args:
            book: Decides who is admitted.
            clock: Wall time for last contacts.
            dirty: Where those are put whose last contact is to be written.
            shedder: Says whether there is room for enrollments.
            endpoint: URL that stock agents are told to dial.
        """
        self._book = book
        self._clock = clock
        self._dirty = dirty
        self._shedder = shedder
        self._endpoint = endpoint

    async def answer(self, uid: str, peer: Peer, message: AgentToServer) -> bytes:
        """Answer one certificate request.

        Raises:
            Refused: There is too much to do for an enrollment.
            StateError: What was decided could not be made durable.
        """
        record = self._book.record(uid)
        if record is not None and peer.identity.uid == uid:
            record.ear.hear(message)
            record.contact(self._clock.now(), peer.address)
            self._dirty[record.key] = record
        try:
            admitted = await self._admit(peer, message)
        except StateError:
            raise
        except PophamError as error:
            _log.warning("certificate request from %s refused: %s", peer.address, error)
            return bad_request(message.instance_uid, str(error))
        return render_admission(message.instance_uid, admitted, self._endpoint())

    async def _admit(self, peer: Peer, message: AgentToServer) -> Admitted:
        csr = message.connection_settings_request.opamp.certificate_request.csr
        said = message.custom_message
        if not said.capability:
            hint = "Send 'enroll' or 'renew' of io.popham.trust/1 beside it"
            raise EnrollmentError("proof", "a certificate request came without proof", hint)
        require(find_message(said.capability, said.type, Direction.UP), peer.identity.caller)
        request = parse_custom(said)
        if isinstance(request, Enroll):
            refusal = self._shedder.refusal(Work.CONTENT)
            if refusal is not None:
                raise Refused(refusal)
            return await self._book.enroll(peer, message.instance_uid, csr, request)
        if isinstance(request, Renew):
            return await self._book.renew(peer, message.instance_uid, csr, request)
        raise EnrollmentError("proof", "a certificate request came beside another message")
