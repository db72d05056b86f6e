"""The real Manager and the real agent's end, speaking directly: no network, no sockets, no tasks.

For tests of single messages.  Peers are as a test wants them; time moves when it is told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import random
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from cryptography.hazmat.primitives.serialization import Encoding

from popham.agent.credentials import Credentials
from popham.agent.end import AgentEnd
from popham.agent.enforcer import Enforcer
from popham.agent.state import MemoryAgentState
from popham.downstream.enroll import CA_PATH, ROOT_PATH, TARGETS_PATH, Anchor, Enrolled, ask
from popham.errors import LinkError
from popham.manager.book import ManagerBook
from popham.manager.bundles import Bundles
from popham.manager.definitions import found_fleet
from popham.manager.grant import Grant, Role
from popham.manager.keys import ManagerKeys
from popham.manager.live import Live
from popham.manager.service import ManagerService
from popham.model.documents import SourceFile
from popham.net.seam import HeldConnection, Peer, Refused
from popham.opamp.codec import decode_frame, encode_frame, parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer, ServerToAgent
from popham.store.memory import MemoryStore
from popham.store.seam import Writing
from popham.testing.agent import SimApplier
from popham.testing.network import request_for
from popham.testing.virtual import VirtualClock
from popham.trust.identity import load_certificate
from popham.trust.join import EnrollmentKey, JoinString
from popham.trust.keys import IdentityKey
from popham.trust.tuf import TrustedTuf
from popham.upstream.ends import LinkEnd
from popham.upstream.hub import Hub
from popham.upstream.intake import Intake, OtlpIntake
from popham.upstream.orders import Ordering

ADMIN = Grant(actor="test", role=Role.ADMIN, source="memory")
T = TypeVar("T")


class CountingStore(MemoryStore):
    """A store in memory that counts what is written.

    Attributes:
        writes: Transactions so far.
        broken: Raised by the next ones, if set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.broken: Exception | None = None

    async def write(self, work: Callable[[Writing], T]) -> T:
        """Count one, and do it."""
        self.writes += 1
        if self.broken is not None:
            raise self.broken
        return await super().write(work)


class DirectLink:
    """A held link as a hub sees it.

    Attributes:
        sent: What the hub sent by itself, without the WebSocket header.
        ended: Code and reason of the hub's close; None while it is open.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.sent: list[bytes] = []
        self.ended: tuple[int, str] | None = None

    def send(self, data: bytes) -> bool:
        """Keep one message."""
        self.sent.append(decode_frame(data))
        return self.ended is None

    def close(self, code: int, reason: str) -> None:
        """Note the first close."""
        self.ended = self.ended or (code, reason)


class DirectManager:
    """A Manager with nothing around it; its store survives :meth:`start` called again."""

    def __init__(
        self,
        keys: ManagerKeys,
        ordering: Ordering | None = None,
        intake: Intake | None = None,
        otlp: OtlpIntake | None = None,
    ) -> None:
        """Begin with an empty store; ``ordering`` keeps operations, ``intake`` takes streams, ``otlp`` plain OTLP."""
        self.clock = VirtualClock()
        authority = copy.copy(keys.ca)
        authority._clock = self.clock  # noqa: SLF001  # keys are shared by tests, time is not
        self.keys = replace(keys, ca=authority)
        self.store = CountingStore()
        self._ordering = ordering
        self._intake = intake
        self._otlp = otlp
        self.book: ManagerBook
        self.hub: Hub
        self.live: Live
        self.service: ManagerService

    async def start(self) -> None:
        """Serve from what was written."""
        clock = self.clock
        await self.store.write(lambda tx: found_fleet(tx, Bundles(self.keys.director), now=clock.now()))
        self.book = ManagerBook(self.store, self.keys, clock)
        trust = {CA_PATH: self.keys.ca.pem, ROOT_PATH: self.keys.root, TARGETS_PATH: self.keys.targets}
        self.hub = Hub(
            self.book,
            clock,
            endpoint=lambda: "https://manager:4320/v1/opamp",
            trust=trust,
            ordering=self._ordering,
            intake=self._intake,
            otlp=self._otlp,
        )
        self.live = Live(self.book, self.hub)
        self.service = ManagerService(
            self.store,
            keys=self.keys,
            clock=clock,
            rng=random.Random(7),  # noqa: S311  # made-up, not a secret
            on_groups_changed=self.live.groups_changed,
            links=self.live,
        )
        await self.book.load()

    async def publish(self, text: str) -> None:
        """Apply definitions, and tell links."""
        await self.service.apply(ADMIN, [SourceFile("test.yaml", text)])
        await self.bring()

    async def bring(self) -> None:
        """Bring what was changed to the hub, and let it tell links."""
        await self.live.bring()
        telling = asyncio.ensure_future(self.hub.publish())
        for _ in range(3):
            await asyncio.sleep(0)
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling

    async def stock_peer(self, group: str = "fleet", *, accepts: bool = True) -> Peer:
        """Return a stock agent's connection, with a token of ``group``."""
        made = await self.service.create_token(ADMIN, kind="stock", group=group, accepts=accepts)
        await self.live.bring()
        return Peer(address="192.0.2.1", bearer=made.secret)

    async def round(self, peer: Peer, body: bytes, *, held: bool = False) -> bytes:
        """Answer one HTTP round as a listener does.

        Raises:
            Refused: It was refused before or after it was read.
        """
        refusal = self.hub.admit(peer, held=held, uid=b"")
        if refusal is not None:
            raise Refused(refusal)
        answer = self.hub.round(peer, body)
        return answer if isinstance(answer, bytes) else await answer

    async def say(self, peer: Peer, message: AgentToServer) -> ServerToAgent:
        """Answer one message that came by HTTP."""
        return parse_upstream(await self.round(peer, message.SerializeToString()))

    def hold(self, peer: Peer) -> tuple[DirectLink, LinkEnd]:
        """Open a held link. Raises Refused."""
        refusal = self.hub.admit(peer, held=True, uid=b"")
        if refusal is not None:
            raise Refused(refusal)
        link = DirectLink(peer)
        return link, self.hub.opened(link)

    async def hear(self, end: LinkEnd, message: AgentToServer | bytes) -> ServerToAgent | None:
        """Answer one message of a held link; None if there is no answer."""
        data = message if isinstance(message, bytes) else message.SerializeToString()
        answer = end.message(encode_frame(data))
        found = answer if isinstance(answer, bytes) or answer is None else await answer
        return parse_upstream(decode_frame(found)) if found else None

    async def add_agent(self, name: str, group: str = "fleet", *, accepts: bool = True) -> DirectAgent:
        """Return one of our agents, enrolled by the wire."""
        made = await self.service.create_token(ADMIN, group=group, accepts=accepts)
        await self.live.bring()
        agent = DirectAgent(self, name, JoinString.parse(made.secret))
        await agent.enroll()
        return agent


class DirectDialer:
    """Speaks to a Manager by function calls; a :class:`~popham.net.seam.Dialer` but for held links."""

    def __init__(self, manager: DirectManager, peer: Peer) -> None:
        """Speak as ``peer``."""
        self._manager = manager
        self._peer = peer

    async def exchange(self, body: bytes) -> bytes:
        """Carry one message there and the answer back."""
        try:
            return await self._manager.round(self._peer, body)
        except Refused as error:
            raise LinkError("denied", error.refusal.body, status=error.refusal.status) from error

    async def hold(self) -> HeldConnection:
        """Not here: tests open held links by themselves."""
        raise LinkError("unreachable", "no links here")

    async def fetch(self, path: str, *, limit: int) -> bytes:
        """Fetch another path."""
        return await self._other("GET", path, b"", limit)

    async def upload(self, path: str, body: bytes, *, limit: int = 0) -> bytes:
        """Bring a body to another path, and return the answer's."""
        return await self._other("POST", path, body, limit)

    async def _other(self, method: str, target: str, body: bytes, limit: int) -> bytes:
        response = await self._manager.hub.other(request_for(method, target, self._peer, body))
        if response.status not in {200, 204} or len(response.body) > limit:
            raise LinkError("status", f"{target} was answered {response.status}", status=response.status)
        return response.body

    async def aclose(self) -> None:
        """Nothing is kept open."""


class DirectAgent:
    """One of our agents; the applier and the disk are made up."""

    def __init__(self, manager: DirectManager, name: str, join: JoinString) -> None:
        self._manager = manager
        self._join = join
        self.name = name
        self.key = IdentityKey.create()
        self.uid = str(uuid.uuid4())
        self.state = MemoryAgentState()
        self.state.create_identity(self.uid, self.key)
        self.applier = SimApplier()
        self.fetched: list[str] = []
        self.end: AgentEnd

    async def enroll(self) -> Enrolled:
        """Ask to be admitted, and begin if accepted."""
        keys = self._manager.keys
        enrolled = await ask(
            DirectDialer(self._manager, Peer(address="192.0.2.2")),
            anchor=Anchor(ca=keys.ca.pem, root=keys.root, targets=keys.targets),
            key=self.key,
            uid=self.uid,
            token=EnrollmentKey.from_seed(self._join.seed),
            name=self.name,
            labels={},
        )
        if enrolled.certificate:
            self.state.save_documents(keys.root, keys.targets)
            self.state.save_certificate(enrolled.certificate)
            self.state.save_assignment(enrolled.assignment)
            self.start()
        return enrolled

    def start(self) -> None:
        """Begin from what is kept, as after a restart."""
        documents = self.state.documents()
        if documents is None:
            raise LookupError(f"{self.name} is not enrolled")
        news = asyncio.Event()
        clock = self._manager.clock
        tuf = TrustedTuf.from_bytes(documents.root, documents.targets)
        self.end = AgentEnd(
            self.state,
            Enforcer(self.state, self.applier, tuf, clock, news.set),
            Credentials(self.state, clock, lambda: 0.5, lambda: None),
            facts={"host.name": self.name},
            fetch=self._fetch,
            version="0",
            news=news,
        )

    async def _fetch(self, sha256: str, limit: int) -> bytes:
        self.fetched.append(sha256)
        dialer = DirectDialer(self._manager, self.peer())
        return await dialer.fetch(f"/v1/content/sha256/{sha256}", limit=limit)

    def peer(self) -> Peer:
        """Return a new connection of this agent, showing its certificate."""
        pem = self.state.certificate()
        der = load_certificate(pem).public_bytes(Encoding.DER) if pem else None
        return Peer(address="192.0.2.2", certificate=der)

    async def round(self, peer: Peer | None = None, *, exchanges: int = 8) -> None:
        """Make one round over HTTP: report, hear, and say what came of it."""
        message = self.end.report(force=True)
        for _ in range(exchanges):
            if message is None:
                return
            await self.end.receive(await self._manager.round(peer or self.peer(), message))
            message = self.end.report(force=False)
