"""A machine that may not dial out, until it belongs to a fleet: it waits behind its service to be born by a visit.

Rules:

1. Nobody is believed but who shows the trust documents that the join string pins, and has signed by their director, or
   with a key that this director's visitor statement names: a Proxy Manager.
2. It asks at each visit, until a certificate comes; a refusal is shown on the machine, and it goes on waiting.
3. The token's seed is forgotten with the first certificate, and never travels.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from collections.abc import Callable
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from popham.agent.joining import keep_enrolled
from popham.agent.records import Join
from popham.agent.service import enable
from popham.agent.settings import AgentSettings
from popham.agent.state import AgentState
from popham.agent.visitors import Visitors
from popham.downstream.birth import open_documents, reopen_documents
from popham.downstream.enroll import Anchor, read_answer, request_admission
from popham.downstream.visited import Visited
from popham.errors import EnrollmentError, StateError, TrustError, VisitError, WireError
from popham.model.fleet import Admission
from popham.net.seam import HeldConnection
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.session import AgentSession
from popham.opamp.wire import OWN_AGENT, SESSION, TRUST
from popham.streams.frame import Stream
from popham.trust.birth import AlreadyBorn
from popham.trust.join import EnrollmentKey, JoinString
from popham.trust.keys import IdentityKey
from popham.trust.tuf import TrustedTuf

_log = logging.getLogger(__name__)
WAITS = (
    "it waits to be visited: start its service, and give its address to the Manager in an Agent definition"
)
"""What a machine says of itself while nobody came."""


def wait_for_birth(state: AgentState, join: JoinString) -> str:
    """Have this machine wait to be born into the fleet of ``join``, and return its instance_uid; nobody is dialled.

    Its service starts with the agent from now on: it has no other way.

    Raises:
        StateError: ``state.enrolled``: it belongs to a fleet already.
    """
    if state.certificate() is not None:
        hint = "Empty its state directory to let it join another fleet"
        raise StateError("enrolled", "this machine has joined a fleet already", hint)
    state.need_identity()
    state.save_join(
        Join(urls=join.urls, ca=b"", ca_sha256=join.ca, root_sha256=join.root, seed=join.seed, walled=True)
    )
    enable(state, on=True)
    return state.uid


def waits_for_birth(state: AgentState) -> bool:
    """Return whether this machine is to be born by a visit, and was not yet."""
    join = state.join()
    return join is not None and join.walled and state.certificate() is None


class Unborn:
    """Whoever is behind the service of such a machine; implements :class:`popham.downstream.visited.Visited`.

    Once :meth:`become` was called it is the agent that was born, so that its service goes on.

    Attributes:
        born: Set once certificate and assignment are kept.
    """

    def __init__(
        self,
        state: AgentState,
        settings: AgentSettings,
        said: Callable[[str, float | None], None] = lambda _text, _wait: None,
    ) -> None:
        """Read what is kept.

        Args:
            state: Has join string and key.
            settings: Name and labels.
            said: Told how it stands, for the machine's own status page.
        """
        self.born = asyncio.Event()
        self._state = state
        self._settings = settings
        self._said = said
        self._session = AgentSession(
            uuid.UUID(state.uid).bytes, int(OWN_AGENT), (SESSION, TRUST), adopts=False
        )
        self._anchor: Anchor | None = None
        self._tuf: TrustedTuf | None = None
        self._visitors: Visitors | None = None
        self._agent: Visited | None = None
        self._there = asyncio.Event()
        self._reopen()
        said(WAITS, None)

    def become(self, agent: Visited) -> None:
        """Be ``agent`` from now on."""
        self._agent = agent
        self._there.set()

    def _join(self) -> Join:
        join = self._state.join()
        if join is None:
            raise StateError(
                "not_enrolled", "this machine waits for no fleet", "Run 'popham agent enroll' again"
            )
        return join

    def _reopen(self) -> None:
        join, kept = self._join(), self._state.documents()
        if kept is None or not join.ca:
            return
        anchor = Anchor(ca=join.ca, root=kept.root, targets=kept.targets)
        self._tuf = reopen_documents(anchor, ca=join.ca_sha256, root=join.root_sha256)
        self._anchor = anchor if self._tuf is not None else None
        self._visitors = Visitors(self._tuf) if self._tuf is not None else None

    # What the service asks.

    @property
    def uid(self) -> str:
        """instance_uid, which this machine chose itself."""
        return self._state.uid

    @property
    def identity(self) -> IdentityKey:
        """The key that signs answers, and that the certificate will be for."""
        return self._state.identity_key()

    def find_director(self, keyid: str) -> Ed25519PublicKey | None:
        """Return the director's key of that id, by the documents that are kept; None if there are none."""
        if self._agent is not None:
            return self._agent.find_director(keyid)
        return None if self._tuf is None else self._tuf.find_director(keyid)

    def find_visitor(self, keyid: str, statement: bytes, *, relays: bool = False) -> Ed25519PublicKey | None:
        """Return the key that a visitor statement names, by the documents that are kept; None if there are none."""
        if self._agent is not None:
            return self._agent.find_visitor(keyid, statement, relays=relays)
        return None if self._visitors is None else self._visitors.find(keyid, statement, None)

    def find_founder(self, keyid: str, documents: bytes, statement: bytes = b"") -> Ed25519PublicKey | None:
        """Return the director's key in documents that the join string pins, or that of a visitor whom it lets in.

        None if they are another fleet's, or the statement is none of theirs.
        """
        if self._agent is not None:
            return self._agent.find_founder(keyid, documents, statement)
        try:
            _, tuf = self._open(documents)
        except TrustError as error:
            _log.warning("somebody came to let this machine be born, and is not believed: %s", error)
            self._said(f"somebody came who is not believed: {error}", None)
            return None
        return Visitors(tuf).find(keyid, statement, None) if statement else tuf.find_director(keyid)

    def _open(self, documents: bytes) -> tuple[Anchor, TrustedTuf]:
        join = self._join()
        return open_documents(documents, ca=join.ca_sha256, root=join.root_sha256, held=self._tuf)

    async def birth(self, documents: bytes) -> bytes:
        """Keep the documents of a visitor who is believed, and return the request to be admitted.

        Raises:
            AlreadyBorn: It was born meanwhile.
            TrustError: As :func:`popham.downstream.birth.open_documents`.
        """
        if self._agent is not None:
            return await self._agent.birth(documents)
        if self.born.is_set():
            raise AlreadyBorn.of(self.uid)
        anchor, tuf = self._open(documents)
        if anchor != self._anchor:
            self._state.save_documents(anchor.root, anchor.targets)
            self._state.save_join(replace(self._join(), ca=anchor.ca))
            self._anchor, self._tuf, self._visitors = anchor, tuf, Visitors(tuf)
            _log.info("the fleet that this machine is to belong to has come")
        return self._request()

    def _request(self) -> bytes:
        """Return the request to be admitted; a bare sign of life once that is granted."""
        if self.born.is_set():
            return AgentToServer(instance_uid=self._session.uid).SerializeToString()
        join = self._join()
        if join.seed is None:
            raise StateError("not_enrolled", "the token is gone", "Run 'popham agent enroll' again")
        message = request_admission(
            self.identity,
            self.uid,
            EnrollmentKey.from_seed(join.seed),
            name=self._settings.name or socket.gethostname(),
            labels=self._settings.labels,
            proxy=self._settings.kind == "proxy",
        )
        return self._session.request(message)

    async def visited(self, body: bytes) -> bytes:
        """Take what came of asking, and return the first report, or ask again.

        Raises:
            WireError: It is no answer to what was asked.
        """
        if self._agent is not None:
            return await self._agent.visited(body)
        if not body or self.born.is_set():
            return self._request()
        self._hear(body)
        if not self.born.is_set():
            return self._request()
        await self._there.wait()
        if self._agent is None:
            raise WireError("answer", "this machine was born, and is not there")
        return await self._agent.visited(b"")

    def _hear(self, body: bytes) -> None:
        """Keep what came of asking, or say on the machine why nothing did."""
        if self._anchor is None:
            raise WireError("answer", "an answer came before the fleet's documents")
        answer = self._session.receive(body)
        try:
            enrolled = read_answer(answer, self._anchor, self.identity, self.uid)
        except (EnrollmentError, TrustError) as error:
            _log.warning("not born: %s", error)
            self._said(f"not let in, and waits on: {error}", None)
            return
        if enrolled.admission is not Admission.ACCEPTED:
            _log.info("not born yet: %s", enrolled.text or enrolled.admission)
            self._said(enrolled.text or f"not let in: {enrolled.admission}", None)
            return
        keep_enrolled(self._state, enrolled)
        _log.info("this machine was born as %s", self.uid)
        self._said("", None)
        self.born.set()

    def report(self) -> bytes:
        """Return what there is to report while an exchange is still worked on."""
        return self._request() if self._agent is None else self._agent.report()

    async def serve(self, link: HeldConnection) -> None:
        """Keep a link, if it was born; else raise VisitError ``visit.unborn``."""
        if self._agent is None:
            raise VisitError("unborn", "this machine waits to be born, and keeps no link")
        await self._agent.serve(link)

    async def content(self, sha256: str, body: bytes) -> None:
        """Take a body, if it was born; else raise VisitError ``visit.unborn``."""
        if self._agent is None:
            raise VisitError("unborn", "this machine waits to be born, and takes no content")
        await self._agent.content(sha256, body)

    async def output(self, sha256: str) -> bytes | None:
        """Return an output, if it was born; None before, as nothing was ordered of it."""
        return None if self._agent is None else await self._agent.output(sha256)

    async def stream(self, stream: Stream, standing: bytes, limit: int) -> bytes | None:
        """Return frames of a stream, if it was born; None before, as there is none."""
        return None if self._agent is None else await self._agent.stream(stream, standing, limit)

    async def relay(self, body: bytes) -> bytes:
        """Answer a visitor's message to a Proxy Manager, if it was born as one. Raises VisitError ``visit.operation``."""
        if self._agent is None:
            problem = "this machine waits to be born, so there is nothing to relay"
            raise VisitError("operation", problem, "Visit it once it was admitted")
        return await self._agent.relay(body)

    def lost(self) -> None:
        """Take note that what was reported last did not arrive."""
        if self._agent is not None:
            self._agent.lost()
