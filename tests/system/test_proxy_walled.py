"""Agents that dial nobody, behind a Proxy Manager that visits them: born through it, and kept by it."""

import shutil

import pytest

from popham.testing.ports import free_ports

from .proxies import ADDRESS, Proxy

PLACE = """\
apiVersion: popham/v1
kind: Agent
metadata: {{name: {name}}}
spec: {{address: 127.0.0.1, port: {port}, proxy: {proxy}}}
"""


@pytest.fixture(scope="module")
def fleet(founding):
    fleet = founding().found()
    fleet.group("cellar", preset="Pull by visit", heartbeat="1s")
    fleet.group("docks", preset="Pull by visit", heartbeat="2s")
    return fleet


def waiting(fleet, name):
    """Return a machine that dials nobody and waits to be visited, and its port."""
    (port,) = free_ports(1)
    machine = fleet.unjoined(name)
    text = f'[service]\nhosts = ["{ADDRESS}"]\nport = {port}\n'
    machine.config.write_text(machine.config.read_text() + text)
    machine.popham("enroll", "--listen", fleet.join("cellar"))
    machine.start()
    fleet.until(lambda: machine.status.get("service", {}).get("address"), "it listens")
    return machine, port


def visits(proxy):
    """Return what a proxy says of its visits."""
    return proxy.status["proxy"]["visits"]


@pytest.fixture(scope="module")
def dock(fleet):
    """A proxy that holds a link, and speaks for the group ``cellar``."""
    return Proxy(fleet, "dock", ["cellar"]).join()


@pytest.fixture(scope="module")
def walled(fleet, dock):
    machine, port = waiting(fleet, "walled")
    fleet.publish("cellar", machine, "one")
    fleet.apply(PLACE.format(name="walled", port=port, proxy="dock"))
    fleet.until(lambda: machine.has("one"), "it is born through the proxy, and has its policy")
    return machine


def test_f_l12_who_dials_nobody_is_born_and_kept_through_the_proxy_that_its_definition_names(fleet, walled):
    fleet.until(walled.settled, "the Manager knows")
    view = walled.view
    assert (view["via"], view["dialer"], view["admission"]) == (["dock"], "manager", "accepted")
    fleet.publish("cellar", walled, "two")
    fleet.until(lambda: walled.has("two") and walled.settled(), "a change arrives")


def test_f_t2_a_place_that_was_removed_while_the_proxy_was_away_is_forgotten(fleet, dock, walled):
    machine, port = waiting(fleet, "brief")
    fleet.apply(PLACE.format(name="brief", port=port, proxy="dock"))
    fleet.until(lambda: visits(dock)["places"] == 2, "the proxy knows of both")
    fleet.until(lambda: machine.status.get("admission") == "accepted", "it is born")
    assert dock.end() == 0
    fleet.popham("delete", "agent-definition", "brief", "--yes")
    dock.start()
    fleet.until(lambda: dock.relays() and visits(dock)["places"] == 1, "only one is left")
    machine.end()
    fleet.publish("cellar", walled, "three")
    fleet.until(lambda: walled.has("three") and walled.settled(), "the other is visited as before")


@pytest.mark.soak
def test_f_t2_a_visited_proxy_that_lost_what_it_knew_is_told_of_who_is_at_its_places(fleet):
    (port,) = free_ports(1)
    toml = f'[service]\nport = {port}\nhosts = ["{ADDRESS}"]\n'
    pier = Proxy(fleet, "pier", ["cellar"], group="docks", toml=toml).join()
    pier.popham("service", "enable", "--now")
    fleet.until(lambda: pier.view["dialer"] == "manager" and not pier.view["fallback"], "pier is visited")
    machine, at = waiting(fleet, "deep")
    fleet.apply(PLACE.format(name="deep", port=at, proxy="pier"))
    fleet.until(lambda: machine.status.get("admission") == "accepted", "it is born")
    fleet.until(lambda: machine.view["via"] == ["pier"], "the Manager knows where it is")
    assert pier.end() == 0
    shutil.rmtree(pier.state / "relay")
    pier.start()
    fleet.until(lambda: pier.status.get("proxy", {}).get("agents", {}).get("on time"), "it visits again")
    fleet.publish("cellar", machine, "four")
    fleet.until(lambda: machine.has("four") and machine.settled(), "and brings what is new")
    assert machine.view["via"] == ["pier"]
