"""Frames with events and summaries as agents send them, and an intake that has them."""

import asyncio
from dataclasses import dataclass, field
from hashlib import sha256
from uuid import UUID

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from popham.manager.intake.position import Position
from popham.streams.frame import START, Codec, Frame, Head, Kind, Stream, tail_of

NOW = 1_800_000_000.0
UIDS = [f"0191d5a8-0000-7000-8000-{number:012x}" for number in range(10)]
CPU, MOUNTED = "system.cpu.utilization", "system.filesystem.utilization"


def summary(*samples):
    """Return a payload with (name, attributes, value, at) each, and how many they are."""
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    for name, attributes, value, at in samples:
        metric = metrics.add(name=name, unit="1")
        point = metric.gauge.data_points.add(time_unix_nano=round(at * 1e9), as_double=value)
        for key, text in attributes.items():
            point.attributes.add(key=key).value.string_value = text
    return request.SerializeToString(), len(samples)


def events(*said):
    """Return a payload with (name, text, at) each, and how many they are."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for name, text, at in said:
        record = records.add(event_name=name, severity_number=17, time_unix_nano=round(at * 1e9))
        record.body.string_value = text
        record.attributes.add(key="item").value.string_value = "cpu"
    return request.SerializeToString(), len(said)


def make_frame(stream, payload, count, *, uid=UIDS[1], first=0, kind=Kind.RECORDS):
    digest = sha256(payload).digest()
    return Frame(
        Head(
            kind=kind,
            stream=stream,
            codec=Codec.PLAIN,
            uid=UUID(uid).bytes,
            epoch=1,
            first=first,
            count=count,
            boot=bytes(8),
            written=round(NOW * 1e9),
            before=START,
            tail=tail_of(digest),
            digest=digest,
            length=len(payload),
            size=len(payload),
        ),
        payload,
        b"s" * 64,
    )


@dataclass(frozen=True)
class Taken:
    position_after: Position
    received: float
    skew: float | None
    frame: Frame


@dataclass
class Feed:
    """An intake whose segments are a list: an entry has 100 bytes."""

    entries: dict = field(default_factory=lambda: {stream: [] for stream in Stream})
    released: dict = field(default_factory=dict)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, stream, content, *, received=NOW, skew=None, **head):
        entries = self.entries[stream]
        after = Position(1, 100 * (len(entries) + 1))
        entries.append(Taken(after, received, skew, make_frame(stream, *content, **head)))
        self.woken.set()

    def register(self, stream, reader, position):
        self.released[stream, reader] = position

    def read(self, stream, after, *, limit):
        return [one for one in self.entries[stream] if one.position_after > after][: max(1, limit // 100_000)]

    async def wait(self, stream, after):
        while not self.read(stream, after, limit=1):
            self.woken.clear()
            await self.woken.wait()

    def release(self, stream, reader, position):
        self.released[stream, reader] = position
