"""A Manager's service, and machines that join as Proxy Managers."""

import uuid
from dataclasses import dataclass, field

import pytest
from tests.manager.conftest import ADMIN, bench, group, keys

from popham.manager.book import ManagerBook
from popham.manager.proxies.directory import ProxyDirectory
from popham.net.seam import Peer
from popham.opamp.schema.popham.v1.popham_pb2 import Enroll, Renew
from popham.trust.identity import load_certificate, make_csr, read_identity
from popham.trust.join import EnrollmentKey, JoinString
from popham.trust.keys import IdentityKey
from popham.trust.renewal import sign_renewal

__all__ = ["bench", "keys"]
ADDRESS = "192.0.2.9"


def proxy(name="dock", spec="groups: [paris], names: [dock.example, 10.0.0.7]"):
    return f"apiVersion: popham/v1\nkind: Proxy\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"


def visited(name="web1", spec="address: 10.1.0.1, proxy: dock"):
    return f"apiVersion: popham/v1\nkind: Agent\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"


@dataclass
class Machine:
    """One that asks to be let in."""

    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    key: IdentityKey = field(default_factory=IdentityKey.create)
    certificate: bytes = b""

    def __post_init__(self):
        self.csr = make_csr(self.key, self.uid)

    @property
    def identity(self):
        return read_identity(load_certificate(self.certificate))


@dataclass
class Docks:
    """A Manager with a book and a directory of proxies."""

    bench: object
    book: ManagerBook
    directory: ProxyDirectory

    async def token(self, name="dock", **more):
        made = await self.bench.service.create_token(ADMIN, kind="proxy", proxy=name, **more)
        return made.secret

    async def enroll(self, machine, join, name="host", *, proxy=True):
        token = EnrollmentKey.from_seed(JoinString.parse(join).seed)
        signature = token.sign(machine.csr)
        request = Enroll(name=name, token_id=token.token_id, signature=signature, generation=5, proxy=proxy)
        key = uuid.UUID(machine.uid).bytes
        found = await self.book.enroll(Peer(address=ADDRESS), key, machine.csr, request)
        machine.certificate = found.certificate or machine.certificate
        return found

    async def renew(self, machine):
        signature = sign_renewal(machine.key, machine.csr)
        request = Renew(certificate=machine.certificate, signature=signature, generation=5)
        key = uuid.UUID(machine.uid).bytes
        machine.certificate = (
            await self.book.renew(Peer(address=ADDRESS), key, machine.csr, request)
        ).certificate
        return machine.identity

    async def make(self, name="dock"):
        """Return a machine that is the proxy of a definition."""
        machine, join = Machine(), await self.token(name)
        await self.enroll(machine, join)
        await self.bench.service.accept(ADMIN, machine.uid)
        await self.enroll(machine, join)
        await self.directory.load()
        return machine

    async def proxy(self, name="dock"):
        return await self.bench.store.read(lambda tx: tx.proxy(name))

    async def row(self, machine):
        return await self.bench.store.read(lambda tx: tx.agent(machine.uid))


@pytest.fixture
async def docks(bench):
    book = ManagerBook(bench.store, bench.keys, bench.clock)
    directory = ProxyDirectory(bench.store, changed=book.proxies_changed)
    book.watch_proxies(directory.has)
    await book.load()
    await bench.apply(group("paris"), group("left-bank", "{parent: paris}"), group("rome"), proxy())
    return Docks(bench, book, directory)
