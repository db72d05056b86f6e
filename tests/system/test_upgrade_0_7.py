"""Ends of 0.7.0 and of this release in every cell; a fleet of 0.7.0 comes up, and agents move behind a Proxy Manager."""

import pytest

from popham.testing.ports import free_ports

from .conftest import group_of
from .mixed import arrive, check_manager_upgraded, check_old_refuses, check_served, found_aged
from .proxies import ADDRESS, Proxy

RELEASE = "0.7.0"


@pytest.fixture(scope="module")
def upgraded(founding, tmp_path_factory):
    """A Manager of 0.7.0, and in each cell an agent of 0.7.0 and one of this release."""
    return found_aged(founding, tmp_path_factory.mktemp("earlier"), RELEASE)


def test_rel_15_agents_of_both_ages_are_served_by_0_7_0_in_every_cell(upgraded):
    check_served(upgraded)


def test_rel_15_its_manager_is_upgraded_while_they_are_connected_and_no_serial_rises(upgraded):
    check_manager_upgraded(upgraded, "0006", "0007")


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
    check_old_refuses(upgraded)
