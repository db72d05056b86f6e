"""Stock OpAMP agents behind a Proxy Manager: their policy, their own telemetry, and what the Manager says of them."""

import json
from types import SimpleNamespace

import pytest
from websockets.exceptions import InvalidStatus

from .proxies import Proxy
from .stock import CONFIG, GROUP
from .stock_link import LinkAgent


@pytest.fixture(scope="module")
def dock(fleet):
    fleet.group("gates")
    fleet.group("docks", heartbeat="1s")
    return Proxy(fleet, "dock", ["gates"], group="docks").join()


def publish(fleet, config):
    """Give the group an otelcol policy."""
    fleet.apply(GROUP.format(name="gates", config=json.dumps(config), policy="col-gates"))


@pytest.fixture
def gate(fleet, dock):
    """A stock agent that knows the proxy, and nothing else."""
    publish(fleet, CONFIG)
    made = fleet.client.create_token(kind="stock", group="gates", accepts=True, lifetime=None)
    way = SimpleNamespace(url=f"{dock.url}/v1/opamp", ca=fleet.state / "keys" / "ca.pem")
    with LinkAgent(way, made["secret"], "gate") as agent:
        yield agent


def admitted(agent):
    """Open the link and say everything, once the proxy knows the token."""
    try:
        agent.start()
    except InvalidStatus as error:
        if error.response.status_code != 503:
            raise
        return False
    return True


def test_f_t2_f_o16_a_stock_agent_behind_a_proxy_has_its_policy_and_is_vouched_for(fleet, dock, gate):
    fleet.until(lambda: admitted(gate), "the proxy knows its token")
    fleet.until(lambda: gate.configs, "it has its policy")
    assert "col-gates" in gate.configs[0].config.config_map
    shown = {"kind": "stock", "sync": "in sync", "connected": True, "via": ["dock"], "group": "gates"}
    fleet.until(lambda: shown.items() <= fleet.client.agent(gate.uid).items(), "the Manager sees it so")
    told = fleet.popham("describe", "agent", gate.uid).stdout
    assert "vouched" in told
    assert "dock" in told
    publish(fleet, {"exporters": {"otlp": {"endpoint": "127.0.0.1:4317"}}})
    fleet.until(lambda: len(gate.configs) > 1, "news come over its link")
    # It is offered where it is, and may send its own telemetry there.
    gate.quiet()
    offer = next(one.connection_settings for one in gate.heard if one.HasField("connection_settings"))
    assert offer.opamp.destination_endpoint == f"{dock.url.replace('https', 'wss')}/v1/opamp"
    told = offer.own_metrics, offer.own_logs
    assert [one.destination_endpoint for one in told] == [f"{dock.url}/v1/metrics", f"{dock.url}/v1/logs"]
    assert [gate.export(one) for one in told] == [200, 200]
    assert gate.errors == []
    assert gate.leave() == 1000
    fleet.until(lambda: not fleet.client.agent(gate.uid)["connected"], "the Manager sees that it left")
