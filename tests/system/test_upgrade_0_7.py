"""Ends of 0.7.0 and of this release in every cell; a fleet of 0.7.0 comes up, and agents move behind a Proxy Manager."""

from types import SimpleNamespace

import pytest

from popham import __version__
from popham.testing.ports import free_ports

from .aged import REPOSITORY, export, facts, form, program, tree
from .conftest import group_of
from .mixed import arrive, enter, versions
from .proxies import ADDRESS, Proxy

RELEASE = "0.7.0"


@pytest.fixture(scope="module")
def upgraded(founding, tmp_path_factory):
    """A Manager of 0.7.0, and in each cell an agent of 0.7.0 and one of this release."""
    fleet = founding()
    present = fleet.env | {"PYTHONPATH": str(REPOSITORY / "src")}
    past = fleet.env | {"PYTHONPATH": str(export(RELEASE, tmp_path_factory.mktemp("earlier")))}
    fleet.env, fleet.aged = past, []
    assert fleet.popham("--version").stdout.split()[1] == RELEASE
    fleet.found()
    for age, env in (("old", past), ("new", present)):
        enter(fleet, age, env)
    return SimpleNamespace(fleet=fleet, past=past, present=present)


def test_rel_15_agents_of_both_ages_are_served_by_0_7_0_in_every_cell(upgraded):
    fleet = upgraded.fleet
    arrive(fleet, "first")
    expected = {one.name: RELEASE if one.name.startswith("old") else __version__ for one in fleet.aged}
    assert versions(fleet) == expected


def test_rel_15_its_manager_is_upgraded_while_they_are_connected_and_no_serial_rises(upgraded):
    fleet = upgraded.fleet
    before = facts(fleet)
    assert fleet.end_manager() == 0
    assert form(fleet.state) == "0006"
    fleet.env = upgraded.present
    fleet.start_manager()
    assert form(fleet.state) == "0007"
    assert facts(fleet) == before
    arrive(fleet, "second")
    assert {one.process.poll() for one in fleet.aged} == {None}


def test_f_l9_an_old_agent_below_a_proxy_that_is_visited_works_and_cannot_be_dialled_by_it(upgraded):
    fleet = upgraded.fleet
    pushed = {one.name: one for one in fleet.aged if one.name.endswith(("-push", "-pull"))}
    fleet.group("docks", preset="Pull by visit", heartbeat="1s")
    service = f'[service]\nport = {free_ports(1)[0]}\nhosts = ["{ADDRESS}"]\n'
    dock = Proxy(fleet, "dock", list(pushed), group="docks", toml=service).join()
    dock.popham("service", "enable", "--now")
    fleet.until(lambda: dock.view["dialer"] == "manager" and not dock.view["fallback"], "it is visited")
    for name in pushed:
        settings = fleet.settings[name].rstrip("}") + f", servers: ['{dock.url}']}}"
        fleet.settings[name] = settings
        fleet.apply(group_of(name, settings, f"motd-{name}"))
    fleet.until(lambda: all(one.view["via"] == ["dock"] for one in pushed.values()), "they are behind it")
    arrive(fleet, "third")
    assert all(one.view["via"] == ["dock"] for one in pushed.values())
    assert {one.process.poll() for one in fleet.aged} == {None}
    refused = fleet.popham("dial", "old-push", "--by", "manager", code=None)
    assert "conflict.generation" in refused.stderr
    assert "Proxy Manager" in refused.stderr
    assert dock.end() == 0


def test_rel_15_the_program_of_0_7_0_refuses_newer_state_and_changes_nothing(upgraded):
    fleet = upgraded.fleet
    assert fleet.end_manager() == 0
    before = tree(fleet.state)
    with program(fleet, upgraded.past):
        said = fleet.popham("manager", "--state", str(fleet.state), code=1).stderr
    assert ("(state.newer)" in said, said.count("\n")) == (True, 1)
    assert tree(fleet.state) == before
