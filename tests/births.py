"""Machines that wait to be born, and visitors that reach them without a network."""

import tempfile
from dataclasses import replace
from pathlib import Path

from popham.agent.birth import Unborn, wait_for_birth
from popham.agent.settings import AgentSettings
from popham.agent.state import MemoryAgentState
from popham.downstream.service import VisitService
from popham.manager.keys import create_keys
from popham.net.seam import Peer, Request
from popham.net.visiting import Reply
from popham.trust.birth import FoundingDocuments
from popham.trust.join import EnrollmentKey, JoinString
from popham.upstream.visits import Nonce, Signer, Visit

PATH = "/SQC/v1/visit"


def make_fleet(clock):
    """Return the keys of a fleet of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return create_keys(Path(folder), urls=("https://manager:4320",), trust_domain="test", clock=clock)


def documents_of(keys):
    """Return a fleet's trust documents, as they travel."""
    return FoundingDocuments(ca=keys.ca.pem, root=keys.root, targets=keys.targets).encode()


def join_of(keys, seed=None):
    """Return a join string of a fleet."""
    return JoinString.parse(keys.join_string(seed or EnrollmentKey.create().seed))


class Waiting:
    """A machine that waits, and its service; ``start`` begins a new process on what it kept."""

    def __init__(self, clock, join, name="walled"):
        self.clock = clock
        self.state = MemoryAgentState()
        self.settings = AgentSettings(name=name, labels={"site": "mine"})
        self.said = []
        self.numbers = iter(range(1_000_000))
        wait_for_birth(self.state, join)

    def start(self):
        self.unborn = Unborn(self.state, self.settings, lambda text, _wait: self.said.append(text))
        self.service = VisitService(
            self.unborn, clock=self.clock, nonce=lambda: f"{self.uid}-{next(self.numbers)}"
        )
        return self

    @property
    def uid(self):
        return self.state.uid

    async def stop(self):
        await self.service.aclose()


class Wire:
    """The way to one service; keeps what went over it, and may change it.

    ``answer`` changes a reply before it arrives.
    """

    def __init__(self, machine):
        self.machine = machine
        self.asked, self.replies = [], []
        self.answer = lambda reply: reply

    async def post(self, asked):
        self.asked.append(asked)
        answer = await self.machine.service.answer(request_of(asked))
        headers = {name.lower(): value for name, value in answer.headers.items()}
        self.replies.append(self.answer(Reply(answer.status, headers, answer.body)))
        return self.replies[-1]

    async def hold(self, asked):
        answer = await self.machine.service.upgrade(request_of(asked))
        return None, Reply(answer.status, dict(answer.headers), answer.body)

    async def aclose(self):
        pass


def request_of(asked):
    """Return a request as it comes out of a listener."""
    headers = {name.lower(): value for name, value in asked.headers.items()}
    return Request(
        method=asked.method,
        path=PATH,
        peer=Peer("192.0.2.7"),
        raw_query=asked.query,
        headers=headers,
        body=asked.body,
    )


def visit_of(wire, director, clock, *, uid="", key=b"", nonce=None, statement=b""):
    """Return a visit by the Manager that has this director's key; of a proxy's key, with its statement."""
    signer = Signer(director.crypto, director.keyid, lambda: statement)
    return Visit(wire, signer, nonce or Nonce(), uid=uid, key=key, clock=clock)


def claiming(director, other):
    """Return a signer that claims the keyid of one key, and has another."""
    return replace(Signer(director.crypto, director.keyid), key=other.crypto)
