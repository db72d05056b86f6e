"""Entries as the intake has them, made by hand, and segments that are a list."""

import asyncio
import uuid
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from popham.manager.data.aside import Shelf
from popham.manager.data.asking import PageOf, Wanted, find_rows
from popham.manager.data.catalog import Catalog
from popham.manager.data.data import Data
from popham.manager.data.engine import Engine
from popham.manager.data.follower import Follower
from popham.manager.data.place import place_of
from popham.manager.data.settings import DataSettings
from popham.manager.data.upkeep import Keep
from popham.manager.intake.position import Position
from popham.streams.frame import START, Frame, Head, Kind, Stream, tail_of
from popham.streams.packing import pack

NOW = 1_800_000_000
SECOND = 1_000_000_000
ALICE, BOB = uuid.UUID(int=1), uuid.UUID(int=2)


@dataclass(frozen=True)
class Entry:
    position_after: Position
    received: float
    skew: float | None
    frame: Frame


def make_frame(
    payload, count, *, uid=ALICE, first=0, epoch=7, stream=Stream.LOGS, kind=Kind.RECORDS, size=None
):
    codec, packed = pack(payload)
    digest = sha256(packed).digest()
    head = Head(
        kind=kind,
        stream=stream,
        codec=codec,
        uid=uid.bytes,
        epoch=epoch,
        first=first,
        count=count,
        boot=bytes(8),
        written=NOW * SECOND,
        before=START,
        tail=tail_of(digest),
        digest=digest,
        length=len(packed),
        size=len(payload) if size is None else size,
    )
    return Frame(head, packed, b"s" * 64)


def entry_of(frame, *, at=1, received=float(NOW), skew=None):
    return Entry(Position(1, at), received, skew, frame)


def attribute(key, value):
    return KeyValue(key=key, value=AnyValue(string_value=value))


def line(text, time=NOW, **more):
    return LogRecord(time_unix_nano=int(time * SECOND), body=AnyValue(string_value=text), **more)


def logs(*records):
    request = ExportLogsServiceRequest()
    part = request.resource_logs.add()
    part.resource.attributes.append(attribute("host.name", "web-1"))
    part.scope_logs.add().log_records.extend(records)
    return request.SerializeToString()


def lines(texts, *, time=NOW, step=0.0):
    """Return a payload with a line for each text, and how many there are."""
    return logs(*(line(text, time + step * number) for number, text in enumerate(texts))), len(texts)


def gauge(name, *values, time=NOW, step=10.0):
    """Return a payload with one gauge, and how many points it has."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=name, unit="1")
    for number, value in enumerate(values):
        metric.gauge.data_points.add(time_unix_nano=int((time + number * step) * SECOND), as_double=value)
    return request.SerializeToString(), len(values)


def counter(name, *values, time=NOW, step=10.0):
    """Return a payload with one sum that only grows, and how many points it has."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=name, unit="By")
    metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, 2
    for number, value in enumerate(values):
        metric.sum.data_points.add(time_unix_nano=int((time + number * step) * SECOND), as_int=value)
    return request.SerializeToString(), len(values)


class Clock:
    """Wall and monotonic time that move when told to."""

    def __init__(self):
        self.at = float(NOW)

    def now(self):
        return self.at

    def monotonic(self):
        return self.at


@dataclass
class Segments:
    """The intake's segments: entries in a list, each a thousand bytes."""

    entries: list = field(default_factory=list)
    released: dict = field(default_factory=dict)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    next: dict = field(default_factory=dict)

    def take(self, payload, count, *, uid=ALICE, stream=Stream.LOGS, received=float(NOW), skew=None):
        """Take a frame whose records follow those of this agent before it."""
        first = self.next.get((uid, stream), 0)
        self.next[uid, stream] = first + count
        frame = make_frame(payload, count, uid=uid, stream=stream, first=first)
        self.entries.append(Entry(Position(1, 1000 * (len(self.entries) + 1)), received, skew, frame))
        self.came.set()

    def read(self, stream, after, *, limit):
        del limit
        found = [
            entry
            for entry in self.entries
            if entry.position_after > after and entry.frame.head.stream == stream
        ]
        return found[:4]

    async def wait(self, stream, after):
        while not self.read(stream, after, limit=1):
            self.came.clear()
            await self.came.wait()

    def end(self, stream):
        return max((e.position_after for e in self.entries), default=Position())

    def register(self, stream, reader, position):
        self.released[stream, reader] = position

    def release(self, stream, reader, position):
        self.released[stream, reader] = position


def make_follower(folder: Path, segments, clock, *, stream=Stream.LOGS, seconds=7 * 86400, most=1 << 40):
    engine = Engine(folder, memory=256 << 20)
    return Follower(
        stream,
        segments,
        Catalog(folder / stream),
        engine,
        Shelf(folder / "aside" / stream),
        clock,
        Keep(seconds, most),
    )


async def until(condition):
    """Wait until something is so."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what it waits for tells nobody
            await asyncio.sleep(0.005)


class Running:
    """A follower that runs, until the end of the block."""

    def __init__(self, follower, segments):
        self.follower, self._segments = follower, segments

    async def __aenter__(self):
        self._task = asyncio.ensure_future(self.follower.run())
        await self.read_all()
        return self

    async def __aexit__(self, *error):
        self._task.cancel()
        await asyncio.wait({self._task})
        self.follower._engine.close()

    async def read_all(self):
        """Wait until everything was read that the segments have."""
        after = [e for e in self._segments.entries if e.frame.head.stream == self.follower.stream]
        end = after[-1].position_after if after else Position()

        def is_read():
            if self._task.done():
                self._task.result()
            return self.follower._free.is_set() and self.place >= end

        await until(is_read)

    @property
    def place(self):
        with self.follower.look() as snapshot:
            return Position(snapshot.end >> 40, snapshot.end & ((1 << 40) - 1))

    def find(self, *, limit=1000, cursor="", newest=False, after="", since=0, until=1 << 62, **wanted):
        """Return a page of rows."""
        with self.follower.look() as snapshot, self.follower._engine.open() as connection:
            page = PageOf(limit=limit, cursor=cursor, newest=newest, after=after)
            return find_rows(
                connection, self.follower, snapshot, Wanted(since=since, until=until, **wanted), page
            )

    def bodies(self, **wanted):
        """Return the texts of the rows that are wanted."""
        found = self.find(**wanted)
        return [row[found.names.index("body")] for row in found.rows]


class RunningData:
    """All streams of a Manager's data, until the end of the block."""

    def __init__(self, folder, segments):
        self.data, self._segments = Data(folder, segments, DataSettings(), Clock()), segments

    async def __aenter__(self):
        self._task = asyncio.ensure_future(self.data.run())
        await until(self.is_read)
        return self.data

    async def __aexit__(self, *error):
        self._task.cancel()
        await asyncio.wait({self._task})

    def is_read(self):
        """Return whether everything was read that the segments have."""
        if self._task.done():
            self._task.result()
        ends = {entry.frame.head.stream: place_of(entry.position_after) for entry in self._segments.entries}
        return all(follower._end >= ends.get(stream, 0) for stream, follower in self.data._followers.items())
