"""The Manager dials: what it visits with, whom its changes concern, and what people see of it.

Rules:

1. TLS to an agent's own service ends at a certificate of our CA that names the agent.  Who is not born yet has none;
   there it ends at the key that signs the answers, so that nobody in between reads what is brought right after birth.
2. A way to an agent costs memory only while it is used: of a large fleet few are visited at once.
3. What an agent lacks is brought under the rules by which it might fetch it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from cryptography.x509 import load_der_x509_certificate

from popham.clock import Clock
from popham.errors import PophamError, VisitError
from popham.link.visits import AWAITED, LAPSED
from popham.manager.book import ManagerBook
from popham.manager.keys import ManagerKeys
from popham.manager.settings import VisitsSettings
from popham.manager.visit_targets import VisitTargets
from popham.manager.visit_views import VisitView, view_visit
from popham.model.fleet import Admission
from popham.net.held import AiohttpConnection
from popham.net.seam import Limits
from popham.net.signing import Asked
from popham.net.visit_names import Names
from popham.net.visit_tls import VisitContext, VisitContexts
from popham.net.visiting import Reply, VisitDialer
from popham.store.seam import Store
from popham.trust.birth import FoundingDocuments
from popham.trust.identity import identity_of
from popham.trust.keys import PublicKey
from popham.upstream.hub import Hub
from popham.upstream.record import Record
from popham.upstream.targets import Target
from popham.upstream.visitor import Visitor
from popham.upstream.visits import Dials, Signer

LACKS_BYTES = 16 * 1024 * 1024
"""Bytes of bodies that one visit brings."""


class Visits:
    """Everything of a Manager that has to do with dialling agents.

    Attributes:
        targets: Whom it visits.
        visitor: When it does.
    """

    def __init__(
        self,
        settings: VisitsSettings,
        book: ManagerBook,
        hub: Hub,
        store: Store,
        keys: ManagerKeys,
        *,
        clock: Clock,
        draw: Callable[[], float],
        limits: Limits,
        dial: Callable[[Target], Dials] | None = None,
        unreached: Callable[[str, PophamError], None] = lambda _uid, _error: None,
    ) -> None:
        """Wire the parts; :meth:`run` starts them.

        Args:
            settings: Of the Manager's configuration.
            book: Who is known.
            hub: Hears what visited agents say.
            store: Has the definitions.
            keys: The director signs requests; the CA is whom agents' certificates come from.
            clock: Wall time, and the time of the schedule.
            draw: Random number in [0, 1).
            limits: Bounds of messages and links.
            dial: Returns the way to an agent; None for the network.
            unreached: Told the uid of an agent that could not be visited, and why.
        """
        self.enabled = settings.enabled
        self._book = book
        self._hub = hub
        self._limits = limits
        self._names = Names()
        self._domain = keys.ca.trust_domain
        self._contexts = VisitContexts(keys.ca.pem.decode())
        self.targets = VisitTargets(
            book,
            store,
            clock,
            changed=lambda keys: self.visitor.changed(keys),  # noqa: PLW0108  # made below
            http_proxy=settings.http_proxy,
        )
        self.visitor = Visitor(
            hub,
            book,
            self.targets,
            dial=dial or self.dial,
            signer=Signer(keys.director.crypto, keys.director.keyid),
            documents=FoundingDocuments(ca=keys.ca.pem, root=keys.root, targets=keys.targets).encode(),
            clock=clock,
            draw=draw,
            limits=limits,
            lacks=partial(find_lacking, book),
            outputs=hub.outputs,
            streams=hub.streams,
            brought=hub.tell,
            unreached=unreached,
            lanes=(settings.concurrency, max(1, settings.concurrency // 2)),
        )
        book.on_joined = self.targets.joined

    async def run(self) -> None:
        """Visit, until cancelled; where visits are not enabled, only wait."""
        if not self.enabled:
            await asyncio.get_running_loop().create_future()
        self._hub.streams.on_ready = lambda record: self.visitor.ready(self.targets.key_of(record.uid))
        keeping = asyncio.ensure_future(self.targets.run())
        visiting = asyncio.ensure_future(self.visitor.run())
        try:
            await asyncio.wait({keeping, visiting}, return_when=asyncio.FIRST_COMPLETED)
            for task in (keeping, visiting):
                if task.done():
                    await task
        finally:
            for task in (keeping, visiting):
                task.cancel()
            await asyncio.gather(keeping, visiting, return_exceptions=True)
            await self._names.close()

    # What changed.

    def reported(self, record: Record) -> None:
        """Take note that an agent said something new, lacks something, or has outputs that are wanted."""
        if not self.enabled:
            return
        self.targets.reported(record)
        key = self.targets.key_of(record.uid)
        if record.lacks or (record.orders is not None and record.orders.want_outputs):
            self.visitor.lacking(key)
        if record.state is not None and record.state.fallback in {AWAITED, LAPSED}:
            self.visitor.waited_for(key)

    def agent_changed(self, uid: str) -> None:
        """Take note that an administrator changed an agent; if it waits for that, it is visited soon."""
        self.targets.agent_changed(uid)
        self.hasten(uid)

    def groups_changed(self, groups: Iterable[str]) -> None:
        """Take note that groups are to have something else."""
        self.targets.groups_changed(groups)

    def definitions_changed(self, names: Sequence[str]) -> None:
        """Take note that definitions were made, changed or deleted."""
        self.targets.definitions_changed(names)

    # What people ask.

    def hasten(self, uid: str) -> bool:
        """Have an agent visited now; False if it is not to be visited."""
        key = self.targets.key_of(uid)
        # Who has just dialled is not visited any more, and whoever asked has to hear that nobody goes there.
        return self.enabled and self.targets.visits(key) and self.visitor.hasten(key)

    def visit(self, uid: str) -> VisitView | None:
        """Return how an agent is visited; None if it is not."""
        return self._view(self.targets.key_of(uid))

    def visit_of_definition(self, name: str) -> VisitView | None:
        """Return how whoever is at a definition is visited; None if nobody is."""
        return self._view(self.targets.key_of_definition(name))

    def _view(self, key: str) -> VisitView | None:
        target = self.targets.read().get(key)
        if target is None or not self.enabled:
            return None
        return view_visit(target, self.visitor.sight(key), self.targets.definition_of(target.uid))

    # How it gets there.

    def dial(self, target: Target) -> LazyDials:
        """Return the way to one agent."""
        if target.place.tls == "agent" and not target.uid:
            return UnbornDials(partial(self._make, target))
        verify = partial(self._verify, target) if target.place.tls == "agent" else _believe
        return LazyDials(partial(self._make, target, verify))

    def _make(self, target: Target, verify: Callable[[bytes], None]) -> VisitDialer:
        return VisitDialer(
            target.place,
            context=self._context(target),
            limits=self._limits,
            verify=verify,
            names=self._names,
        )

    def _context(self, target: Target) -> VisitContext | None:
        return self._contexts.find(target.place.tls, target.place.ca, born=bool(target.uid))

    def _verify(self, target: Target, der: bytes) -> None:
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


def find_lacking(book: ManagerBook, record: Record) -> Mapping[str, bytes]:
    """Return digest → body of what an agent says that it lacks, as far as its group's bundle names it.

    Bodies with secrets wait for the serial that their group asks for, as where agents fetch.
    """
    wanted = book.wanted(record.group)
    if wanted is None or not record.lacks or record.admission is not Admission.ACCEPTED:
        return {}
    withheld = wanted.guarded if wanted.guards(record) else frozenset()
    found: dict[str, bytes] = {}
    size = 0
    for sha256 in record.lacks:
        body = None if sha256 in withheld else book.content(sha256, record.group)
        if body is None:
            continue
        size += len(body)
        if size > LACKS_BYTES:
            break
        found[sha256] = body
    return found


def _believe(_der: bytes) -> None:
    """Accept any certificate: the context has looked at it, or nothing can be expected of it yet."""
