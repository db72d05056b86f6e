"""Log files: bytes a second into the durable spool, and what it costs to wait for lines of 100 files.

Beside it, in the same run: ``tail -F`` through ``gzip`` to a file, on the same lines.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import subprocess
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bench.scenario import Figures, repeat, run_scenario
from popham.agent.collect.log_stream import LogStream
from popham.agent.streams.spools import Spools
from popham.clock import SystemClock
from popham.statedir import StateDir
from popham.streams.frame import Stream
from popham.streams.spool import Limits

T = TypeVar("T")
LINE = "2026-11-22T15:23:{:02d}.{:06d}Z INFO shop.cart user={} item={} took {} ms, all is well\n"
MEGABYTES = 200
FILES = 100
IDLE = 20.0
"""Seconds for which nothing is written."""


def main() -> None:
    """Measure throughput beside the reference, and the idle cost."""
    run_scenario("tail", measure_rows)


def measure_rows(asked: argparse.Namespace) -> Mapping[str, Any]:
    """Return the figures of all rows that were asked for."""
    megabytes, idle = (10, 2.0) if asked.small else (MEGABYTES, IDLE)
    rows: dict[str, Callable[[], Figures]] = {
        "one file: popham": lambda: asyncio.run(measure_reading(megabytes)),
        "one file: tail and gzip": lambda: measure_reference(megabytes),
        "idle: popham": lambda: asyncio.run(measure_idle(idle)),
    }
    return {
        name: repeat(measure, asked.repeats) for name, measure in rows.items() if name.startswith(asked.only)
    }


def write_lines(path: Path, megabytes: int) -> int:
    """Write that much of a log; return its bytes."""
    lines = "".join(
        LINE.format(at % 60, at * 37 % 999_983, at * 7919 % 5003, at % 911, at * 31 % 400)
        for at in range(12_000)
    )
    with path.open("w", encoding="ascii") as file:
        for _ in range(megabytes * 1_000_000 // len(lines) + 1):
            file.write(lines)
    return path.stat().st_size


async def measure_reading(megabytes: int) -> Figures:
    """Return what it costs to bring one large file into the spool."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        size = write_lines(path / "app.log", megabytes)
        before, begun = _spent(), time.perf_counter()
        async with _follow(path) as (stream, spools):
            await stream.collect()
            took, cpu = time.perf_counter() - begun, _spent() - before
            view = spools.view(Stream.LOGS)
            kept = 0 if view is None else view.bytes
        if not kept:
            raise SystemExit("nothing of the file is in the spool")
    return {"mb_per_s": size / took / 1e6, "mb_per_cpu_s": size / cpu / 1e6, "kept": kept / size}


async def measure_idle(seconds: float) -> Figures:
    """Return what it costs to wait for lines, and how long one takes until it is durable."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        for number in range(FILES):
            write_lines(path / f"{number}.log", 0)
        async with _follow(path) as (stream, spools):
            await stream.collect()
            before = _spent()
            await asyncio.sleep(seconds)
            idle = (_spent() - before) / seconds
            worst = 0.0
            for number in range(20):
                worst = max(worst, await _time_line(path / f"{number}.log", spools))
    return {"idle_percent": 100 * idle, "worst_ms": worst * 1000}


async def _time_line(path: Path, spools: Spools) -> float:
    """Return the seconds until a line is durable."""
    begun = time.perf_counter()
    with path.open("a", encoding="ascii") as file:
        file.write("one line\n")
    durable = asyncio.Event()
    spools.appended = lambda _stream: durable.set()
    await durable.wait()
    return time.perf_counter() - begun


def measure_reference(megabytes: int) -> Figures:
    """Return what ``tail`` and ``gzip -1`` take for the same lines."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "app.log"
        size = write_lines(path, megabytes)
        before, begun = _spent(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = 'tail -n +1 --pid "$$" -F app.log | head -c "$0" | gzip -1 > app.log.gz; sync app.log.gz'
        subprocess.run(["bash", "-c", command, str(size)], cwd=folder, check=True)
        took, cpu = time.perf_counter() - begun, _spent(resource.RUSAGE_CHILDREN) - before
        kept = (Path(folder) / "app.log.gz").stat().st_size
    return {"mb_per_s": size / took / 1e6, "mb_per_cpu_s": size / cpu / 1e6, "kept": kept / size}


@contextlib.asynccontextmanager
async def _follow(folder: Path) -> Any:
    """Follow all logs of a folder from their beginning, into streams beside them."""
    clock, uid = SystemClock(), uuid.uuid4().bytes
    with StateDir.open(folder / "state", "agent", create=True) as storage:
        spools = Spools(folder / "streams", uid, clock, boot=os.urandom(8), offload=_offload)
        await spools.set_limits({Stream.LOGS: Limits(records=1 << 40, bytes=1 << 40)})
        stream = LogStream(
            spools, storage=storage, clock=clock, resource={"host.name": "bench"}, lost=print, may_read=bool
        )
        stream.read([{"name": "app", "paths": [f"{folder}/*.log"], "from": "beginning"}], paused=False)
        running = asyncio.create_task(stream.run())
        try:
            # Brings nothing, and returns once files are read; before, there is nothing to collect from.
            await stream.bring(())
            yield stream, spools
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await spools.close()


def _offload(work: Callable[[], T]) -> Awaitable[T]:
    return asyncio.to_thread(work)


def _spent(who: int = resource.RUSAGE_SELF) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
