"""Data comes in: frames of 100 agents are verified, written, synced and acknowledged.

Frames are made and signed before the clock starts, as agents do that. The intake is the Manager's own, in this
process, with its thread and its segments; what an agent sends is taken as soon as the one before is durable. The
reference writes the same OTLP, uncompressed and unverified, to one file and syncs it as often.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from bench.scenario import Figures, repeat, run_scenario
from popham.clock import SystemClock
from popham.manager.intake.intake import Intake
from popham.manager.intake.limits import Limits
from popham.store.memory import MemoryStore
from popham.streams.disk import SystemDisk
from popham.streams.frame import START, Frame, Head, Kind, Stream, tail_of
from popham.streams.packing import pack
from popham.trust.keys import IdentityKey
from popham.upstream.intake import Sent
from popham.upstream.record import Record

AGENTS = 100
LINES = 100
"""Records of a frame."""
FRAMES = 4
"""Frames of an append."""
_WORDS = (
    "connection",
    "accepted",
    "from",
    "closed",
    "by",
    "peer",
    "request",
    "served",
    "in",
    "ms",
    "GET",
    "/index",
)


@dataclass(slots=True)
class Agent:
    """An agent with what it will send.

    Attributes:
        record: As an upstream has it.
        appends: Each of some frames.
        plain: The same as OTLP, uncompressed.
    """

    record: Record
    appends: list[bytes]
    plain: list[bytes]


def make_payload(rng: random.Random, number: int) -> bytes:
    """Return lines of a log as OTLP."""
    request = ExportLogsServiceRequest()
    found = request.resource_logs.add()
    scope = found.scope_logs.add()
    for line in range(LINES):
        record = scope.log_records.add()
        record.time_unix_nano = record.observed_time_unix_nano = (
            1_700_000_000_000_000_000 + number * LINES + line
        )
        record.body.string_value = " ".join(rng.choices(_WORDS, k=18)) + f" {rng.getrandbits(64):x}"
        attribute = record.attributes.add()
        attribute.key = "log.file.path"
        attribute.value.string_value = "/var/log/nginx/access.log"
    return request.SerializeToString()


def make_agent(number: int, appends: int) -> Agent:
    """Return an agent that will send ``appends`` appends."""
    rng, key, uid = random.Random(number), IdentityKey.create(), number.to_bytes(16, "big")  # noqa: S311 - lines
    record = Record(uid=str(number), key=uid, name=f"a{number}", group="fleet", public_key=key.public.der)
    first, before, made, plain = 0, START, [], []
    for _ in range(appends):
        frames = []
        for _ in range(FRAMES):
            payload = make_payload(rng, first)
            plain.append(payload)
            codec, packed = pack(payload)
            digest = sha256(packed).digest()
            head = Head(
                kind=Kind.RECORDS, stream=Stream.LOGS, codec=codec, uid=uid, epoch=1, first=first, count=LINES,
                boot=b"bench-01", written=first + 1, before=before, tail=tail_of(digest), digest=digest,
                length=len(packed), size=len(payload),
            )  # fmt: skip
            r, s = decode_dss_signature(key.sign(head.encode()))
            frames.append(Frame(head, packed, r.to_bytes(32, "big") + s.to_bytes(32, "big")).encode())
            first, before = head.end, head.tail
        made.append(b"".join(frames))
    return Agent(record, made, plain)


async def send(intake: Intake, agents: list[Agent]) -> None:
    """Have all agents send all they have, each one append at a time."""

    async def one(agent: Agent) -> None:
        for number, frames in enumerate(agent.appends, 1):
            said = await intake.append(agent.record, Stream.LOGS, frames, Sent())
            if said.next != number * FRAMES * LINES:
                raise SystemExit(f"{agent.record.name} is at {said.next} after {number} appends")

    await asyncio.gather(*map(one, agents))


async def take(folder: Path, agents: list[Agent]) -> Figures:
    """Return the figures of one intake."""
    limits = Limits(reserve=0, bytes_per_second=0.0)
    intake = Intake(
        folder, MemoryStore(), SystemClock(), limits=limits, draw=random.random, disk=SystemDisk()
    )
    await intake.load()
    wall, cpu = time.perf_counter(), time.process_time()
    await send(intake, agents)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    await intake.close()
    plain = sum(len(payload) for agent in agents for payload in agent.plain)
    records = sum(len(agent.plain) for agent in agents) * LINES
    return {
        "cpu_ms_per_mb": cpu / plain * 1e9,
        "us_per_record": wall / records * 1e6,
        "otlp_mb_per_core": plain / cpu / 1e6,
        "otlp_mb_per_s": plain / wall / 1e6,
        "records_per_s": records / wall,
        "records_per_core": records / cpu,
        "us_per_frame": cpu / (records / LINES) * 1e6,
        "compression": plain / sum(len(one) for agent in agents for one in agent.appends),
    }


def write_plain(folder: Path, agents: list[Agent]) -> Figures:
    """Return the figures of appending the same OTLP to a file, synced after one append of each agent."""
    wall, cpu = time.perf_counter(), time.process_time()
    size = 0
    with (folder / "plain").open("ab", buffering=0) as file:
        for number in range(len(agents[0].appends)):
            batch = b"".join(
                payload
                for agent in agents
                for payload in agent.plain[number * FRAMES : (number + 1) * FRAMES]
            )
            file.write(batch)
            os.fsync(file.fileno())
            size += len(batch)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    records = sum(len(agent.plain) for agent in agents) * LINES
    return {
        "cpu_ms_per_mb": cpu / size * 1e9,
        "us_per_record": wall / records * 1e6,
        "otlp_mb_per_core": size / cpu / 1e6,
        "otlp_mb_per_s": size / wall / 1e6,
    }


def rows(asked: argparse.Namespace) -> Mapping[str, Any]:
    """Measure the intake and the reference in one run."""
    agents = [make_agent(number, 2 if asked.small else 20) for number in range(AGENTS)]

    def once() -> Figures:
        with tempfile.TemporaryDirectory(prefix="popham-bench-") as folder:
            return asyncio.run(take(Path(folder) / "intake", agents))

    def reference() -> Figures:
        with tempfile.TemporaryDirectory(prefix="popham-bench-") as folder:
            return write_plain(Path(folder), agents)

    return {
        "100 agents: popham": repeat(once, asked.repeats),
        "100 agents: append and fsync of the same OTLP": repeat(reference, asked.repeats),
    }


if __name__ == "__main__":
    run_scenario("ingest", rows)
