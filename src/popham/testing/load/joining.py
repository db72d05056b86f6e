"""Enrolls lean agents for real: a key, a certificate request and a signed assignment for each."""

from __future__ import annotations

import asyncio
import uuid

from uuid_utils import uuid7

from popham.downstream.enroll import Anchor, ask, find_anchors
from popham.errors import EnrollmentError
from popham.net.dialer import AiohttpDialer
from popham.net.seam import Dialer, Limits
from popham.net.tls import client_context, unverified_context
from popham.testing.load.identity import LoadIdentity
from popham.testing.load.messages import name_of
from popham.trust.assignment import ASSIGNMENT_TYPE, Assignment
from popham.trust.dsse import ENVELOPE_LIMIT, Envelope
from popham.trust.join import EnrollmentKey, JoinString
from popham.trust.keys import IdentityKey

AT_ONCE = 16
"""Enrollments on their way at a time."""


class Joiner:
    """Enrolls agents by one join string.

    Attributes:
        joined: How many are enrolled so far.
    """

    def __init__(self, join: str, found: list[LoadIdentity]) -> None:
        """Enroll by ``join``, and put what comes into ``found``.

        Raises:
            EnrollmentError: It is no join string.
        """
        self._join = JoinString.parse(join)
        self._token = EnrollmentKey.from_seed(self._join.seed)
        self._found = found
        self._left = 0

    @property
    def joined(self) -> int:
        """How many are enrolled so far."""
        return len(self._found)

    async def join(self, count: int) -> None:
        """Enroll ``count`` agents.

        Raises:
            EnrollmentError: The Manager refuses, or wants each agent accepted by hand.
            LinkError, TrustError: It cannot be reached or believed.
        """
        url = self._join.urls[0]
        anchor = await find_anchors(self._join, url, _dial)
        self._left = count
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, count)):
                    group.create_task(self._ask_on(url, anchor))
        except ExceptionGroup as failures:
            # Each of them asks for the same: what one was told, all would be.
            raise failures.exceptions[0] from failures

    async def _ask_on(self, url: str, anchor: Anchor) -> None:
        dialer = _dial(url, anchor.ca)
        try:
            while self._left > 0:
                self._left -= 1
                self._found.append(await self._ask(dialer, anchor))
        finally:
            await dialer.aclose()

    async def _ask(self, dialer: Dialer, anchor: Anchor) -> LoadIdentity:
        key, uid = IdentityKey.create(), str(uuid.UUID(bytes=uuid7().bytes))
        labels = {"simulated": "true"}
        enrolled = await ask(
            dialer, anchor=anchor, key=key, uid=uid, token=self._token, name=name_of(uid), labels=labels
        )
        if not enrolled.certificate:
            raise EnrollmentError(
                "waiting",
                "simulated agents would wait to be accepted one by one",
                "Use a token that accepts: popham token create --accept --uses N",
            )
        sealed = Envelope.parse(enrolled.assignment, types=(ASSIGNMENT_TYPE,), limit=ENVELOPE_LIMIT)
        assignment = Assignment.from_payload(sealed.payload)
        return LoadIdentity(
            uid=uid,
            certificate=enrolled.certificate.decode(),
            key=key.pem.decode(),
            group=assignment.group,
            assignment=assignment.seq,
        )


async def find_ca(join: str) -> str:
    """Return the CA that a join string pins, as PEM.

    Raises:
        LinkError, TrustError: The Manager cannot be reached or believed.
    """
    parsed = JoinString.parse(join)
    return (await find_anchors(parsed, parsed.urls[0], _dial)).ca.decode()


def _dial(url: str, ca: bytes | None) -> Dialer:
    context = unverified_context() if ca is None else client_context(ca.decode())
    return AiohttpDialer(url, context=context, limits=Limits())
