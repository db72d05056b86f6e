"""The ways to agents' services, and what is brought there: for whoever visits, a Manager or a Proxy Manager.

Rules:

1. TLS to an agent's own service ends at a certificate of our CA that names the agent.  Who is not born yet has none;
   there it ends at the key that signs the answers, so that nobody in between reads what is brought right after birth.
2. A way to an agent costs memory only while it is used: of a large fleet few are visited at once.
3. What an agent lacks is brought under the rules by which it might fetch it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from cryptography.x509 import load_der_x509_certificate

from popham.errors import PophamError, VisitError
from popham.model.fleet import Admission
from popham.net.held import AiohttpConnection
from popham.net.seam import Limits
from popham.net.signing import Asked
from popham.net.visit_names import Names
from popham.net.visit_tls import VisitContext, VisitContexts
from popham.net.visiting import Reply, VisitDialer
from popham.trust.identity import identity_of
from popham.trust.keys import PublicKey
from popham.upstream.book import Book, Reading
from popham.upstream.record import Record
from popham.upstream.targets import Target

LACKS_BYTES = 16 * 1024 * 1024
"""Bytes of bodies that one visit brings."""


class VisitDials:
    """Makes the ways to agents' services, over the network."""

    def __init__(self, book: Book, *, ca: str, trust_domain: str, limits: Limits) -> None:
        """Dial nobody yet; called in a running loop.

        Args:
            book: Who is known, for sentences.
            ca: Certificates of the fleet's CA, PEM.
            trust_domain: Of the fleet.
            limits: Bounds of messages and links.
        """
        self._book = book
        self._domain = trust_domain
        self._limits = limits
        self._names = Names()
        self._contexts = VisitContexts(ca)

    async def aclose(self) -> None:
        """Look no names up any more."""
        await self._names.close()

    def dial(self, target: Target) -> LazyDials:
        """Return the way to one agent."""
        if target.place.tls == "agent" and not target.uid:
            return UnbornDials(partial(self._make, target))
        verify = partial(self.verify, target) if target.place.tls == "agent" else _believe
        return LazyDials(partial(self._make, target, verify))

    def _make(self, target: Target, verify: Callable[[bytes], None]) -> VisitDialer:
        return VisitDialer(
            target.place,
            context=self.context(target),
            limits=self._limits,
            verify=verify,
            names=self._names,
        )

    def context(self, target: Target) -> VisitContext | None:
        """Return how TLS to an agent is done; None for not at all."""
        return self._contexts.find(target.place.tls, target.place.ca, born=bool(target.uid))

    def verify(self, target: Target, der: bytes) -> None:
        """Return if a certificate of our CA names the agent that is meant; raises VisitError ``visit.identity``."""
        try:
            found = identity_of(der)
        except PophamError as error:
            problem = f"what stands at {target.place.url} shows a certificate of ours that names no agent"
            raise VisitError("identity", problem, "Correct the address in its definition") from error
        if found.uid == target.uid and found.trust_domain == self._domain:
            return
        other = self._book.record(found.uid)
        who = f"the agent {other.name}" if other else f"an agent that is not known here, {found.uid},"
        problem = f"{who} answers instead"
        raise VisitError("identity", problem, "Correct the address of one of the two")


class LazyDials:
    """A way to an agent that is made when it is used; implements :class:`popham.upstream.visits.Dials`."""

    def __init__(self, make: Callable[[], VisitDialer]) -> None:
        """Make nothing yet."""
        self._make = make
        self._dialer: VisitDialer | None = None

    async def post(self, asked: Asked) -> Reply:
        """Send one request and return the answer. Raises VisitError, or ConfigError."""
        return await self._open().post(asked)

    async def hold(self, asked: Asked) -> tuple[AiohttpConnection | None, Reply]:
        """Open a held link. Raises VisitError, or ConfigError."""
        return await self._open().hold(asked)

    async def aclose(self) -> None:
        """Close what is open."""
        dialer, self._dialer = self._dialer, None
        if dialer is not None:
            await dialer.aclose()

    def _open(self) -> VisitDialer:
        if self._dialer is None:
            self._dialer = self._make()
        return self._dialer


class UnbornDials(LazyDials):
    """A way to whoever waits to be born: TLS has to end at the key that signs what comes."""

    def __init__(self, make: Callable[[Callable[[bytes], None]], VisitDialer]) -> None:
        """Make nothing yet; ``make`` is given whom to show the certificate of the other end."""
        super().__init__(lambda: make(self._meet))
        self._met = self._signer = ""

    async def post(self, asked: Asked) -> Reply:
        """Send one request and return the answer. Raises VisitError, or ConfigError."""
        reply = await super().post(asked)
        # The keyid is only claimed; whoever reads the answer verifies that this key has signed it.
        _, _, rest = reply.headers.get("signature-input", "").partition('keyid="')
        signer = rest.partition('"')[0]
        if signer and self._met:
            self._check(signer)
            self._signer = signer
        return reply

    async def aclose(self) -> None:
        """Close what is open; the next visit may meet another machine."""
        self._met = self._signer = ""
        await super().aclose()

    def _meet(self, der: bytes) -> None:
        """Take note of who is at the other end of a new connection: the same as before, once it has answered."""
        try:
            self._met = PublicKey.wrap(load_der_x509_certificate(der).public_key()).keyid
        except (ValueError, PophamError):
            self._met = "none of ours"
        self._check(self._signer or self._met)

    def _check(self, signer: str) -> None:
        if signer != self._met:
            problem = "TLS ends at another machine than the one that answers"
            hint = (
                "For a web server in front set 'tls: web' in the definition; else somebody stands in between"
            )
            raise VisitError("identity", problem, hint)


def find_lacking(book: Book, record: Record) -> Mapping[str, bytes | Reading]:
    """Return digest → body, or what reads it, of what an agent says that it lacks, and its group's bundle names.

    Bodies with secrets wait for the serial that their group asks for, as where agents fetch.
    """
    wanted = book.wanted(record.group)
    if wanted is None or not record.lacks or record.admission is not Admission.ACCEPTED:
        return {}
    withheld = wanted.guarded if wanted.guards(record) else frozenset()
    found: dict[str, bytes | Reading] = {}
    size = 0
    for sha256 in record.lacks:
        body = None if sha256 in withheld else book.content(sha256, record.group)
        if body is None:
            continue
        size += len(body) if isinstance(body, bytes) else 0  # such are read one by one, as they are brought
        if size > LACKS_BYTES:
            break
        found[sha256] = body
    return found


def _believe(_der: bytes) -> None:
    """Accept any certificate: the context has looked at it, or nothing can be expected of it yet."""
