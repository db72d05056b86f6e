"""Agents with spools, a proxy's intake on a disk in memory, and a Manager: what may happen between them."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tests.manager.intake.framing import KEY
from tests.manager.intake.rig import StandingClock

from popham.agent.streams.signing import signer
from popham.errors import LinkError, StreamError
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.carrying import ProxyIntake
from popham.proxy.spool.bounds import Limits
from popham.streams.frame import HEAD, Head, Stream
from popham.streams.spool import Spool
from popham.testing.disk import LazyDisk
from popham.testing.intake import MemoryIntake
from popham.upstream.intake import Sent
from popham.upstream.record import Record
from popham.upstream.standings import encode, to_wire

FOLDER = Path("/relay/streams")
SIGN = signer(KEY)


def record(uid):
    """Return an agent as a proxy has it."""
    return Record(uid=uid.hex(), key=uid, name="a", group="fleet", public_key=KEY.public.der)


class Manager:
    """What is above.

    Attributes:
        away: Whether nobody answers.
        asked: How often it was asked how far it is.
        wait: Seconds that it wants agents to wait, and takes nothing; 0 to take all.
    """

    def __init__(self):
        self.intake = MemoryIntake()
        self.away = False
        self.asked = 0
        self.wait = 0.0
        self.carried = []

    async def ask(self, kind, key, body):
        """Answer a call."""
        assert kind == "standing"
        if self.away:
            raise LinkError("timeout", "nobody answered")
        self.asked += 1
        call = wire.StandingCall.FromString(body)
        return encode(await self.intake.standing(record(key), Stream(call.stream), call.epoch))

    async def take(self, carried):
        """Take frames; returns what is said of it."""
        self.carried.append(carried)
        who, stream = record(carried.key), Stream(carried.stream)
        epoch = Head.decode(carried.frames).epoch
        if self.wait:
            found = replace(
                await self.intake.standing(who, stream, epoch), epoch=epoch, retry_after=self.wait
            )
        else:
            try:
                found = await self.intake.append(who, stream, carried.frames, Sent())
            except StreamError as error:
                if error.code != "stream.overlap":
                    raise
                found = await self.intake.standing(who, stream, epoch)
                newest = max(found.newest, epoch)
                found = replace(found, epoch=epoch, newest=newest, refused=True)
        return wire.Stood(key=carried.key, standing=to_wire(replace(found, newest=max(found.newest, epoch))))

    def records(self, uid, stream):
        """Return the numbers of the records that are here → how often."""
        words = b" ".join(self.intake.payloads(uid.hex(), stream)).split()
        return Counter(map(int, words))


class Agent:
    """One agent with spools on a disk of its own; its records are numbers.

    Attributes:
        durable: Stream → the records that it has written.
    """

    def __init__(self, number, clock):
        self.uid = bytes([number]) * 16
        self.record = record(self.uid)
        self.durable = {}
        self._number = 0
        self._clock = clock
        self._spools = {}
        self._folder = Path(f"/agent/{number}")
        self._disk = LazyDisk()

    def spool(self, stream):
        """Return the spool of a stream."""
        if stream not in self._spools:
            self._spools[stream] = Spool.open(
                self._folder / stream, stream, self.uid, disk=self._disk, clock=self._clock, boot=b"boot-one"
            )
        return self._spools[stream]

    def write(self, stream, *counts):
        """Write frames of so many records each."""
        for count in counts:
            batch = range(self._number, self._number + count)
            self._number += count
            self.spool(stream).append(" ".join(map(str, batch)).encode(), count)
            self.durable.setdefault(stream, []).extend(batch)
        self.spool(stream).commit()

    async def send(self, intake, stream, *, limit=1 << 20, answered=True):
        """Send once what is lacking; returns the answer, None if nothing is."""
        spool = self.spool(stream)
        standing = await intake.standing(self.record, stream, spool.epoch)
        first = spool.heard(standing).first
        if standing.refused or standing.epoch != spool.epoch:
            standing = replace(standing, ranges=())
        frames = [
            frame.sign(SIGN)
            for frame in spool.read(first, limit=limit)
            if not any(r.first <= frame.head.first and frame.head.end <= r.end for r in standing.ranges)
        ]
        if not frames:
            return None
        try:
            found = await intake.append(
                self.record, stream, b"".join(f.encode() for f in frames), Sent(5.0, 7)
            )
        except StreamError as error:
            if error.code != "stream.overlap":
                raise
            epoch = frames[0].head.epoch
            found = await intake.standing(self.record, stream, epoch)
            found = replace(found, epoch=epoch, newest=max(found.newest, epoch), refused=True)
        if answered:
            spool.heard(found)
        return found


class Rig:
    """What outlives a proxy's process, and the process of now."""

    def __init__(self, custody="end to end", *, limits=None, agents=2):
        self.disk, self.clock, self.manager = LazyDisk(), StandingClock(), Manager()
        self.custody = dict.fromkeys(Stream, custody)
        self.limits = limits or Limits(reserve=0)
        self.agents = [Agent(number, self.clock) for number in range(1, agents + 1)]
        self.news = 0
        self.told = []
        self.intake = None

    async def begin(self):
        """Start a process; returns its intake."""
        found = ProxyIntake(
            FOLDER, self.clock, ask=self.manager.ask, draw=lambda: 0.5, limits=self.limits, disk=self.disk
        )
        found.custody, found.hold = self.custody, 0.0
        found.on_news = self._note_news
        found.on_standing = lambda uid, stream: self.told.append((uid, stream))
        await found.begin()
        self.intake = found
        return found

    def _note_news(self):
        self.news += 1

    async def end(self):
        """End the process without a word: what it would have written at its end is not."""
        if self.intake is not None:
            await asyncio.to_thread(self.intake._keeping._worker.close)
            self.intake = None

    @contextlib.asynccontextmanager
    async def running(self):
        """Have a process from its start to its end."""
        try:
            yield await self.begin()
        finally:
            if self.intake is not None:
                await self.intake.close()

    async def restart(self, *, cut=None):
        """Kill the process, or cut the power, and start another."""
        await self.end()
        if cut is None:
            self.disk.kill()
        else:
            self.disk.cut(random.Random(cut))
        return await self.begin()

    async def exchange(self, *, limit=1 << 20, arrives=True, answered=True):
        """Carry what is to be carried once; returns how many messages that were."""
        found = self.intake.next_frames(limit)
        stoods = [await self.manager.take(one) for one in found] if arrives else []
        if arrives and answered:
            for stood in stoods:
                self.intake.stood(stood)
        else:
            self.intake.lost()
        return len(found)

    async def drain(self):
        """Have everything above, as when nothing goes wrong any more."""
        self.manager.away, self.manager.wait = False, 0.0
        for _ in range(60):
            self.clock.time += 400.0
            while await self.exchange():
                pass
            await self.intake._keeping.tidy()
            for agent in self.agents:
                for stream in agent.durable:
                    for _ in range(3):
                        await agent.send(self.intake, stream)
            if not self.held and not any(a.spool(s).waiting for a in self.agents for s in a.durable):
                return
        raise AssertionError("it never comes to an end")

    @property
    def held(self):
        """Records that the proxy holds."""
        return sum(self.intake.depth()[stream]["records"] for stream in Stream)

    def check(self):
        """All that agents wrote is above, once, and nothing is counted as lost."""
        for agent in self.agents:
            for stream, numbers in agent.durable.items():
                assert self.manager.records(agent.uid, stream) == Counter(numbers)
                assert not +Counter(self.manager.intake.lost(agent.uid.hex(), stream))


def heads(data):
    """Return the heads of frames."""
    found, at = [], 0
    while at < len(data):
        found.append(Head.decode(data[at : at + HEAD]))
        at += found[-1].total
    return found
