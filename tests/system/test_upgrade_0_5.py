"""Ends of 0.5.0 and of this release in every cell, each as Manager and as agent; and a fleet of 0.5.0 comes up to this release."""

import pytest

from popham import __version__

from .mixed import arrive, check_manager_upgraded, check_old_refuses, check_served, found_aged, versions

pytestmark = pytest.mark.soak

RELEASE = "0.5.0"


@pytest.fixture(scope="module")
def upgraded(founding, tmp_path_factory):
    """A Manager of 0.5.0, and in each cell an agent of 0.5.0 and one of this release."""
    return found_aged(founding, tmp_path_factory.mktemp("earlier"), RELEASE)


def test_f_l9_agents_of_both_ages_are_served_by_0_5_0_in_every_cell(upgraded):
    check_served(upgraded)


def test_f_l9_its_manager_is_upgraded_while_they_are_connected_and_no_serial_rises(upgraded):
    check_manager_upgraded(upgraded, "0004", "0007")


def test_f_l9_an_operation_reaches_the_new_ones_and_the_old_ones_are_named_with_the_remedy(upgraded):
    fleet = upgraded.fleet
    done = fleet.popham("op", "check-in", "--all", "-w", "--timeout", "50s", code=1)
    found = {one["name"]: one for one in fleet.client.targets("op1")}
    assert {name: one["state"] for name, one in found.items()} == {
        one.name: "failed" if one.name.startswith("old") else "succeeded" for one in fleet.aged
    }, done.stdout
    for one in found.values():
        if one["state"] == "failed":
            assert (one["code"], "pgrade the agent" in f"{one['text']} {one['hint']}") == (
                "operation.generation",
                True,
            )


def test_f_y9_a_send_follows_the_old_ones_too(upgraded):
    fleet = upgraded.fleet
    fleet.popham("send", "--all", "-w", "--timeout", "50s")


def test_rel_15_an_agent_is_upgraded_in_place_and_takes_operations(upgraded):
    fleet = upgraded.fleet
    old = [one for one in fleet.aged if one.name in {"old-pull", "old-hold"}]
    for one in old:
        assert one.end() == 0
        one.env = upgraded.present
        one.start()
    fleet.until(lambda: {versions(fleet)[one.name] for one in old} == {__version__}, "they report")
    fleet.popham("op", "check-in", *(one.name for one in old), "-w", "--timeout", "50s")
    arrive(fleet, "third")


def test_rel_15_the_program_of_0_5_0_refuses_newer_state_and_changes_nothing(upgraded):
    check_old_refuses(upgraded)
