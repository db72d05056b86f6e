"""Reading: one agent's last hour of logs among a day of 10,000 agents, as the Manager finds it; beside it grep."""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.scenario import Figures, repeat, run_scenario
from popham.clock import SystemClock
from popham.manager.data.asking import PageOf, Wanted
from popham.manager.data.catalog import Catalog, Contents, PartFile
from popham.manager.data.columns import LOGS, make_batch
from popham.manager.data.data import Data
from popham.manager.data.engine import Engine
from popham.manager.data.place import place_of
from popham.manager.data.rows import LogRow
from popham.manager.data.settings import DataSettings
from popham.manager.data.writing import begin_of, write_days
from popham.manager.intake.position import Position
from popham.streams.frame import Stream

AGENTS = 10_000
LINES = 20
"""Lines of an agent in an hour."""
DAY = "2026-11-22"
HOUR = 3600 * 1_000_000_000
ASKED = 50
GREPPED = 5
MEMORY = 512 * 1024 * 1024
_TEXT = '192.0.2.{host} - - "GET /articles/{number}?page={page} HTTP/1.1" {status} {size} "-" "Mozilla/5.0"'


class NoSource:
    """An intake to which nothing comes."""

    def read(self, stream: Stream, after: Position, *, limit: int) -> Sequence[Any]:
        """Return nothing."""
        del stream, after, limit
        return ()

    async def wait(self, stream: Stream, after: Position) -> None:
        """Wait for ever."""
        del stream, after
        await asyncio.Event().wait()

    def end(self, stream: Stream) -> Position:
        """Return a position behind all files."""
        del stream
        return Position(1000)

    def register(self, stream: Stream, reader: str, position: Position) -> None:
        """Take no note."""

    def release(self, stream: Stream, reader: str, position: Position) -> None:
        """Take no note."""


def lines(uids: Sequence[str], hour: int, rng: random.Random) -> Iterator[LogRow]:
    """Yield the lines of all agents in one hour, as they come."""
    begin = begin_of(DAY) + hour * HOUR
    for number in range(LINES):
        for uid in uids:
            at = begin + number * HOUR // LINES + rng.randrange(HOUR // LINES)
            text = _TEXT.format(
                host=rng.randrange(255),
                number=rng.randrange(100_000),
                page=rng.randrange(9),
                status=rng.choice((200, 200, 200, 304, 404)),
                size=rng.randrange(50_000),
            )
            yield LogRow(
                uid=uid,
                epoch=1,
                offset=hour * LINES + number,
                received=at,
                skew=0,
                at=at,
                time=at,
                observed=at,
                severity=9,
                level="INFO",
                body=text,
                event="",
                source="nginx",
                file="/var/log/nginx/access.log",
                attributes='{"log.file.path":"/var/log/nginx/access.log","popham.source":"nginx"}',
                resource='{"service.name":"popham-agent"}',
                way="stream",
            )


def fill(folder: Path, uids: Sequence[str]) -> Path:
    """Write a day into files as the Manager does, hour by hour, and beside them as text; return the text."""
    engine, catalog = Engine(folder, memory=MEMORY), Catalog(folder / Stream.LOGS)
    catalog.load()
    rng, files = random.Random(7), list[PartFile]()  # noqa: S311  # no secret
    text = folder / "day.log"
    with text.open("w", encoding="utf-8") as plain:
        for hour in range(24):
            rows = list(lines(uids, hour, rng))
            plain.writelines(f"{row.at} {row.uid} {row.body}\n" for row in rows)
            batch = make_batch(LOGS, [place_of(Position(1, hour + 1))] * len(rows), rows)
            with engine.open() as connection:
                files += write_days(connection, catalog.folder, LOGS, [batch], 0)
    catalog.save(Contents(files=tuple(files), place=place_of(Position(1, 24))))
    engine.close()
    return text


async def ask(folder: Path, uids: Sequence[str], rng: random.Random) -> Figures:
    """Ask for the last hour of one agent after the other."""
    # What is kept is of a day that may be long ago: nothing of it is dropped.
    settings = msgspec.structs.replace(DataSettings(), logs_days=3660.0)
    data = Data(folder, NoSource(), settings, SystemClock())
    running = asyncio.ensure_future(data.run())
    try:
        while not data.kept(Stream.LOGS).records:  # noqa: ASYNC110  # it is read in a moment
            await asyncio.sleep(0.01)
        spent = []
        since = begin_of(DAY) + 23 * HOUR
        for uid in rng.sample(list(uids), min(ASKED, len(uids))):
            began = time.perf_counter()
            wanted = Wanted(uids=[uid], since=since, until=since + HOUR)
            found = await data.rows(Stream.LOGS, wanted, PageOf(limit=1000))
            spent.append(time.perf_counter() - began)
            if len(found.rows) != LINES:
                raise RuntimeError(f"{len(found.rows)} lines were found, not {LINES}")
        return {
            "first_ms": spent[0] * 1000,
            "p50_ms": statistics.median(spent) * 1000,
            "max_ms": max(spent[1:]) * 1000,
        }
    finally:
        running.cancel()
        await asyncio.wait({running})


def grep(text: Path, uids: Sequence[str], rng: random.Random) -> Figures:
    """Look for one agent after the other in the same lines as text."""
    spent = []
    for uid in rng.sample(list(uids), GREPPED):
        began = time.perf_counter()
        subprocess.run(["grep", "-cF", uid, str(text)], check=True, capture_output=True)
        spent.append(time.perf_counter() - began)
    return {"p50_ms": statistics.median(spent) * 1000}


def rows(asked: argparse.Namespace) -> Mapping[str, Any]:
    """Measure both over the same day."""
    rng = random.Random(8)  # noqa: S311  # no secret
    uids = [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(200 if asked.small else AGENTS)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = fill(folder, uids)
        size = sum(path.stat().st_size for path in folder.glob("logs/*/*"))
        sizes = {"parquet_mb": size / 1e6, "text_mb": text.stat().st_size / 1e6}
        return {
            "an agent's last hour: popham": repeat(
                lambda: asyncio.run(ask(folder, uids, rng)), asked.repeats
            ),
            "an agent's lines: grep": repeat(lambda: grep(text, uids, rng), asked.repeats),
            "the day": {"agents": len(uids), "lines": len(uids) * LINES * 24, **sizes},
        }


if __name__ == "__main__":
    run_scenario("reading", rows)
