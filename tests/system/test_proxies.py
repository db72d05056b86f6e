"""A Manager, a Proxy Manager and agents that know no other way, as real processes."""

import json

import pytest

from .proxies import Proxy


@pytest.fixture(scope="module")
def fleet(founding):
    return founding().found()


@pytest.fixture(scope="module")
def dock(fleet):
    """A Proxy Manager that holds a link to its Manager, and speaks for the groups ``quay`` and ``pier``."""
    fleet.group("quay")
    fleet.group("pier")
    fleet.group("sheds")
    return Proxy(fleet, "dock", ["quay", "pier"], group="sheds").join()


def test_f_t2_an_agent_below_a_proxy_gets_its_policies_and_the_manager_sees_by_which_way(fleet, dock):
    quay = dock.machine("quay-1", "quay", run=False)
    fleet.publish("quay", quay, "welcome")
    quay.start()
    fleet.until(lambda: quay.has("welcome"), "the policy is applied")
    fleet.until(quay.settled, "the Manager sees it in sync")
    assert quay.view["via"] == ["dock"]
    line = next(
        one for one in fleet.popham("get", "agents", "-o", "wide").stdout.splitlines() if "quay-1" in one
    )
    assert "in sync" in line
    assert "dock" in line


def test_f_t2_a_change_reaches_an_agent_below_a_proxy_over_its_held_link(fleet, dock):
    quay = dock.machine("quay-2", "quay", run=False)
    fleet.publish("quay", quay, "first")
    quay.start()
    fleet.until(lambda: quay.has("first") and quay.settled(), "it has the first")
    fleet.publish("quay", quay, "second")
    fleet.until(lambda: quay.has("second") and quay.settled(), "it has the second")


def test_f_t2_a_proxy_says_on_its_machine_what_is_above_and_below_it(fleet, dock):
    pier = dock.machine("pier-1", "pier")
    fleet.until(pier.settled, "it is in sync")
    found = json.loads(dock.popham("status", "-o", "json").stdout)
    assert found["proxy"]["agents"]["on time"] >= 1
    assert found["proxy"]["links"] >= 1
    said = dock.popham("status").stdout
    assert "running since" in said
    assert f"wss://127.0.0.1:{dock.port}" in said


def test_f_t2_a_proxy_that_starts_again_serves_its_agents(fleet, dock):
    pier = dock.machine("pier-2", "pier")
    fleet.until(pier.settled, "it is in sync")
    assert dock.end() == 0
    dock.start()
    fleet.publish("pier", pier, "after a start")
    fleet.until(lambda: pier.has("after a start") and pier.settled(), "it has what came later")
