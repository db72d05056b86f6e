"""One machine that takes operations, in virtual time, and the director who orders."""

import asyncio
import itertools
from types import SimpleNamespace

import pytest
from tests.agent.orders import KEY, UID
from tests.agent.watched import FragileStorage

from popham.agent.commands import Ended
from popham.agent.operations.kinds import Means
from popham.agent.operations.runner import Operations
from popham.agent.records import Progress
from popham.agent.settings import OperationsSettings
from popham.agent.state import AgentState
from popham.model.operation import Kind, Operation
from popham.testing.virtual import VirtualClock, pass_time, run_virtual
from popham.trust.operation import open_result, seal_operation
from popham.trust.tuf import TrustedTuf

NONCES = (f"{number:032x}" for number in itertools.count(1))


class Ordered:
    """A machine; :meth:`restart` keeps what is on its disk.

    Attributes:
        done: What was done, in order.
        told: How often there was something to report.
        brought: Digest → output that was brought upstream.
        hold: What a program, a collection or a rotation waits for; None for nothing.
        printed: What each program prints.
        status: Exit status of each program.
    """

    def __init__(self, keys):
        self.keys = keys
        self.clock = VirtualClock()
        self.disk = FragileStorage({})
        AgentState(self.disk).create_identity(UID, KEY)
        self.permits = OperationsSettings(run=("look",))
        self.enforcer = SimpleNamespace(progress=Progress(), assignment=None, newest=None, candidate="")
        self.done, self.told, self.brought = [], 0, {}
        self.hold, self.printed, self.status = None, b"fine\n", 0
        self.dials, self.upload_error, self.keyid = True, None, "first"
        self.running = None

    def boot(self):
        """Begin a process; the loop runs."""
        self.state = AgentState(self.disk)
        tuf = TrustedTuf.from_bytes(self.keys.root, self.keys.targets)
        self.operations = Operations(
            self.state, tuf, self.clock, self.enforcer, settings=self.permits, news=self.tell
        )
        self.operations.attend(
            Means(
                check_in=lambda: self.done.append("check-in"),
                collect=lambda: self.do("collect"),
                restart=lambda: self.done.append("restart"),
                diagnose=self.diagnose,
                rotate=lambda: self.do("rotate"),
                keyid=lambda: self.keyid,
                run=self.run,
                seconds=30.0,
                upload=self.upload,
                dials=lambda: self.dials,
                paused=lambda: self.done.append("paused" if self.operations.paused_at else "resumed"),
            )
        )
        self.running = asyncio.ensure_future(self.operations.run())

    def tell(self):
        self.told += 1

    async def do(self, what):
        self.done.append(what)
        if self.hold is not None:
            await self.hold.wait()

    async def run(self, name, kept):
        await self.do(f"run {name}")
        kept.data_received(self.printed)
        return Ended(self.status, "")

    async def diagnose(self):
        await self.do("diagnose")
        return b"a bundle"

    async def upload(self, sha256, body):
        if self.upload_error is not None:
            raise self.upload_error
        self.brought[sha256] = body

    async def end(self):
        """End the process, as a kill does: nothing is written any more."""
        if self.running is not None:
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)
            self.running = None

    async def restart(self):
        await self.end()
        self.boot()

    def order(self, kind, args=None, *, lifetime=600, nonce=None, issued=None, name="op1", uid=UID):
        """Return an operation."""
        issued = int(self.clock.now()) if issued is None else issued
        return Operation(
            uid=uid,
            operation=name,
            kind=kind,
            nonce=nonce or next(NONCES),
            issued=issued,
            expires=issued + lifetime,
            args=args or {},
        )

    def seal(self, operation):
        return seal_operation(operation, self.keys.director)

    def give(self, kind, args=None, **rest):
        """Order something, and return the nonce."""
        operation = self.order(kind, args, **rest)
        self.operations.take([self.seal(operation)])
        return operation.nonce

    def cancel(self, nonce):
        return self.give(Kind.CANCEL, {"nonce": nonce})

    @property
    def said(self):
        """What is said now, opened."""
        key = self.state.identity_key().public.der
        return [open_result(one, public_der=key, uid=UID) for one in self.operations.results()]

    def of(self, nonce):
        """Return what is said of one nonce: state, code."""
        return next(((str(one.state), one.code) for one in self.said if one.nonce == nonce), None)

    def hear(self):
        """Have everything that is said named as heard."""
        self.operations.heard([f"{one.nonce}:{one.revision}" for one in self.said])

    def tell_story(self, story):
        async def tell():
            self.boot()
            await pass_time(0)
            try:
                await story()
            finally:
                await self.end()

        run_virtual(tell(), self.clock)


@pytest.fixture
def ordered(keys):
    return Ordered(keys)
