"""An agent of a real fleet: what it costs at rest, and how soon a line that its machine writes is seen by people.

The fleet is the demo's: a Manager and four agents, started here as a process with a folder of its own, and ended here.
Measured is ``web-1``, which is in push. Beside it, in the same run: ``tail -F`` of the same file, seeing the same lines.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import cpu_of
from bench.scenario import Figures, repeat, run_scenario

LINES = 150
APART = 0.13
"""Seconds between two lines: no divisor of a second, so that they fall into all parts of one."""
IDLE = 60.0
"""Seconds for which nothing is written."""
PATIENCE = 60.0
"""Seconds until the scenario gives up on anything."""
SETTLED = 5.0
"""Seconds after a change before an agent counts as at rest: what came into force is on probation for as long."""
AGENT = "web-1"
_AT_REST = """\
apiVersion: popham/v1
kind: Policy
metadata: {{name: watch-web}}
spec:
  type: collect
  metrics: {{cpu: true, memory: true, network: true}}
  logs:
    - {{name: deck, paths: ["{log}"], from: beginning}}
"""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A demo that runs.

    Attributes:
        folder: Where it keeps everything.
        env: With which the ``popham`` command talks to it.
        agent: Process of the agent that is measured.
    """

    folder: Path
    env: Mapping[str, str]
    agent: int

    @property
    def log(self) -> Path:
        """The file that the agent follows."""
        return self.folder / "machines" / "web" / "deck.log"

    def popham(self, *words: str) -> None:
        """Run a command to its end."""
        subprocess.run(popham(*words), env=dict(self.env), check=True, stdout=sys.stderr, timeout=PATIENCE)


def popham(*words: str) -> list[str]:
    """Return the words that start a command of this tree."""
    return [sys.executable, "-m", "popham", *words]


@contextmanager
def running_fleet() -> Iterator[Fleet]:
    """Start a demo, wait until its agents have what they should have, and end it."""
    with tempfile.TemporaryDirectory(prefix="popham-bench-") as name:
        folder = Path(name) / "demo"
        command = [sys.executable, "-m", "popham.testing.demo", "--state", str(folder)]
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            # Its last line says where it keeps everything; it ends by itself if it cannot come so far.
            if not any(line.startswith("state:") for line in demo.stdout or ()):
                raise SystemExit(f"the demo ended with {demo.wait()}")
            env = os.environ | {"POPHAM_CONFIG": str(folder / "contexts.toml")}
            yield Fleet(folder, env, find_agent(demo.pid))
        finally:
            demo.terminate()
            demo.communicate(timeout=PATIENCE)


def find_agent(demo: int) -> int:
    """Return the process of the agent that is measured, a child of the demo."""
    children = Path(f"/proc/{demo}/task/{demo}/children").read_text(encoding="ascii").split()
    for pid in children:
        if f"/{AGENT}.toml\0" in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8"):
            return int(pid)
    raise SystemExit(f"the demo has no process of {AGENT}")


def read_memory(pid: int) -> Figures:
    """Return what a process has in memory, and the part that it shares with nobody; in MB."""
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, _, value = line.partition(":")
        fields[name] = int(value.split()[0]) * 1024 / 1e6
    return {"rss_mb": fields["Rss"], "uss_mb": fields["Private_Clean"] + fields["Private_Dirty"]}


def measure_idle(fleet: Fleet, seconds: float) -> Figures:
    """Return what the agent costs while it holds its link, follows its log and collects at its usual interval."""
    time.sleep(SETTLED)
    before, begun = cpu_of(fleet.agent), time.monotonic()
    time.sleep(seconds)
    share = (cpu_of(fleet.agent) - before) / (time.monotonic() - begun)
    return {"cpu_percent": 100 * share, **read_memory(fleet.agent)}


class Watcher:
    """A command that prints lines as it sees them, and when each of them was seen first."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], mark: str) -> None:
        """Start it; lines without ``mark`` and a number behind it do not count."""
        self.seen: dict[int, float] = {}
        self._mark = mark
        self._process = subprocess.Popen(
            command, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            now = time.monotonic()
            _, found, rest = line.partition(self._mark)
            if found:
                self.seen.setdefault(int(rest.split()[0]), now)

    def end(self) -> None:
        """End the command and wait for it."""
        self._process.terminate()
        self._reading.join()
        self._process.communicate()


def measure_following(fleet: Fleet, lines: int, mark: str) -> tuple[Figures, Figures]:
    """Return how long a line takes until ``popham logs -f`` shows it, and until ``tail -F`` does."""
    commands = (popham("logs", AGENT, "-f", "-n", "1"), ["tail", "-n", "0", "-F", str(fleet.log)])
    watchers = [Watcher(command, fleet.env, mark) for command in commands]
    written: dict[int, float] = {}

    def write(number: int) -> None:
        with fleet.log.open("a", encoding="ascii") as file:
            file.write(f"{mark}{number} and all is well\n")
        written[number] = time.monotonic()

    try:
        # The first lines are written until both have seen one; they are for nothing else.
        number = 0
        while not all(watcher.seen for watcher in watchers):
            write(number := number - 1)
            if number * 0.5 < -PATIENCE:
                raise SystemExit("no line is seen")
            time.sleep(0.5)
        for number in range(1, lines + 1):
            write(number)
            time.sleep(APART)
        wait_until(lambda: all(set(range(1, lines + 1)) <= set(one.seen) for one in watchers))
    finally:
        for watcher in watchers:
            watcher.end()
    ours, theirs = ([one.seen[at] - written[at] for at in range(1, lines + 1)] for one in watchers)
    return spread_of(ours), spread_of(theirs)


def spread_of(took: Sequence[float]) -> Figures:
    """Return how a line in the middle, one of a hundred, and the last fared; in seconds."""
    ordered = sorted(max(0.0, one) for one in took)
    return {
        "p50_s": statistics.median(ordered),
        "p99_s": ordered[int(len(ordered) * 0.99)],
        "max_s": ordered[-1],
    }


def wait_until(holds: Callable[[], bool]) -> None:
    """Look every 20 ms until ``holds``."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit("not every line was seen")
        time.sleep(0.02)


def rows(asked: argparse.Namespace) -> Mapping[str, Any]:
    """Measure one agent of one fleet."""
    lines, idle = (40, 10.0) if asked.small else (LINES, IDLE)
    found: dict[str, Any] = {}
    with running_fleet() as fleet:
        if "idle".startswith(asked.only):
            definition = fleet.folder / "at-rest.yaml"
            definition.write_text(_AT_REST.format(log=fleet.log), encoding="utf-8")
            fleet.popham("apply", "-f", str(definition))
            found["idle: popham"] = repeat(lambda: measure_idle(fleet, idle), asked.repeats)
        if "follow".startswith(asked.only):
            passes: list[tuple[Figures, Figures]] = []

            def follow() -> Figures:
                passes.append(measure_following(fleet, lines, f"probe{len(passes)}#"))
                return passes[-1][0]

            found["follow: popham"] = repeat(follow, asked.repeats)
            theirs = iter([other for _, other in passes])
            found["follow: tail -F"] = repeat(lambda: next(theirs), asked.repeats)
    return found


if __name__ == "__main__":
    run_scenario("agent", rows)
