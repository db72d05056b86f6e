"""A fleet with machines of two releases in each cell, for the tests of upgrades."""

from types import SimpleNamespace

from popham import __version__
from popham.testing.ports import free_ports

from .aged import REPOSITORY, Aged, export, facts, form, program, tree
from .conftest import group_of, policy_of

CELLS = {
    "push": "Push",
    "pull": "Pull by heartbeat",
    "visit": "Pull by visit",
    "hold": "Push over the Manager's connection",
}
PLACE = """\
apiVersion: popham/v1
kind: Agent
metadata: {{name: {name}}}
spec: {{address: 127.0.0.1, port: {port}}}
---
"""


def definitions(fleet, text):
    """Return the policy of each machine, saying ``text``, its group, and where it is visited."""
    found = ""
    for one in fleet.aged:
        found += policy_of(f"motd-{one.name}", one.root / "motd", text)
        found += group_of(one.name, fleet.settings[one.name], f"motd-{one.name}")
        found += PLACE.format(name=one.name, port=one.port) if one.port else ""
    return found


def arrive(fleet, text):
    """Publish ``text`` and wait until every machine has it, by the way that its group orders."""
    fleet.apply(definitions(fleet, text))

    def arrived():
        views = {view["name"]: view for view in fleet.client.agents()}
        return all(
            one.has(text) and views[one.name]["sync"] == "in sync" and not views[one.name]["fallback"]
            for one in fleet.aged
        )

    fleet.until(arrived, f"everybody has {text!r}")


def enter(fleet, age, env, more=""):
    """Have one machine of each cell join, by the program of ``env``, with ``more`` in their configurations."""
    with program(fleet, env):
        for cell, preset in CELLS.items():
            machine = Aged(fleet, f"{age}-{cell}")
            fleet.settings[machine.name] = f'{{preset: "{preset}", heartbeat: 2s, spread: off}}'
            machine.port = 0
            machine.config.write_text(machine.config.read_text() + more.format(root=machine.root))
            if cell in {"visit", "hold"}:
                (machine.port,) = free_ports(1)
                text = f'[service]\nport = {machine.port}\nhosts = ["127.0.0.1"]\n'
                machine.config.write_text(machine.config.read_text() + text)
            fleet.apply(group_of(machine.name, fleet.settings[machine.name]))
            machine.enroll(machine.name)
            if machine.port:
                machine.popham("service", "enable")
            fleet.aged.append(machine.start())


def versions(fleet):
    """Return name → version, as the Manager shows them."""
    return {view["name"]: view["version"] for view in fleet.client.agents()}


def found_aged(founding, folder, release, permit=""):
    """Return a fleet whose Manager is of ``release``, with an agent of it and one of this release in each cell.

    ``permit`` stands in the configuration of the new ones.  ``past`` and ``present`` are the environments of both.
    """
    fleet = founding()
    present = fleet.env | {"PYTHONPATH": str(REPOSITORY / "src")}
    past = fleet.env | {"PYTHONPATH": str(export(release, folder))}
    fleet.env, fleet.aged = past, []
    assert fleet.popham("--version").stdout.split()[1] == release
    fleet.found()
    enter(fleet, "old", past)
    enter(fleet, "new", present, permit)
    return SimpleNamespace(fleet=fleet, past=past, present=present, release=release)


def check_served(upgraded):
    """Have a policy reach everybody, and the Manager show of which release each is."""
    fleet = upgraded.fleet
    arrive(fleet, "first")
    expected = {
        one.name: upgraded.release if one.name.startswith("old") else __version__ for one in fleet.aged
    }
    assert versions(fleet) == expected


def check_manager_upgraded(upgraded, before, after):
    """Upgrade the Manager, whose database has the form ``before`` and then ``after``, while all are connected."""
    fleet = upgraded.fleet
    known = facts(fleet)
    assert fleet.end_manager() == 0
    assert form(fleet.state) == before
    fleet.env = upgraded.present
    fleet.start_manager()
    assert form(fleet.state) == after
    assert facts(fleet) == known
    arrive(fleet, "second")
    assert {one.process.poll() for one in fleet.aged} == {None}


def check_old_refuses(upgraded):
    """Have the old program look at the state of this one: it says that it is newer, and changes nothing."""
    fleet = upgraded.fleet
    assert fleet.end_manager() == 0
    before = tree(fleet.state)
    with program(fleet, upgraded.past):
        said = fleet.popham("manager", "--state", str(fleet.state), code=1).stderr
    assert ("(state.newer)" in said, said.count("\n")) == (True, 1)
    assert tree(fleet.state) == before
