"""Somebody who keeps operations for a hub, as simply as can be, and what an agent says to him."""

import asyncio

from popham.errors import NotFoundError
from popham.model.generation import GENERATION
from popham.model.names import digest
from popham.model.operation import Kind, Operation, OperationState, Output, Result
from popham.opamp.codec import custom, parse_custom, parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.schema.popham.v1.popham_pb2 import Report
from popham.testing.direct import DirectAgent
from popham.trust.operation import open_operation, open_result, seal_operation, seal_result
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import check_blob
from popham.upstream.orders import Order, Orders

NONCES = [f"{number:032x}" for number in range(1, 21)]


class Ordering:
    """Keeps everything in memory; what was heard is durable at once, or when a test says so."""

    def __init__(self):
        self.told_of, self.heard, self.sealed = [], [], []
        self.reports = 0
        self.kept = {}
        self.slow = None
        self._known = {}

    # What a hub asks.

    def told(self, record, nonces):
        self.told_of.append((record.name, tuple(nonces)))

    def hear(self, record, results):
        opened = [open_result(one, public_der=record.public_key, uid=record.uid) for one in results]
        fresh = [one for one in opened if one.revision > self._known.get(one.nonce, 0)]
        if not fresh:
            self._name(record, opened)
            return None
        return self._write(record, opened)

    async def _write(self, record, opened):
        if self.slow is not None:
            await self.slow
        for one in opened:
            self._known[one.nonce] = max(one.revision, self._known.get(one.nonce, 0))
            self.heard.append((one.nonce, one.state))
            orders = self.orders(record)
            orders.open.pop(one.nonce, None)
            if one.output is not None:
                orders.want_outputs[one.output.sha256] = None
        self._name(record, opened)

    def _name(self, record, opened):
        self.orders(record).heard += [f"{one.nonce}:{one.revision}" for one in opened]

    def reported(self, record):
        self.reports += 1

    def lacks_outputs(self, record):
        return tuple(record.orders.want_outputs) if record.orders else ()

    async def take_output(self, record, sha256, body):
        orders = self.orders(record)
        if sha256 not in orders.want_outputs:
            raise NotFoundError("output", "no result of this agent names it")
        check_blob(body, sha256, len(body))
        self.kept[sha256] = body
        del orders.want_outputs[sha256]

    # What a test orders.

    def orders(self, record):
        record.settled = None
        if record.orders is None:
            record.orders = Orders()
        return record.orders

    def order(self, manager, record, nonce, *, size=0):
        """Queue an operation, whose document has about ``size`` bytes more than it needs."""

        def seal():
            self.sealed.append(nonce)
            operation = Operation(
                uid=record.uid,
                operation="op1",
                kind=Kind.RUN,
                nonce=nonce,
                issued=0,
                expires=600,
                args={"name": "x" * (size * 3 // 4)},
            )
            return seal_operation(operation, manager.keys.director)

        self.orders(record).open[nonce] = Order(nonce, seal)


class Ordered:
    """One of our agents, and what it says and hears of operations."""

    def __init__(self, manager, agent: DirectAgent):
        self.manager, self.agent = manager, agent
        self.tuf = TrustedTuf.from_bytes(manager.keys.root, manager.keys.targets)

    @property
    def record(self):
        return self.manager.book.record(self.agent.uid)

    def message(self, *results, **parts):
        """Return the next message: a heartbeat, or a report of results."""
        ear = self.record.ear
        report = {"custom_message": custom(Report(generation=GENERATION, results=results))} if results else {}
        return AgentToServer(
            instance_uid=self.record.key,
            sequence_num=ear.sequence + 1,
            capabilities=ear.capabilities,
            **report,
            **parts,
        )

    async def say(self, *results, peer=None, **parts):
        """Say it in a round, and return the answer."""
        return await self.manager.say(peer or self.agent.peer(), self.message(*results, **parts))

    def result(self, nonce, state="succeeded", revision=1, *, output=b"", key=None):
        found = Result(
            uid=self.agent.uid,
            operation="op1",
            nonce=nonce,
            state=OperationState(state),
            revision=revision,
            output=output or None,
        )
        return seal_result(found, key or self.agent.key)

    def nonces(self, answer):
        """Return the nonces of the documents in an answer, which are the director's and for this agent."""
        said = directive(answer)
        envelopes = said.operations if said else ()
        return [open_operation(one, tuf=self.tuf, uid=self.agent.uid).nonce for one in envelopes]


def directive(answer):
    """Return the directive in an answer, which may be bytes; None if there is none."""
    message = parse_upstream(answer) if isinstance(answer, bytes) else answer
    return parse_custom(message.custom_message) if message.HasField("custom_message") else None


def output(body):
    """Return how a result names an output."""
    return Output(sha256=digest(body), length=len(body))


async def turns(count=3):
    """Give the loop so many turns."""
    for _ in range(count):
        await asyncio.sleep(0)
