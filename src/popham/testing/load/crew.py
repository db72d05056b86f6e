"""Several processes of lean agents, ordered about as one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from popham.errors import LinkError
from popham.testing.load.fleet import Target
from popham.testing.load.histogram import Histogram

PER_PROCESS = 10_000
"""Agents of one process: it may not have many more sockets than that."""


@dataclass(slots=True)
class Sight:
    """What all processes saw together; fields as in :class:`popham.testing.load.fleet.Tally`."""

    joined: int = 0
    held: int = 0
    opened: int = 0
    offers: int = 0
    asked: int = 0
    applied: int = 0
    first: float = 0.0
    last: float = 0.0
    last_applied: float = 0.0
    failed: Counter[str] = field(default_factory=Counter)
    opening: Histogram = field(default_factory=Histogram)
    rounds: Histogram = field(default_factory=Histogram)
    told: Histogram = field(default_factory=Histogram)

    def add(self, part: Mapping[str, Any]) -> None:
        """Add what one process saw."""
        for name in ("joined", "held", "opened", "offers", "asked", "applied"):
            setattr(self, name, getattr(self, name) + int(part.get(name, 0)))
        begun = [found for found in (self.first, float(part.get("first", 0.0))) if found]
        self.first = min(begun, default=0.0)
        self.last = max(self.last, float(part.get("last", 0.0)))
        self.last_applied = max(self.last_applied, float(part.get("last_applied", 0.0)))
        self.failed.update(part.get("failed", {}))
        self.opening.merge(Histogram(part.get("opening")))
        self.rounds.merge(Histogram(part.get("rounds")))
        self.told.merge(Histogram(part.get("told")))


class Crew:
    """Processes of lean agents; a context manager that ends them."""

    def __init__(self, target: Target, *, processes: int, file: Path | None = None, count: int = -1) -> None:
        """Start the processes.

        Args:
            target: Where agents dial.
            processes: How many.
            file: Identities, dealt out to the processes in turn.
            count: How many of them in all; -1 for all.
        """
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "popham.testing.load.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(processes)
        ]
        share = shares(count, processes) if count >= 0 else [-1] * processes
        orders = [
            {
                "do": "begin",
                "target": asdict(target),
                "file": str(file) if file else "",
                "first": number,
                "step": processes,
                "count": share[number],
            }
            for number in range(processes)
        ]
        self._tell(orders)

    def __enter__(self) -> Self:
        """Return the crew."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def order(self, what: str, **arguments: Any) -> Sight:
        """Give all processes the same order, and add up what they answer.

        Raises:
            LinkError: ``link.simulation``: a process ended, or could not do it.
        """
        return self._tell([{"do": what, **arguments}] * len(self._processes))

    def deal(self, what: str, count: int, **arguments: Any) -> Sight:
        """Give each process its share of ``count``. Raises as :meth:`order`."""
        orders = [{"do": what, **arguments, "count": part} for part in shares(count, len(self._processes))]
        return self._tell(orders)

    def _tell(self, orders: Sequence[Mapping[str, Any]]) -> Sight:
        for process, order in zip(self._processes, orders, strict=True):
            if process.stdin is not None and process.poll() is None:
                process.stdin.write(json.dumps(order) + "\n")
                process.stdin.flush()
        sight = Sight()
        for process in self._processes:
            line = process.stdout.readline() if process.stdout is not None else ""
            answer = json.loads(line) if line else {"error": "a process of simulated agents ended"}
            if "error" in answer:
                raise LinkError("simulation", str(answer["error"]))
            sight.add(answer)
        return sight

    def wait(self, holds: Callable[[Sight], bool], *, seconds: float, every: float = 0.05) -> Sight:
        """Look until ``holds`` says so; raise after ``seconds``.

        Raises:
            LinkError: ``link.simulation``: it did not come to that in time.
        """
        deadline = time.monotonic() + seconds
        while not holds(sight := self.order("look")):
            if time.monotonic() > deadline:
                problem = f"after {seconds:g} s: {sight.held} links held, {dict(sight.failed)}"
                raise LinkError("simulation", problem)
            time.sleep(every)
        return sight


def shares(count: int, parts: int) -> list[int]:
    """Return ``count`` in ``parts`` that differ by one at most."""
    return [count // parts + (number < count % parts) for number in range(parts)]
