"""Measures what rounds, links and changes cost on this machine: a table like the built-in one.

A Manager of its own, as a process, on a temporary directory and on loopback; lean agents in another
process.  CPU is the Manager's own accounting, so what else the machine does matters little; memory is
what the Manager has in use more than before.
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from popham.client import Client
from popham.clock import SystemClock
from popham.errors import LinkError
from popham.manager.founding import Founding, found
from popham.model.measured import Connection, Measured, Way
from popham.store.sqlite import SqliteStore
from popham.testing.load.crew import Crew
from popham.testing.load.fleet import Target
from popham.testing.load.identity import LoadIdentity, save_identities
from popham.testing.load.planted import plant
from popham.testing.ports import free_ports
from popham.testing.tally import Tally, counted

_TICK = os.sysconf("SC_CLK_TCK")
_QUOTAS = {"messages_per_second": "1000000", "bytes_per_second": "1e12"}
"""Quotas of one connection that no agent reaches, and a measurement does."""
_PATIENCE = 30.0
"""Seconds until a step that does not end is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured.

    Attributes:
        known: Agents in the database.
        links: Links held of each kind.
        flights: Agents that ask at a time.
        seconds: Of each run of rounds.
    """

    known: int = 4000
    links: int = 300
    flights: int = 64
    seconds: float = 1.5


@dataclass(slots=True)
class _Bed:
    """A Manager on a temporary directory."""

    folder: Path
    port: int
    people: int
    token: str
    ca: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> Target:
        """Where agents dial. Our agents begin every TLS connection anew."""
        return Target(host="127.0.0.1", port=self.port, ca=self.ca, resumes=False)

    def start(self) -> int:
        """Start the Manager, and return its process id once it serves."""
        lifted = {f"POPHAM_LIMITS__{name.upper()}": value for name, value in _QUOTAS.items()}
        with (self.folder / "manager.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - this program itself
                [
                    sys.executable,
                    "-m",
                    "popham.testing.load.manager",
                    "--state",
                    str(self.folder / "manager"),
                ],
                stdout=log,
                stderr=log,
                env=_own_environment() | lifted,
            )
        _wait(lambda: _listens(self.port) and _listens(self.people), "the Manager did not start")
        return self.process.pid

    def stop(self) -> None:
        """End the Manager."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


def calibrate(say: Callable[[str], object], scale: Scale | None = None) -> Measured:
    """Measure, and return the table; takes less than a minute.

    Args:
        say: Told each step.
        scale: How much is measured; None for the usual.

    Raises:
        LinkError: ``link.simulation``: something could not be measured.
    """
    scale = scale or Scale()
    with _bed() as bed:
        say("a Manager without agents")
        empty = _memory(bed.start())
        bed.stop()
        say(f"a Manager that knows {scale.known} agents")
        files = _plant(bed, scale)
        pid = bed.start()
        full = _memory(pid)
        ways, changes = {}, {}
        for kind, file in files.items():
            say(f"rounds and links, {kind}")
            ways[kind], changes[kind] = _measure(bed, pid, file, scale)
        change_us, change_bytes = changes[Connection.MUTUAL]
    return Measured(
        ways=ways,
        base_mb=_round(empty / 1e6),
        agent_kb=_round(max(full - empty, 1) / (scale.known + scale.links) / 1e3),
        change_us=change_us,
        change_bytes=change_bytes,
        source=describe_machine(),
    )


def describe_machine() -> str:
    """Return what was measured on: cores, processor, memory, kernel, Python, load."""
    names = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.partition(":")[2].strip() for line in names if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"popham bench --calibrate on {os.cpu_count()} cores of {cpu or platform.machine()}, {memory:.0f} GB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}"
    )


def _measure(bed: _Bed, pid: int, file: Path, scale: Scale) -> tuple[Way, tuple[float, float]]:
    """Return what one kind of connection costs, and what a change does: µs and bytes for an agent."""
    with Crew(bed.target, processes=1, file=file, count=scale.flights) as crew:
        heartbeat_us = _beat(crew, pid, scale, keep=True)
        connect_us = _beat(crew, pid, scale, keep=False)
    before = _memory(pid)
    with Crew(bed.target, processes=1, file=file, count=scale.links) as crew:
        _hold(crew, scale.links)
        link_kb = max(_memory(pid) - before, 1) / scale.links / 1e3
        spent = _cpu(pid)
        _change(bed, crew, scale.links)
        change_us = max(_cpu(pid) - spent, 1 / _TICK) / scale.links * 1e6
    heartbeat_bytes, connect_bytes, change_bytes = _bytes(bed, file)
    way = Way(
        heartbeat_us=_round(heartbeat_us),
        connect_us=_round(connect_us),
        link_kb=_round(link_kb),
        heartbeat_bytes=_round(heartbeat_bytes),
        connect_bytes=_round(connect_bytes),
    )
    return way, (_round(change_us), _round(change_bytes))


def _beat(crew: Crew, pid: int, scale: Scale, *, keep: bool) -> float:
    """Return µs of CPU that a round takes, on a connection that stays or on a new one each time."""
    crew.order("beat", seconds=0.2, keep=keep, flights=scale.flights)
    crew.order("fresh")
    spent = _cpu(pid)
    seen = crew.order("beat", seconds=scale.seconds, keep=keep, flights=scale.flights)
    if not seen.rounds.total:
        raise LinkError("simulation", f"no round was answered: {dict(seen.failed)}")
    return max(_cpu(pid) - spent, 1 / _TICK) / seen.rounds.total * 1e6


def _hold(crew: Crew, links: int) -> None:
    crew.order("hold", heartbeat=0)
    crew.wait(lambda seen: seen.held == links, seconds=_PATIENCE)
    # Answers to the first messages are still being written.
    crew.wait(lambda seen: seen.opening.total >= links, seconds=_PATIENCE)


def _change(bed: _Bed, crew: Crew, links: int) -> None:
    """Change the fleet's policy, and return once all who hold a link have it and their outcomes are durable."""
    crew.order("fresh")
    with Client(f"https://127.0.0.1:{bed.people}", bed.token, ca=bed.ca) as client:
        client.apply([("change.yaml", _CHANGE.format(at=time.monotonic_ns()))], everyone=True)
    crew.wait(lambda seen: seen.applied >= links, seconds=_PATIENCE)


_CHANGE = """\
apiVersion: popham/v1
kind: Policy
metadata: {{name: calibration}}
spec: {{type: otelcol, config: {{exporters: {{"debug/{at}": null}}}}}}
---
apiVersion: popham/v1
kind: Group
metadata: {{name: fleet}}
spec: {{policies: {{otelcol: calibration}}}}
"""


def _bytes(bed: _Bed, file: Path) -> tuple[float, float, float]:
    """Return the bytes of a round, of a new connection with a round, and of a change, for one agent."""
    agents = 8
    with counted(bed.port) as (port, tally):
        at = Target(host="127.0.0.1", port=port, ca=bed.ca, resumes=False)
        with Crew(at, processes=1, file=file, count=agents) as crew:
            connect = _bytes_of(crew, tally, keep=False)
            heartbeat = _bytes_of(crew, tally, keep=True)
        with Crew(at, processes=1, file=file, count=agents) as crew:
            _hold(crew, agents)
            before = tally.on_the_wire
            _change(bed, crew, agents)
            return heartbeat, connect, (tally.on_the_wire - before) / agents


def _bytes_of(crew: Crew, tally: Tally, *, keep: bool) -> float:
    crew.order("beat", seconds=0.2, keep=True, flights=1)
    crew.order("fresh")
    before = tally.on_the_wire
    rounds = crew.order("beat", seconds=0.3, keep=keep, flights=1).rounds.total
    return (tally.on_the_wire - before) / max(1, rounds)


def _plant(bed: _Bed, scale: Scale) -> Mapping[Connection, Path]:
    """Put agents into the database, and who they are into files, by kind of connection."""
    made: Sequence[LoadIdentity] = asyncio.run(
        plant(
            bed.folder / "manager",
            SystemClock(),
            own=scale.known,
            stock=scale.links,
            certified=max(scale.links, scale.flights),
        )
    )
    files = {Connection.MUTUAL: bed.folder / "own.jsonl", Connection.TLS: bed.folder / "stock.jsonl"}
    save_identities(files[Connection.MUTUAL], [one for one in made if one.own and one.certificate != "none"])
    save_identities(files[Connection.TLS], [one for one in made if not one.own])
    return files


@contextmanager
def _bed() -> Iterator[_Bed]:
    with tempfile.TemporaryDirectory(prefix="popham-calibrate-") as name:
        folder, clock = Path(name), SystemClock()
        agents, people = free_ports(2)
        asked = Founding(
            state=folder / "manager",
            names=("localhost", "127.0.0.1"),
            urls=(f"https://localhost:{agents}",),
            agents=f"127.0.0.1:{agents}",
            people=f"127.0.0.1:{people}",
        )
        made = asyncio.run(
            found(asked, clock=clock, open_store=lambda path: SqliteStore.open(path, clock=clock))
        )
        bed = _Bed(folder, agents, people, made.token, made.keys.ca.issuers_pem.decode())
        try:
            yield bed
        finally:
            bed.stop()


def _own_environment() -> dict[str, str]:
    """Return the environment without settings of Popham's, which would be those of another Manager."""
    return {name: value for name, value in os.environ.items() if not name.startswith("POPHAM_")}


def _cpu(pid: int) -> float:
    """Return seconds of user and system time that a process has had."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _TICK


def _memory(pid: int) -> int:
    """Return bytes of memory that a process has in use: resident, anonymous; once that is at rest."""
    before, found = -1, _resident(pid)
    for _ in range(20):
        if abs(found - before) < 100_000:
            break
        time.sleep(0.2)
        before, found = found, _resident(pid)
    return found


def _resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(holds: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise LinkError("simulation", problem)
        time.sleep(0.05)


def _round(number: float) -> float:
    return float(f"{number:.3g}")
