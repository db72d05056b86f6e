"""A Manager, two Proxy Managers and agents that know both and the Manager; and what may happen to all of them."""

from collections import Counter

from popham.agent.commands import Ended
from popham.agent.settings import OperationsSettings
from popham.manager.agents import reassign_all
from popham.manager.operations.stored import Asked
from popham.manager.rejoining import note_forgotten
from popham.model.cell import Dialer, Mode
from popham.model.operation import Kind, OperationState
from popham.model.status import SyncState, sync_state
from popham.streams.frame import Stream
from popham.testing.intake import MemoryIntake
from popham.testing.simulation import ADMIN
from popham.testing.virtual import pass_time

from .conftest import HEARTBEAT, LAB, settings

PROXIES = ("dock", "pier")
AGENTS = ("a0", "a1", "a2")
COMMANDS = tuple(f"count{number}" for number in range(8))
SPEC = """\
  communication:
    mode: {mode}
    dialer: {dialer}
    heartbeat: 60s
    spread: off
    hold: 2m
    servers: [{{url: "https://dock:4320", priority: 1}}, {{url: "https://pier:4320", priority: 2}},
      {{url: "https://manager:4320", priority: 3}}]
"""
END_TO_END = "  custody: {events: end to end, summary: end to end, metrics: end to end, logs: end to end}"
IN_SYNC = 6 * HEARTBEAT
"""Seconds after the last fault: three heartbeats for each of two hops (REL-5), with whatever pauses after failures."""


class Harbor:
    """What the stories of this file are about.

    Attributes:
        said: Agent and stream → what was appended, durably.
        ran: Operation and agent → how often it ran.
        unsure: Whether records may be lost: a proxy that had acknowledged them lost its disk.
    """

    def __init__(self, simulation, folder, *, custody=END_TO_END, group=LAB + SPEC):
        self.simulation, self.manager, self.network = simulation, simulation.manager, simulation.network
        self.intake = simulation.manager.intake = MemoryIntake()
        simulation.streams_in = folder
        self.custody, self._group = custody, group
        self.number, self.said, self.ran = 0, {}, Counter()
        self.names, self.unsure, self.forgotten = [], False, set()

    async def begin(self, below=(Mode.PUSH, Dialer.AGENT), above=(Mode.PUSH, Dialer.AGENT), *, via="dock"):
        """Have everybody there, and in sync."""
        # Streams are taken from the next start on.
        await self.manager.crash()
        await self.manager.start()
        self.below = below
        await self.publish()
        await self.manager.put_group("docks", settings(above))
        for name in PROXIES:
            await self.simulation.add_proxy(name, ["lab"], group="docks", spec=self.custody)
        self.proxies = self.simulation.proxies
        await pass_time(2 * HEARTBEAT)
        self.agents = await self.simulation.add_agents("lab", AGENTS, via=via)
        for agent in self.agents:
            await agent.crash()
            agent.permits = OperationsSettings(run=list(COMMANDS))
            agent.programs = {name: self._program(agent, name) for name in COMMANDS}
            agent.start()
        await pass_time(3 * HEARTBEAT)
        return self

    # What people do.

    async def publish(self):
        """Publish another text."""
        self.number += 1
        text = self._group.format(text=f"text {self.number}", mode=self.below[0], dialer=self.below[1])
        await self.manager.publish(text)

    async def order(self):
        """Have something run once on each agent, and say by which name it is known."""
        asked, name = Asked(groups=("lab",), expires=20 * HEARTBEAT), COMMANDS[len(self.names)]
        found = await self.manager.service.order(ADMIN, str(Kind.RUN), asked, args={"name": name})
        self.names.append(found.name)
        return found.name

    def _program(self, agent, name):
        async def count(kept):
            self.ran[agent.name, name] += 1
            kept.data_received(b"counted")
            return Ended(0, "counted")

        return count

    async def append(self, agent, stream=Stream.EVENTS, number=1):
        """Have records be durable in a stream of an agent that runs."""
        kept = self.said.setdefault((agent.state.uid, stream), [])
        for _ in range(number):
            payload = f"{agent.name} {stream} {len(kept)}".encode()
            await agent.spools.append(stream, payload, 1)
            kept.append(payload)

    # What may happen.

    async def restore(self, backup, made_at, names):
        """Have the Manager go on from what was written before."""
        now = self.simulation.clock.now()
        await self.manager.crash()
        self.forgotten |= set(self.names) - set(names)
        self.manager.store = backup

        def recover(tx):
            self.manager.bundles.resign_all(tx, now=now)
            reassign_all(tx, self.simulation.keys.director, now=now)
            note_forgotten(tx, f"{now} {int(made_at)}")

        await backup.write(recover)
        await self.manager.start()

    async def kill_proxy(self, proxy, seconds, *, disk=False):
        """Have a proxy die, and start again after a time; its disk may be lost then."""
        await proxy.crash()
        await pass_time(seconds)
        if disk:
            proxy.lose_disk()
        proxy.start()

    def cut(self, one, other):
        """Let nothing pass between two."""
        self.network.apart.add(frozenset((one, other)))

    def heal(self):
        """Let everything pass."""
        self.network.apart, self.network.cut = set(), set()
        self.network.weather.loss = 0.0

    # What is to hold in the end.

    def records(self):
        """Return what the Manager knows of the agents."""
        return [self.manager.book.record(agent.state.uid) for agent in self.agents]

    def in_sync(self):
        """Return whether everybody has what it is to have, and the Manager knows: agents sign what they have."""
        wanted = self.manager.book.wanted("lab")
        known = all(
            one is not None
            and one.state
            and sync_state(wanted.content_digest, one.state) is SyncState.IN_SYNC
            for one in self.records()
        )
        return known and len({agent.applied for agent in self.agents}) == 1

    def came(self, uid, stream):
        """Return what the Manager has of a stream."""
        return self.intake.payloads(uid, stream)

    def check_streams(self):
        """Fail if anything came twice or in another order; or is not there that was acknowledged end to end."""
        for (uid, stream), said in self.said.items():
            came = self.came(uid, stream)
            assert len(came) == len(set(came)), "something came twice"
            if self.unsure:
                assert set(came) <= set(said)
            else:
                assert came == said, f"{len(said) - len(came)} records of {stream} are not there"

    async def states(self, name):
        """Return the states of an operation at its targets."""
        page = await self.manager.service.operation_targets(ADMIN, name)
        return {one.state for one in page.items}

    async def check_operations(self):
        """Fail if something ran more than once, or what came of it is not known."""
        assert all(times == 1 for times in self.ran.values()), self.ran
        for name in self.names:
            if name not in self.forgotten:
                found = await self.states(name)
                assert all(OperationState(one).is_over for one in found), (name, found)
