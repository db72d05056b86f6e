"""A visitor without a network, and the world behind a service that notes what reaches it."""

import asyncio

from popham.downstream.service import VisitService
from popham.errors import LinkError
from popham.net.seam import Peer, Request
from popham.net.signing import Frames, Operation, open_answer, read_asked, show_visitor, sign_request
from popham.testing.virtual import VirtualClock, run_virtual
from popham.trust.keys import IdentityKey, SigningKey

UID = "0191d5a8-0000-7000-8000-000000000001"


class World:
    """An agent that notes what it was asked; ``until`` makes an exchange with a body take so many seconds."""

    def __init__(self, director):
        self.uid = UID
        self.identity = IdentityKey.create()
        self.directors = {director.keyid: director.public.crypto}
        self.founders, self.visitors = {}, {}
        self.founding = []
        self.bodies, self.contents, self.births, self.links = [], [], [], []
        self.outputs, self.streams, self.streamed = {}, {}, []
        self.lost_reports = self.reports = 0
        self.until = 0.0
        self.error = None

    def find_director(self, keyid):
        return self.directors.get(keyid)

    def find_visitor(self, keyid, statement, *, relays=False):
        return self.visitors.get((keyid, statement))

    def find_founder(self, keyid, documents, statement=b""):
        self.founding.append(documents)
        return self.founders.get(keyid)

    async def visited(self, body):
        self.bodies.append(body)
        number = len(self.bodies)
        if body:
            await asyncio.sleep(self.until)
        if self.error is not None:
            raise self.error
        return f"report {number}".encode()

    def report(self):
        self.reports += 1
        return f"state {self.reports}".encode()

    async def serve(self, link):
        self.links.append(link)
        async for message in link:
            await link.send(b"heard " + message)

    async def content(self, sha256, body):
        self.contents.append((sha256, body))
        await asyncio.sleep(self.until)

    async def output(self, sha256):
        return self.outputs.get(sha256)

    async def stream(self, stream, standing, limit):
        self.streamed.append((stream, standing, limit))
        found = self.streams.get(stream, b"")
        if isinstance(found, Exception):
            raise found
        return found

    async def birth(self, documents):
        self.births.append(documents)
        return b"proof"

    def lost(self):
        self.lost_reports += 1


class Visitor:
    """Signs requests, and believes answers that are signed for them."""

    def __init__(self, service, world, director, *, audience=UID, address="192.0.2.7", statement=b""):
        self.service, self.world, self.director = service, world, director
        self.audience, self.address = audience, address
        self.nonce, self.statement = "", statement

    def request(self, operation=Operation.VISIT, body=b"", *, method="POST", query="", nonce=None):
        """Return a signed request, as it comes out of a listener."""
        self.asked = sign_request(
            self.director.crypto,
            self.director.keyid,
            method=method,
            query=query,
            body=body,
            audience=self.audience,
            operation=operation,
            nonce=self.nonce if nonce is None else nonce,
            now=0.0,
        )
        self.asked = show_visitor(self.asked, self.statement)
        headers = {name.lower(): value for name, value in self.asked.headers.items()}
        path, peer = "/SQC/v1/visit", Peer(self.address)
        return Request(method=method, path=path, peer=peer, raw_query=query, headers=headers, body=body)

    async def ask(self, *args, again=True, **kwargs):
        """Ask, once more if the nonce was not the current one, and return the answer."""
        request = self.request(*args, **kwargs)
        call = self.service.upgrade if request.method == "GET" else self.service.answer
        answer = await call(request)
        self.believe(request, answer)
        if again and getattr(answer, "status", 101) == 428:
            return await self.ask(*args, again=False, **kwargs)
        return answer

    def believe(self, request, answer):
        """Verify an answer's signature, if it has one, and keep its nonce."""
        if "Signature" not in answer.headers:
            return
        asked = read_asked(request.method, request.raw_query, request.headers, request.body)
        found = open_answer(
            asked,
            status=getattr(answer, "status", 101),
            headers=answer.headers,
            body=getattr(answer, "body", b""),
            find=lambda keyid: (
                self.world.identity.public.crypto if keyid == self.world.identity.keyid else None
            ),
        )
        self.nonce = found.nonce

    async def hold(self):
        """Open a held link, and return the other end of it."""
        accepted = await self.ask(Operation.HOLD, method="GET")
        link = Held(self.address)
        link.frames = Frames(
            self.director.crypto, self.world.identity.public.crypto, nonce=self.used, up=False
        )
        link.handler = accepted.opened(link)
        return link

    @property
    def used(self):
        """The nonce that the last request had."""
        return self.asked.headers["Signature-Input"].partition('nonce="')[2].partition('"')[0]


class Held:
    """A held link in memory, as the listener gives it to the service."""

    def __init__(self, address):
        self.peer = Peer(address)
        self.sent, self.closed_with = [], None
        self.slow = self.dead = False

    def send(self, data):
        if self.slow:
            return False
        self.sent.append(data)
        return True

    def close(self, code, reason):
        if self.closed_with is None:
            self.closed_with = (code, reason)
            if not self.dead:
                self.handler.closed(code)

    def say(self, message):
        self.handler.message(self.frames.seal(message))

    def heard(self):
        found, self.sent = [self.frames.open(data) for data in self.sent], []
        return found


class Scene:
    """A service, the world behind it, and one visitor, in virtual time."""

    def __init__(self):
        self.clock = VirtualClock()
        self.director = SigningKey.create()
        self.world = World(self.director)
        self.numbers = iter(range(1_000_000))

    def run(self, story):
        async def told():
            self.service = VisitService(
                self.world, clock=self.clock, nonce=lambda: f"nonce-{next(self.numbers)}"
            )
            self.visitor = self.visits(self.director)
            try:
                await story()
            finally:
                await self.service.aclose()

        run_virtual(told(), self.clock)

    def visits(self, director, **more):
        return Visitor(self.service, self.world, director, **more)


GONE = LinkError("unreachable", "nobody is there")
