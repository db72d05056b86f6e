"""Ends of 0.6.0 and of this release in every cell, and a fleet of 0.6.0 comes up to this release: then data comes."""

import pytest

from .mixed import arrive, check_manager_upgraded, check_old_refuses, check_served, found_aged

pytestmark = pytest.mark.soak

RELEASE = "0.6.0"
LINES = 20
PERMIT = '[collect]\nlogs = ["{root}"]\n'
"""An agent of before does not know the word."""
WATCH = """\
apiVersion: popham/v1
kind: Policy
metadata: {{name: watch-{name}}}
spec:
  type: collect
  summary: {{interval: 1s}}
  logs: [{{name: deck, paths: ["{root}/deck.log"], from: beginning}}]
---
apiVersion: popham/v1
kind: Group
metadata: {{name: {name}}}
spec:
  inheritance: {{communication: false, policies: {{files: false, collect: false}}}}
  policies: {{collect: watch-{name}}}
---
"""


@pytest.fixture(scope="module")
def upgraded(founding, tmp_path_factory):
    """A Manager of 0.6.0, and in each cell an agent of 0.6.0 and one of this release."""
    return found_aged(founding, tmp_path_factory.mktemp("earlier"), RELEASE, PERMIT)


def test_rel_15_agents_of_both_ages_are_served_by_0_6_0_in_every_cell(upgraded):
    check_served(upgraded)


def test_rel_15_its_manager_is_upgraded_while_they_are_connected_and_no_serial_rises(upgraded):
    check_manager_upgraded(upgraded, "0005", "0007")
    upgraded.fleet.popham("op", "check-in", "--all", "-w", "--timeout", "50s")


def test_rel_15_data_comes_of_the_new_ones_and_the_old_ones_go_on(upgraded):
    fleet = upgraded.fleet
    fleet.apply("".join(WATCH.format(name=one.name, root=one.root) for one in fleet.aged))
    for one in fleet.aged:
        (one.root / "deck.log").write_text("".join(f"{number} bells\n" for number in range(LINES)))
    came(fleet, {one.name for one in fleet.aged if one.name.startswith("new")})
    assert {one.process.poll() for one in fleet.aged} == {None}


def test_rel_15_an_agent_is_upgraded_in_place_and_sends_what_it_collects(upgraded):
    fleet = upgraded.fleet
    old = [one for one in fleet.aged if one.name.startswith("old")]
    for one in old:
        assert one.end() == 0
        one.config.write_text(one.config.read_text() + PERMIT.format(root=one.root))
        one.env = upgraded.present
        one.start()
    came(fleet, {one.name for one in fleet.aged})
    arrive(fleet, "third")


def came(fleet, names):
    """Wait until the lines of these machines are stored, and their key metrics."""

    def stored():
        rows = {row["name"]: row["stored"] for row in fleet.client.summaries()}
        return {name for name, row in rows.items() if row.get("summary") and row.get("logs") == LINES}

    fleet.until(lambda: stored() == names, f"data of {len(names)} machines came")


def test_rel_15_the_program_of_0_6_0_refuses_newer_state_and_changes_nothing(upgraded):
    check_old_refuses(upgraded)
