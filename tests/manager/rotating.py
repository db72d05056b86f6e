"""One agent that changes its key, for the tests of what its Manager believes."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding
from tests.manager.conftest import NOW, machine

from popham.manager.agents import assign
from popham.manager.book import ManagerBook
from popham.model.fleet import Admission
from popham.model.generation import GENERATION
from popham.net.seam import Peer
from popham.opamp.schema.popham.v1.popham_pb2 import Renew
from popham.store.rows import AgentRow
from popham.trust.identity import load_certificate, make_csr
from popham.trust.keys import IdentityKey
from popham.trust.renewal import sign_renewal

UID = "0198c2a0-0000-7000-8000-000000000001"


@dataclass
class Rotating:
    """A Manager, one agent, and the keys that it has had."""

    bench: object
    book: ManagerBook
    key: IdentityKey
    certificate: bytes

    async def ask(self, key, *, proven=None, certificate=None):
        """Ask for a certificate of ``key``, proven by another one."""
        csr = make_csr(key, UID)
        signature = sign_renewal(proven or self.key, csr)
        request = Renew(
            generation=GENERATION, certificate=certificate or self.certificate, signature=signature
        )
        peer = Peer(address="192.0.2.9")
        return await self.book.renew(peer, bytes.fromhex(UID.replace("-", "")), csr, request)

    async def row(self):
        return await self.bench.store.read(lambda tx: tx.agent(UID))

    def who(self, certificate):
        der = load_certificate(certificate).public_bytes(Encoding.DER)
        return self.book.identify(Peer(address="192.0.2.9", certificate=der))

    def dialled(self, key):
        return self.book.identify(Peer(address="192.0.2.9", uid=UID, key=key.public.der))


async def begin(bench):
    """Return an agent of a Manager, with its key and certificate."""
    key = IdentityKey.create()
    row = AgentRow(
        uid=UID,
        name="web-1",
        group="fleet",
        kind="own",
        admission=Admission.ACCEPTED,
        spki=key.keyid,
        public_key=key.public.der,
        first_seen=NOW,
        last_contact=NOW,
        promise=60.0,
    )
    row = assign(row, bench.keys.director, now=NOW)
    await bench.store.write(lambda tx: tx.put_agent(row))
    certificate = bench.keys.ca.issue_agent(make_csr(key, UID), UID)
    book = ManagerBook(bench.store, bench.keys, bench.clock)
    await book.load()
    return Rotating(bench, book, key, certificate)


async def add_other(bench, key=None):
    key = key or IdentityKey.create()
    taken = machine() | {"spki": key.keyid, "public_key": key.public.der}
    row = AgentRow(name="web-2", group="fleet", admission="accepted", first_seen=NOW, **taken)
    await bench.store.write(lambda tx: tx.put_agent(row))
    return row
