"""A fleet of 0.3.0 comes up to this release: its state, its agents, and a rollout in which both ages take part."""

from types import SimpleNamespace

import pytest

from popham import __version__

from .aged import REPOSITORY, Aged, export, facts, form, program, publish, tree
from .conftest import group_of, policy_of

pytestmark = pytest.mark.soak

RELEASE = "0.3.0"
PUSH = {"preset": "Push", "heartbeat": "1h"}


@pytest.fixture(scope="module")
def upgraded(founding, tmp_path_factory):
    """A fleet of 0.3.0 with two machines; its Manager and one of them are of this release since a moment."""
    fleet = founding()
    present = fleet.env | {"PYTHONPATH": str(REPOSITORY / "src")}
    sources = export(RELEASE, tmp_path_factory.mktemp("earlier"))
    past = fleet.env = fleet.env | {"PYTHONPATH": str(sources)}
    assert fleet.popham("--version").stdout.split()[1] == RELEASE
    fleet.found()
    fleet.aged = [Aged(fleet, name) for name in ("old", "new")]
    for machine in fleet.aged:
        fleet.group(machine.name, **PUSH)
        machine.enroll(machine.name)
        machine.start()
    publish(fleet, "first")
    fleet.until(lambda: all(one.has_all("first") for one in fleet.aged), "the fleet has its orders")
    before = facts(fleet)
    old, new = fleet.aged
    new.end()
    assert fleet.end_manager() == 0
    assert form(fleet.state) == "0002"
    fleet.env = present
    fleet.start_manager()
    return SimpleNamespace(fleet=fleet, before=before, past=past, old=old, new=new)


def test_state_of_0_3_0_is_migrated_and_no_serial_rises(upgraded):
    assert form(upgraded.fleet.state) > "0002"
    assert facts(upgraded.fleet) == upgraded.before


def test_an_agent_of_0_3_0_goes_on_and_this_one_takes_over_its_state(upgraded):
    fleet = upgraded.fleet
    upgraded.new.renew()
    fleet.until(lambda: upgraded.new.view["version"] == __version__, "the new agent reports")
    assert upgraded.old.view["version"] == RELEASE
    publish(fleet, "second")
    fleet.until(lambda: all(one.has_all("second") for one in fleet.aged), "both follow")
    (upgraded.new.root / "motd").write_text("mine")
    fleet.until(lambda: upgraded.new.has("second"), "what drifted is put back by the new agent")


def test_f_y17_an_agent_of_0_3_0_stays_with_what_held_until_a_rollout_is_promoted(upgraded):
    fleet = upgraded.fleet
    text = "".join(
        policy_of(f"motd-{one.name}", one.root / "motd", "third")
        + group_of(one.name, fleet.settings[one.name], f"motd-{one.name}")
        for one in fleet.aged
    )
    terms = {"waves": [0.5], "soak": 3600.0, "halt_on": 0.05}
    done = fleet.client.apply([("third.yaml", text)], rollout=terms)
    fleet.until(lambda: upgraded.new.has_all("third"), "the new agent is the first")
    fleet.until(upgraded.old.settled, "the old one took the same kind of bundle")
    assert upgraded.old.has("second")
    assert "held back by rollout" in fleet.popham("why", "agent", "old").stdout
    fleet.popham("rollout", "promote", done["rollout"], "--yes")
    fleet.until(lambda: upgraded.old.has_all("third"), "promoted, it reaches the old one")


def test_0_3_0_refuses_newer_state_and_changes_nothing(upgraded):
    fleet = upgraded.fleet
    assert fleet.end_manager() == 0
    before = tree(fleet.state)
    with program(fleet, upgraded.past):
        said = fleet.popham("manager", "--state", str(fleet.state), code=1).stderr
    assert "(state.newer)" in said
    assert tree(fleet.state) == before
