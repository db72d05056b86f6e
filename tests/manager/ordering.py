"""A fleet of which operations are ordered, in memory: what the tests of operations have in common."""

import hashlib

from tests.manager.conftest import ADMIN, NOW, FakeLinks, group, policy
from tests.manager.rolling import KEY, add, agent, uid_of

from popham.manager.kept import record_of
from popham.manager.operations.register import Register
from popham.manager.operations.stored import Asked
from popham.manager.wanted import read_wanted
from popham.model.fleet import Admission
from popham.model.operation import OperationState, Output, Result
from popham.model.status import Outcome, StateRecord
from popham.store.rows import AgentRow
from popham.trust.operation import open_operation, seal_result
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import seal_state

OWN = "{inheritance: {policies: {files: false}}, policies: {files: motd}}"
STOCK = "00000000-0000-4000-8000-999999999999"


class Book:
    """Records of agents, as a Manager's book has them."""

    def __init__(self, store):
        self.store, self.held, self.groups = store, {}, {}

    def record(self, uid):
        return self.held.get(uid)

    def wanted(self, name):
        return self.groups.get(name)

    async def refresh(self, groups):
        self.groups |= await self.store.read(lambda tx: read_wanted(tx, groups))


class Fleet:
    """Agents of the group paris, a service, and the register behind it."""

    def __init__(self, bench):
        self.bench, self.clock, self.store = bench, bench.clock, bench.store
        self.links: FakeLinks = bench.links
        self.told, self.asked = [], []
        self.tuf = TrustedTuf.from_bytes(bench.keys.root, bench.keys.targets)
        self.book = Book(self.store)

    @property
    def service(self):
        return self.bench.service

    async def begin(self, agents=3, **said):
        await self.bench.apply(policy(content="one"), group("paris", OWN))
        said.setdefault("generation", 3)
        await add(self.bench, *(agent(number, **said) for number in range(agents)))
        await self.start()

    async def add_stock(self, capabilities=0x2 | 0x400):
        row = AgentRow(
            uid=STOCK,
            name="stock",
            group="paris",
            kind="stock",
            admission=Admission.ACCEPTED,
            first_seen=NOW,
            last_contact=NOW,
            capabilities=capabilities,
        )
        await add(self.bench, row)
        self.book.held[STOCK] = record_of(row)

    async def start(self):
        """Begin from what is in the store, as a Manager that starts."""
        self.book = Book(self.store)
        for row in await self.store.read(lambda tx: tx.agents()):
            self.book.held[row.uid] = record_of(row)
        await self.refresh()
        self.register = Register(
            self.store,
            self.book,
            self.bench.keys.director,
            self.clock,
            tell=lambda record: self.told.append(record.uid),
            ask=self._ask,
        )
        self.service._operations = self.register
        await self.register.load()

    async def refresh(self):
        await self.book.refresh(None)

    def _ask(self, uid):
        self.asked.append(uid)
        return uid in self.links.held

    def record(self, number):
        return self.book.held[uid_of(number)]

    def hold(self, number):
        """Have an agent hold a link."""
        self.record(number).link = object()
        self.links.held.add(uid_of(number))

    async def order(self, kind="collect", *names, grant=ADMIN, **more):
        asked = Asked(agents=names, **more) if names else Asked(**({"everyone": True} | more))
        return await self.service.order(grant, str(kind), asked)

    async def target(self, name, number):
        page = await self.service.operation_targets(ADMIN, name)
        return next(one for one in page.items if one.uid == uid_of(number))

    async def states(self, name):
        return dict((await self.service.operation(ADMIN, name)).counts)

    # What agents do.

    def hear(self, number):
        """Have an agent hear what is ordered of it; return the documents, once their signatures hold."""
        record = self.record(number)
        if record.orders is None:
            return []
        said = record.orders.say(100_000)
        self.register.told(record, said.nonces)
        return [open_operation(one, tuf=self.tuf, uid=record.uid) for one in said.operations]

    def result(self, operation, state=OperationState.SUCCEEDED, *, key=KEY, body=b"", **said):
        found = Result(
            uid=operation.uid,
            operation=operation.operation,
            nonce=operation.nonce,
            state=state,
            **{"revision": 1, "text": "", "output": output_of(body) if body else None} | said,
        )
        return seal_result(found, key)

    async def answer(self, number, operation, state=OperationState.SUCCEEDED, **said):
        """Have an agent say what became of an operation; return what is named as heard."""
        record = self.record(number)
        waits = self.register.hear(record, [self.result(operation, state, **said)])
        if waits is not None:
            await waits
        return record.orders.say(100_000).heard

    def say(self, number, **said):
        """Have an agent report; it has what its group is to have, unless it says otherwise."""
        record = self.record(number)
        wanted = self.book.wanted("paris")
        has = {
            "content_digest": wanted.content_digest,
            "applied_digest": wanted.content_digest,
            "serial": wanted.serial,
            "applied_serial": wanted.serial,
            "outcome": Outcome.APPLIED,
            "group": "paris",
            "generation": 3,
            "agent_version": "0.6.0",
            "dialer": "agent",
        }
        revision = record.state.revision + 1 if record.state else 1
        state = StateRecord(uid=record.uid, revision=revision, promise=60.0, mode="pull", **has | said)
        record.note_state(state, seal_state(state, KEY))
        self.come(number)

    def come(self, number):
        """Have an agent be in contact, with nothing new."""
        record = self.record(number)
        record.contact(self.clock.at, "192.0.2.1")
        self.register.reported(record)

    async def pass_time(self, seconds):
        self.clock.at += seconds
        await self.register.expire()
        await self.register.settle()


def output_of(body):
    return Output(sha256=hashlib.sha256(body).hexdigest(), length=len(body))
