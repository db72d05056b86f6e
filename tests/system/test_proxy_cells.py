"""A Proxy Manager in each of the four cells above it; the agents below it are in touch with it all the same."""

import pytest

from popham.model.cell import PRESETS, Dialer
from popham.testing.ports import free_ports

from .proxies import ADDRESS, Proxy

pytestmark = pytest.mark.soak
HEARTBEAT = "1s"


@pytest.fixture(scope="module")
def fleet(founding):
    return founding().found()


def reached(proxy, cell):
    """Return whether the Manager knows it in this cell, and nothing hinders."""
    view = proxy.view
    return (view["mode"], view["dialer"], view["fallback"]) == (*map(str, cell), "")


def enabled(proxy):
    """Return a Proxy Manager whose service starts with it."""
    proxy.popham("service", "enable", "--now")
    return proxy


@pytest.mark.parametrize("cell", PRESETS, ids="-".join)
def test_f_t2_an_agent_below_a_proxy_of_each_cell_gets_its_policies_and_is_seen(fleet, cell):
    name = "-".join(cell)
    below = f"below-{name}"
    fleet.group(name, preset=PRESETS[cell], heartbeat=HEARTBEAT)
    fleet.group(below)
    port = free_ports(1)[0]
    toml = f'[service]\nport = {port}\nhosts = ["{ADDRESS}"]\n'
    proxy = Proxy(fleet, f"proxy-{name}", [below], group=name, toml=toml).join()
    if cell[1] is Dialer.MANAGER:
        enabled(proxy)
    fleet.until(lambda: reached(proxy, cell), "it is in its cell")
    agent = proxy.machine(f"agent-{name}", below, run=False)
    fleet.publish(below, agent, "one")
    agent.start()
    fleet.until(lambda: agent.has("one") and agent.settled(), "it has what it should have")
    fleet.publish(below, agent, "two")
    fleet.until(lambda: agent.has("two") and agent.settled(), "a change arrives")
    assert agent.view["via"] == [proxy.name]
    assert reached(proxy, cell)
