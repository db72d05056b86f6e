"""A Manager and its agents in one process, with all their parts, and real sockets between them; see tests/stories.py.

Between each agent and its Manager there is a relay, which may cut them off, or lose what is answered.
"""

import asyncio
import random
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial

from popham.agent.app import Agent
from popham.agent.joining import Joining
from popham.agent.local import ask
from popham.agent.service import enable
from popham.agent.settings import load_settings
from popham.agent.state import AgentState
from popham.clock import SystemClock
from popham.manager.app import open_manager
from popham.manager.founding import Founding, found
from popham.manager.grant import Grant, Role
from popham.manager.settings import Listen, ManagerSettings
from popham.model.cell import Dialer, Mode
from popham.model.documents import SourceFile
from popham.model.status import SyncState, sync_state
from popham.model.yaml_text import write_yaml
from popham.statedir import StateDir
from popham.store.opening import open_store
from popham.testing.ports import free_ports
from popham.trust.join import JoinString

ADMIN = Grant(actor="test", role=Role.ADMIN, source="127.0.0.1")
HEARTBEAT = 1.0
PATIENCE = 30.0
"""Seconds until a condition is given up."""
PIECE = 64 * 1024


async def until(holds, what="it holds", seconds=PATIENCE):
    """Wait until ``holds()``."""
    try:
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110  # what is waited for is wherever the real parts have it
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"gave up waiting until {what}") from None


class Relay:
    """Passes connections on to a port of this machine.

    ``cut`` lets nobody through.  ``deaf`` lets everything through but what is answered, beyond the part of a
    handshake without which nothing would be asked; ``lost`` counts it.  ``opened`` counts connections.
    """

    def __init__(self, target, *, tls=True):
        self.target, self.tls = target, tls
        self.cut = self.deaf = False
        self.lost = self.opened = 0
        self._writers, self._tasks = set(), set()

    async def start(self):
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0, limit=PIECE)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def end_connections(self):
        for writer in self._writers:
            writer.transport.abort()

    async def close(self):
        self._server.close()
        self.end_connections()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _pass(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self._writers.add(writer)
        self.opened += 1
        there = None
        try:
            if self.cut:
                return
            back, there = await asyncio.open_connection("127.0.0.1", self.target, limit=PIECE)
            self._writers.add(there)
            # TLS is set up after the first piece; after the second, what comes is an answer.
            asked = [0] if self.tls else [1]
            async with asyncio.TaskGroup() as both:
                both.create_task(self._ask(reader, there, asked))
                both.create_task(self._answer(back, writer, asked))
        except* OSError:
            pass
        finally:
            for one in (writer, there):
                if one is not None:
                    self._writers.discard(one)
                    one.transport.abort()
                    with suppress(OSError):
                        await one.wait_closed()
            self._tasks.discard(task)

    async def _ask(self, reader, writer, asked):
        while data := await reader.read(PIECE):
            asked[0] += 1
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    async def _answer(self, reader, writer, asked):
        while data := await reader.read(PIECE):
            if self.deaf and asked[0] > 1:
                self.lost += len(data)
                continue
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


class House:
    """The Manager: real, and started again on what it wrote; all stages stop and start it together."""

    def __init__(self, folder, front):
        self.folder, self.clock = folder / "manager", SystemClock()
        self.front = front  # the web server; None if there is none
        self.port = free_ports(1)[0]
        self.url = f"https://127.0.0.1:{self.port}"
        self.listen = Listen(agents=f"127.0.0.1:{self.port}", people="127.0.0.1:0")
        self.gate = asyncio.Barrier(1)
        self.manager = None

    async def found(self):
        asked = Founding(
            state=self.folder,
            urls=(self.url,),
            names=("127.0.0.1",),
            agents=self.listen.agents,
            people=self.listen.people,
        )
        await found(asked, clock=self.clock, open_store=partial(open_store, "", clock=self.clock))
        await self.start()
        return self

    async def start(self):
        self._open = AsyncExitStack()
        settings = ManagerSettings(state=str(self.folder), urls=(self.url,), listen=self.listen)
        self.manager = await self._open.enter_async_context(open_manager(settings, self.clock))
        self._stopping, ready = asyncio.Event(), asyncio.Event()
        self._running = asyncio.ensure_future(self.manager.run(ready, self._stopping))
        await until(lambda: ready.is_set() or self._running.done(), "the Manager listens")

    async def stop(self):
        self._stopping.set()
        await self._running
        await self._open.aclose()

    async def together(self, what):
        """Do it once every stage has come here, and return once it is done."""
        async with asyncio.timeout(PATIENCE):
            if await self.gate.wait() == 0:
                await what()
            await self.gate.wait()


class MovedClock(SystemClock):
    """The machine's clock; ``ahead`` seconds of the right time."""

    ahead = 0.0

    def now(self):
        return super().now() + self.ahead


class Stage:
    """One agent, the group it is in, and what is between it and the Manager."""

    switches, exact, hop = 1, False, 0.0

    def __init__(self, folder, house, name, cell, way):
        self.house, self.name, self.way = house, name, way
        self.own_cell = self.cell = cell
        self.heartbeat = HEARTBEAT
        self.folder, self.root = folder / name, folder / f"{name}.d"
        self.root.mkdir()
        self.path = self.root / "motd"
        self.begun = False
        self.locations = 0
        self.text = self.policy = ""
        self.clock = MovedClock()
        self._running = None

    # The Manager.

    @property
    def book(self):
        return self.house.manager._book

    @property
    def service(self):
        return self.house.manager.service

    def records(self):
        return [self.book.record(self.uid)]

    def heard(self):
        return self.records()

    def found(self):
        return all(one.ear.described for one in self.records())

    def settled(self):
        wanted = self.book.wanted(self.name)
        return sync_state(wanted.content_digest, self.records()[0].state) is SyncState.IN_SYNC

    def goes_its_way(self):
        """Return whether the Manager was told that the cell is as it was ordered, and holds a link if one is to be."""
        record = self.records()[0]
        mode, dialer = self.cell
        as_ordered = (record.state.mode, record.state.dialer, record.state.fallback) == (mode, dialer, "")
        return as_ordered and (record.link is not None) == (mode is Mode.PUSH)

    async def order(self, cell, heartbeat):
        self.cell, self.heartbeat = cell, heartbeat
        await self._apply()

    async def publish(self, text):
        self.text = text
        self.policy = self._policy(self.path, text)
        await self._apply()

    async def publish_broken(self):
        self.policy = self._policy("/nowhere/of/this/machine", "broken")
        await self._apply()
        return "/nowhere/of/this/machine"

    def _policy(self, path, text):
        return {"type": "files", "files": [{"path": str(path), "content": text}]}

    async def _apply(self):
        mode, dialer = self.cell
        spec = {
            "inheritance": {"communication": False, "locations": False, "policies": {"files": False}},
            "communication": {
                "mode": str(mode),
                "dialer": str(dialer),
                "heartbeat": f"{self.heartbeat:g}s",
                "spread": "off",
                "accelerated": "off",
                "never_dial": dialer is Dialer.MANAGER,
            },
            "policies": {"files": self.name if self.policy else None},
            "locations": [{"name": "default", "default": True}]
            + [
                {
                    "name": f"place-{number}-{'x' * 40}",
                    "weight": number + 1,
                    "when": {"address": f"203.0.{number}.0/24"},
                }
                for number in range(self.locations)
            ],
        }
        found = [("Policy", self.policy), ("Group", spec)]
        await self.apply(*[(kind, self.name, held) for kind, held in found if held])
        view = await self.service.group(ADMIN, self.name)

        def knows():
            wanted = self.book.wanted(self.name)
            return wanted is not None and wanted.serial >= view.serial

        await until(knows, "the Manager knows")

    async def apply(self, *objects):
        documents = [
            write_yaml({"apiVersion": "popham/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
            for kind, name, spec in objects
        ]
        await self.service.apply(ADMIN, [SourceFile("test.yaml", "---\n".join(documents))])

    async def admit(self, *, accepted):
        await (self.service.accept if accepted else self.service.revoke)(ADMIN, self.name)

    async def check_in(self):
        """Ask at the Manager, where it has a way or is about to have one; else on the machine."""
        while (await self.service.check_in(ADMIN, [self.name]))[0].state == "waits":
            if self.cell[1] is Dialer.AGENT:
                await ask(self.settings.socket_path, "check-in")
                return
            await asyncio.sleep(0.05)

    async def stop_manager(self):
        await self.house.together(self.house.stop)

    async def start_manager(self):
        await self.house.together(self.house.start)

    # The agent.

    async def begin(self):
        self.up = await Relay(self.house.port).start()
        self.down = await Relay(self.way.port, tls=self.way.tls).start()
        config = self.folder.with_suffix(".toml")
        config.write_text(
            f'name = "{self.name}"\nstate = "{self.folder}"\n[files]\nroots = ["{self.root}"]\n'
            f"[health]\nwindow = 0\n{self.way.toml}"
        )
        self.settings, self.config = load_settings(config, env={}), config
        made = await self.service.create_token(ADMIN, group=self.name, uses=1, accepts=True)
        join = replace(JoinString.parse(made.secret), urls=(f"https://127.0.0.1:{self.up.port}",))
        with StateDir.open(self.folder, "agent", create=True) as directory:
            state = AgentState(directory)
            await Joining(state, self.clock, self.settings).begin(join)
            enable(state, on=True)
            self.uid = state.uid
        await self.apply(("Agent", self.name, self.way.spec | {"port": self.down.port}))
        await self.start()
        self.begun = True

    async def settle_in(self):
        """Return once it is as a story finds it, whatever another one left."""
        slow = self.begun and self.heartbeat != HEARTBEAT
        await self.order(self.own_cell, HEARTBEAT)
        if not self.begun:
            await self.publish("before all stories")
            await self.begin()
        await self.until(lambda: self.records()[0].state is not None, 1.0)
        if slow:
            await self.check_in()
            await self.publish("after a check-in")  # which has a set that is in force looked at again
        await self.until(lambda: self.settled() and self.has(self.text) and self.goes_its_way(), 1.0)

    async def start(self):
        self.directory = StateDir.open(self.folder, "agent", create=False)
        self.agent = Agent(self.settings, self.config, self.directory, self.clock, random.SystemRandom())
        self._stopping = asyncio.Event()
        self._running = asyncio.ensure_future(self.agent.run(asyncio.Event(), self._stopping))

    async def crash(self):
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running
        self.directory.close()

    async def leave(self):
        self._stopping.set()
        await self._running
        self.directory.close()

    async def close(self):
        if self._running is not None and not self._running.done():
            await self.crash()
        if hasattr(self, "up"):
            await self.up.close()
            await self.down.close()

    def has(self, text):
        return self.path.is_file() and self.path.read_text() == text

    def sets(self):
        return self.agent._end._enforcer._applier.sets

    # What is between them.

    async def cut(self):
        for relay in (self.up, self.down):
            relay.cut = True
            relay.end_connections()

    async def heal(self):
        for relay in (self.up, self.down):
            relay.cut = relay.deaf = False
            relay.end_connections()

    async def lose_answers(self):
        for relay in (self.up, self.down):
            relay.deaf = True

    @property
    def lost(self):
        return self.up.lost + self.down.lost

    # Time.

    async def until(self, holds, _seconds):
        """Wait until it holds: nothing is asserted to be quick where time is real."""
        try:
            await until(holds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.tell()}") from None

    async def quiet(self, _heartbeats):
        """Let nothing pass: whoever has waited for a condition has waited long enough."""

    def tell(self):
        """Return how it stands, for a failure."""
        text = self.path.read_text()[:40] if self.path.is_file() else None
        record = self.records()[0]
        return f"{text!r}, {record.state}, said {self.agent.status._problem!r}"
