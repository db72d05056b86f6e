"""One machine in each of the four cells under one Manager, of which operations are ordered by the command line."""

import json
from dataclasses import dataclass
from pathlib import Path

from popham.testing.ports import free_ports

CELLS = {
    "held": "Push",
    "beats": "Pull by heartbeat",
    "till": "Pull by visit",
    "walled": "Push over the Manager's connection",
}
"""Machine → how it and its Manager get in touch; its group is named like it."""
VISITED = ("till", "walled")
HEARTBEAT = {"Pull by heartbeat": "1s", "Pull by visit": "1s"}
"""Of who has to be waited for; links are told at once."""
CANARY = "canary-7f3a9c41"
"""Stands in every place where a machine has a secret of its own."""
PERMITS = """\
[commands]
say = ["/bin/echo", "said by {name}"]
count = ["/bin/sh", "-c", "echo ran >> {ran}; echo counted"]
wait = ["/bin/sh", "-c", "echo ran >> {ran}; while [ ! -e {release} ]; do sleep 0.05; done; echo released"]
many = ["/usr/bin/seq", "20000"]
flood = ["/usr/bin/head", "-c", "1G", "/dev/zero"]
hidden = ["/bin/echo", "--password", "{canary}-argument"]
telling = ["/bin/echo", "password={canary}-printed"]
fail = ["/bin/false"]
[labels]
site = "{name}"
api_key = "{canary}-label"
[operations]
run = ["say", "count", "wait", "many", "flood", "telling", "fail"]
"""


@dataclass
class Ordered:
    """An operation, as the command line tells of it."""

    lab: "Lab"
    name: str

    @property
    def view(self):
        """It, as the Manager shows it."""
        return self.lab.fleet.client.operation(self.name)

    @property
    def targets(self):
        """Its targets by name."""
        return {one["name"]: one for one in self.lab.fleet.client.targets(self.name)}

    @property
    def states(self):
        """The state of each of its targets."""
        return {name: one["state"] for name, one in self.targets.items()}

    def is_over(self):
        """Return whether nothing more will happen."""
        return self.view["state"] == "over"

    def over(self):
        """Wait until it is over, and return its targets."""
        self.lab.fleet.until(self.is_over, f"{self.name} is over")
        return self.targets

    def become(self, state, machine):
        """Wait until its target says ``state``."""
        self.lab.fleet.until(lambda: self.states[machine] == state, f"{self.name} is {state} at {machine}")
        return self


class Lab:
    """The machines by name, each with commands that may be run there."""

    def __init__(self, fleet, cells=tuple(CELLS), text=PERMITS):
        self.fleet = fleet
        self.machines = {}
        for name in cells:
            fleet.group(name, preset=CELLS[name], heartbeat=HEARTBEAT.get(CELLS[name], "1h"))
            self.machines[name] = self.add(name, name, text=text)
        fleet.until(self.is_there, "every machine is reached the way it is to be")

    def add(self, name, group, *, served=None, text=PERMITS, run=True):
        """Return a machine of a group; one that is visited is served from the start."""
        folder = self.fleet.folder
        more = text.format(
            name=name, ran=folder / f"{name}.ran", release=folder / f"{name}.go", canary=CANARY
        )
        served = group in VISITED if served is None else served
        if served:
            more += f"[service]\nport = {free_ports(1)[0]}\nhosts = ['127.0.0.1']\n"
        machine = self.fleet.machine(name, group, toml=more, run=False)
        if served:
            machine.popham("service", "enable")
        return machine.start() if run else machine

    def is_there(self):
        """Return whether each machine holds a link, or is visited, as its cell has it."""
        views = {name: machine.view for name, machine in self.machines.items()}
        dials = all((views[name]["dialer"] == "manager") == (name in VISITED) for name in views)
        links = all(views[name]["connected"] == (name in {"held", "walled"}) for name in views)
        return dials and links and all(view["sync"] == "in sync" for view in views.values())

    def __getitem__(self, name):
        return self.machines[name]

    def op(self, *words, code=0):
        """Order something by ``popham op …``."""
        done = self.fleet.popham("op", *words, "-o", "json", code=code)
        return Ordered(self, json.loads(done.stdout)["name"])

    def order(self, kind, *names, args=None, **more):
        """Order something by the REST API."""
        targets = {"agents": list(names), "groups": [], "selector": "", "all": not names}
        return Ordered(self, self.fleet.client.order(kind, targets, args=args or {}, **more)["name"])

    def ran(self, name):
        """Return how often the counted commands ran there."""
        path = Path(self.fleet.folder / f"{name}.ran")
        return path.read_text().count("ran\n") if path.exists() else 0

    def release(self, name, *, on=True):
        """Let the command that waits there end, or have it wait again."""
        path = self.fleet.folder / f"{name}.go"
        if on:
            path.touch()
        else:
            path.unlink(missing_ok=True)
