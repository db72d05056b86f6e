"""A collector in virtual time: streams that remember, a machine that is made up."""

import asyncio
from collections import Counter, defaultdict
from types import SimpleNamespace

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from popham.agent.collect.collector import Collector
from popham.agent.collect.encoding import Encoder
from popham.agent.collect.sample import Sample
from popham.agent.collect.wanted import WantedCollect
from popham.agent.commands import Ended
from popham.errors import StreamError
from popham.model.policy import check_policy
from popham.net.probing import Found
from popham.streams.frame import Stream
from popham.testing.virtual import VirtualClock


def want(**spec):
    """Return what a policy of type ``collect`` wants."""
    return msgspec.convert(check_policy("collect", spec), WantedCollect)


def points_of(payload):
    """Return (name, value, attributes) of the data points of a payload, in order."""
    found = []
    for held in ExportMetricsServiceRequest.FromString(payload).resource_metrics:
        for metric in held.scope_metrics[0].metrics:
            data = getattr(metric, metric.WhichOneof("data"))
            for point in data.data_points:
                labels = {one.key: one.value.string_value for one in point.attributes}
                found.append((metric.name, point.as_double, labels))
    return found


def records_of(payload):
    """Return the log records of a payload."""
    return [
        record
        for held in ExportLogsServiceRequest.FromString(payload).resource_logs
        for record in held.scope_logs[0].log_records
    ]


class Streams:
    """Streams that remember what was appended, and when.

    Attributes:
        full: Streams that take nothing.
        slow: Held while an append waits for the disk; None if it does not.
    """

    def __init__(self, clock):
        self.clock = clock
        self.kept = defaultdict(list)
        self.lost = Counter()
        self.full = set()
        self.opened = set()

    async def open(self, stream):
        self.opened.add(stream)

    async def append(self, stream, payload, count):
        await asyncio.sleep(0)
        if stream in self.full:
            raise StreamError("full", "the disk takes nothing", "Make room")
        self.kept[stream].append((self.clock.elapsed, payload, count))

    def lose(self, stream, count, cause):
        self.lost[stream, cause] += count

    def view(self, stream):
        held = self.kept.get(stream, [])
        number = sum(count for _, _, count in held)
        return (
            SimpleNamespace(epoch=1, next=number, waiting=number) if held or stream in self.opened else None
        )

    def times(self, stream):
        """Return when something was appended."""
        return [at for at, _, _ in self.kept[stream]]

    def points(self, stream):
        return [point for _, payload, _ in self.kept[stream] for point in points_of(payload)]

    def records(self, stream):
        return [record for _, payload, _ in self.kept[stream] for record in records_of(payload)]


class MadeUp:
    """A machine, its services and its programs; each look takes ``takes`` seconds."""

    def __init__(self, clock):
        self.clock = clock
        self.takes = 0.0
        self.answers = {}
        self.printed = {}
        self.asked = Counter()
        self.under_way = self.most = 0
        self.seconds = 30.0

    def summarize(self):
        return [Sample(name="system.cpu.utilization", unit="1", value=0.5, at=self.clock.now())]

    def measure(self, wanted):
        return [Sample(name="measured", unit="1", value=float(len(wanted.processes)), at=self.clock.now())]

    async def work(self):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.under_way -= 1

    async def ask_thread(self, key, call, *, seconds):
        """Stand for Lookups.ask."""
        self.asked[key] += 1
        await self.work()
        return call() if self.takes <= seconds else None

    async def ask(self, probe):
        """Stand for Prober.ask."""
        self.asked[probe.name] += 1
        await self.work()
        return self.answers.get(probe.name, Found(up=True, seconds=self.takes))

    async def gather(self, name, kept):
        """Stand for Programs.gather."""
        self.asked[name] += 1
        await self.work()
        status, printed = self.printed.get(name, (0, b"1\n"))
        kept.data_received(printed)
        return Ended(status, "")

    async def aclose(self):
        self.closed = True


class Lines:
    """Stands for what follows files."""

    def __init__(self, streams, running):
        self.streams, self.running = streams, running
        self.read_now, self.paused, self.collected = None, None, 0

    def read(self, logs, *, paused):
        self.read_now, self.paused = [log["name"] for log in logs], paused

    async def run(self):
        self.running.append(self)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.running.remove(self)

    async def collect(self):
        self.collected += 1

    async def bring(self, payloads):
        for payload, count in payloads:
            await self.streams.append(Stream.LOGS, payload, count)


class Bench:
    """A collector on all that; use within :func:`popham.testing.virtual.run_virtual`."""

    def __init__(self, phase=0.5):
        self.clock = VirtualClock()
        self.streams = Streams(self.clock)
        self.machine = MadeUp(self.clock)
        self.paused = False
        self.running, self.lost, self.files = [], None, []
        self.phase = phase

    def boot(self):
        def lines(lost):
            self.lost = lost
            self.files.append(Lines(self.streams, self.running))
            return self.files[-1]

        self.collector = Collector(
            self.streams,
            host=self.machine,
            prober=self.machine,
            programs=self.machine,
            asks=SimpleNamespace(ask=self.machine.ask_thread),
            lines=lines,
            clock=self.clock,
            encoder=Encoder({"host.name": "paris"}),
            phase=self.phase,
            paused=lambda: self.paused,
        )
        self.task = asyncio.ensure_future(self.collector.run())
        return self.collector

    async def stop(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
