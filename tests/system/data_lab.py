"""Machines whose logs are followed, and what the Manager has of them; for the tests of data between processes."""

import contextlib
import json
import random
import subprocess
from collections import Counter

from popham.testing.ports import free_ports

from .small_disk import fill, on_small_disk, seen_by

CELLS = {
    "held": "Push",
    "dials": "Pull by heartbeat",
    "visited": "Pull by visit",
    "reached": "Push over the Manager's connection",
}
"""Machine and its group → how it gets in touch."""
VISITED = frozenset({"visited", "reached"})
POLICY = """\
apiVersion: popham/v1
kind: Policy
metadata: {{name: watch-{name}}}
spec:
  type: collect
  summary: {summary}
  logs: [{{name: deck, paths: ["{log}"], from: beginning}}]
  limits: {limits}
---
apiVersion: popham/v1
kind: Group
metadata: {{name: {name}}}
spec:
  inheritance: {{communication: false, policies: {{collect: false}}}}
  communication: {settings}
  policies: {{collect: watch-{name}}}
---
"""
PLACE = """\
apiVersion: popham/v1
kind: Agent
metadata: {{name: {name}}}
spec: {{address: {address}, port: {port}}}
---
"""
LOOPBACK = "127.0.0.1"
PAGE = 1000
BURST = 20
"""Lines that are written to each log at once while processes are killed."""
MOMENT = 0.3
"""Seconds that pass at most until lines are written again, or somebody is killed."""


class Lab:
    """A fleet whose machines each follow one log, ``deck.log``, in a folder of their own."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.machines, self.ports = {}, {}
        self.written, self.others = Counter(), Counter()

    def __getitem__(self, name):
        return self.machines[name]

    def add(self, name, *, run=True, **said):
        """Add a machine to a group of its name; ``said`` as :meth:`define` has it."""
        self.ports[name] = free_ports(1)[0] if name in VISITED else 0
        root = self.fleet.folder / f"{name}.d"
        # Killed so often, an agent would take the policy for the cause, and undo it.
        toml = f'[collect]\nlogs = ["{root}"]\n[health]\nwindow = 0\n'
        if self.ports[name]:
            toml += f'[service]\nport = {self.ports[name]}\nhosts = ["{self.address_of(name)}"]\n'
        self.fleet.apply(self._definition(name, **said))
        machine = self.machines[name] = self._join(name, toml)
        if self.ports[name]:
            machine.popham("service", "enable")
            self.fleet.apply(self._place(name))
        return machine.start() if run else machine

    def _join(self, name, toml):
        return self.fleet.machine(name, name, toml=toml, run=False)

    def address_of(self, _name):
        """Return where a machine, or a Proxy Manager, is."""
        return LOOPBACK

    def _place(self, name):
        return PLACE.format(name=name, address=self.address_of(name), port=self.ports[name])

    def define(self, name, **said):
        """Have a machine collect and get in touch as usual, but for what is ``said``."""
        self.fleet.apply(self._definition(name, **said))
        self.fleet.until(self.machines[name].settled, f"{name} has what it should have")

    def _definition(self, name, *, limits="{records: 30000}", summary="false", **settings):
        usual = {"preset": CELLS.get(name, "Push"), "heartbeat": "1s", "spread": "off"}
        return POLICY.format(
            name=name,
            log=self.fleet.folder / f"{name}.d" / "deck.log",
            limits=limits,
            summary=summary,
            settings=json.dumps(usual | {"upload": "on", "data": None} | settings),
        )

    def log(self, name):
        """Return the log of a machine."""
        return self.machines[name].root / "deck.log"

    def write(self, name, *lines):
        """Append lines that have no numbers, as bytes, to the log of a machine, at once."""
        self.others[name] += len(lines)
        self._append(name, lines)

    def _append(self, name, lines):
        with self.log(name).open("ab") as log:
            log.write(b"".join(line + b"\n" for line in lines))

    def count_on(self, name, count):
        """Append so many numbered lines, and return them."""
        first = self.written[name]
        self.written[name] += count
        lines = [numbered(number) for number in range(first, first + count)]
        self._append(name, [line.encode() for line in lines])
        return lines

    # What the Manager has.

    def summary(self, name):
        """Return the row of a machine in the summary window."""
        return next(row for row in self.fleet.client.summaries() if row["name"] == name)

    def stored(self, name):
        """Return how many lines of a machine are durable at the Manager."""
        return self.summary(name)["stored"].get("logs", 0)

    def lost(self, name):
        """Return how many records a machine lost, as the Manager knows."""
        return sum(self.summary(name)["lost"].values())

    def records(self, name):
        """Return all lines of a machine that can be read."""
        found, cursor = [], ""
        while True:
            page = self.fleet.client.records("logs", {"agent": [name], "limit": PAGE, "cursor": cursor})
            found += page["items"]
            cursor = page["cursor"]
            if not cursor:
                return found

    def lines(self, name):
        """Return the text of each line of a machine that can be read, and how often it is there."""
        return Counter(row["body"] for row in self.records(name))

    def until_all(self, name, count):
        """Wait until so many lines of a machine are stored or lost, and all that are stored can be read."""
        self.fleet.until(
            lambda: self.stored(name) + self.lost(name) >= count, f"{count} lines of {name} came"
        )
        stored = self.stored(name)
        found = []

        def readable():
            found[:] = self.records(name)
            return len(found) >= stored

        self.fleet.until(readable, f"the lines of {name} can be read")
        return Counter(row["body"] for row in found)

    def waiting(self, name):
        """Return how many lines wait on a machine, as it says."""
        return self._said(name).get("waiting", 0)

    def dropped(self, name):
        """Return how many lines a machine dropped, as it says."""
        return sum(self._said(name).get("lost", {}).values())

    def _said(self, name):
        """Return what a machine says of its stream of lines."""
        return (self.machines[name].status.get("streams") or {}).get("logs") or {}

    def check_counted(self, name):
        """Check that each numbered line of a machine is stored once, or counted as lost; return what is stored.

        What waited longest goes first, so the lines that are lost stood in a row.
        """
        count = self.written[name]
        lines = self.until_all(name, count + self.others[name])
        doubled = {text: times for text, times in lines.items() if times > 1}
        assert not doubled, f"{name}: {len(doubled)} lines are doubled: {sorted(doubled)[:5]}"
        strange = lines.keys() - set(map(numbered, range(count)))
        assert len(strange) == self.others[name], f"{name}: {sorted(strange)[:5]}"
        lost = self.lost(name)
        missing = [number for number in range(count) if numbered(number) not in lines]
        assert len(missing) == lost, f"{name}: {lost} are counted as lost, and missing are {missing[:20]}"
        return lines


def numbered(number):
    """Return the line of a number; they differ in length."""
    return f"{number} {'x' * (number * 7919 % 300)}"


def fill_disk_of_manager(lab, name, count):
    """Start the Manager on a small disk, with a new machine, fill that, and write so many lines; return what fills it.

    Ten lines came before; those that are refused wait on the machine.
    """
    fleet = lab.fleet
    fleet.end_manager()
    inside = on_small_disk(fleet.state, "96m")
    fleet.manager = fleet.start("manager", "--state", str(fleet.state), log="manager.log", inside=inside)
    fleet.until(fleet.answers, "the Manager answers")
    lab.add(name)
    lab.count_on(name, 10)
    lab.check_counted(name)
    filler = seen_by(fleet.manager, fleet.state) / "filler"
    fill(filler)
    lab.count_on(name, count)

    def refused():
        found = next(row for row in fleet.client.intake() if row["name"] == "logs")
        return found["refused"].get("disk", 0)

    fleet.until(refused, "the Manager refuses data")
    return filler


class Storm:
    """Kills agents and the Manager of a lab at random moments, while lines are written.

    Attributes:
        killed: Who was killed how often.
    """

    def __init__(self, lab, seed, *, managers=0.25):
        """Kill the Manager in a share ``managers`` of all cases."""
        self.killed = Counter()
        self._lab = lab
        self._random = random.Random(seed)
        self._managers = managers

    def rage(self, kills):
        """Kill so often, each time some moments after lines were written; who is killed is started at once."""
        lab, fleet = self._lab, self._lab.fleet
        for _ in range(kills):
            victim = (
                "manager"
                if self._random.random() < self._managers
                else self._random.choice(list(lab.machines))
            )
            process = fleet.manager if victim == "manager" else lab[victim].process
            for _ in range(self._random.randrange(1, 4)):
                for name in lab.machines:
                    lab.count_on(name, BURST)
                self._pass(process)
            assert process.poll() is None, f"{victim} ended by itself"
            process.kill()
            process.wait()
            fleet.processes.remove(process)
            self.killed[victim] += 1
            if victim == "manager":
                fleet.manager = fleet.start("manager", "--state", str(fleet.state), log="manager.log")
            else:
                lab[victim].start()
        fleet.until(fleet.answers, "the Manager answers")

    def _pass(self, process):
        """Let a moment pass in which a process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self._random.random() * MOMENT)
