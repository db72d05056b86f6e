"""A stock agent on Node.js, Elastic's OpAMP client, under a Manager: both as processes, over TLS."""

import uuid

import pytest

from popham.testing.demo import wait_until

from .stock import CONFIG
from .stock_node import NodeAgent, install

STATUS_ONLY = "0x2001"
OFFERS_CONFIG = 2
LARGE = {"exporters": {f"otlp/{number}": {"endpoint": f"127.0.0.1:{number}"} for number in range(4000)}}
"""A configuration that is compressed for whoever asks for that."""
SHORTEST = 30
"""Seconds that this client waits at least after a failure; a tenth less by its jitter."""


@pytest.fixture(scope="module")
def modules():
    return install()


@pytest.fixture
def start(modules, bridge):
    """Start an agent with a token of a group."""

    def start(group, token=None, **options):
        return NodeAgent(bridge, token or bridge.token(bridge.group(group)), modules, **options)

    return start


def becomes(bridge, uid, sync):
    assert wait_until(lambda: bridge.agent(uid)["sync"] == sync, sync, required=False), bridge.agent(uid)
    return bridge.agent(uid)


def test_f_o16_a_node_agent_appears_gets_its_configuration_and_says_that_it_applied_it(bridge, start):
    with start("node-plain", attributes='{"service.name": "shop", "host.name": "Shop-1"}') as agent:
        (config,) = agent.await_("config")
        assert config["files"]["col-node-plain"]["type"] == "text/yaml"
        shown = becomes(bridge, agent.uid, "in sync")
        assert (shown["kind"], shown["name"], shown["group"]) == ("stock", "shop-1", "node-plain")
        assert (shown["presence"], shown["connected"], shown["admission"]) == ("on time", False, "accepted")
        assert "shop-1" in bridge.demo.popham("get", "agents")
        agent.quiet_after()
        assert len(agent.of("config")) == 1


def test_quirk_node_9_an_empty_status_is_no_status_and_a_configuration_is_offered(start):
    with start("node-first") as agent:
        first = agent.await_("answered")[0]
        assert (first["seq"], first["described"], first["status"]) == (1, True, "")
        agent.await_("config")
        # No status of its own came before the offer, neither with the first message nor by itself.
        offered = next(event for event in agent.of("answered") if event["offered"])
        assert offered["status"] in {"", None}
        agent.quiet_after()
        assert not [event for event in agent.of("answered") if event["asked"]]


def test_quirk_node_1_and_2_a_large_configuration_arrives_whole_and_a_query_is_not_needed(bridge, start):
    """It neither asks for compression nor undoes it, and drops the query of its address."""
    token = bridge.token(bridge.group("node-large", None))
    bridge.group("node-large", LARGE)
    with start("", token, url=f"{bridge.url}?tenant=none") as agent:
        (config,) = agent.await_("config")
        assert "otlp/3999" in config["files"]["col-node-large"]["body"]
        becomes(bridge, agent.uid, "in sync")
        assert agent.of("failed") == []


def test_quirk_node_4_6_and_7_every_answer_names_it_offers_no_settings_and_carries_capabilities(
    bridge, start
):
    with start("node-steady") as agent, start("node-other") as other:
        for one in (agent, other):
            one.await_("answered", count=10)
            for event in one.of("answered"):
                assert event["uid"] == event["own"]
                assert event["capabilities"] & OFFERS_CONFIG
                assert (event["settings"], event["identified"]) == (None, False)
        assert agent.uid != other.uid
        assert bridge.agent(agent.uid)["presence"] == "on time"


def test_f_o16_a_changed_policy_reaches_a_node_agent_and_a_withdrawn_one_too(bridge, start):
    with start("node-changing") as agent:
        agent.await_("config")
        becomes(bridge, agent.uid, "in sync")
        bridge.group("node-changing", {"exporters": {"otlp": {"endpoint": "127.0.0.1:4317"}}})
        assert "4317" in agent.await_("config", count=2)[1]["files"]["col-node-changing"]["body"]
        becomes(bridge, agent.uid, "in sync")
        bridge.group("node-changing", None)
        assert agent.await_("config", count=3)[2]["files"] == {}
        becomes(bridge, agent.uid, "in sync")


def test_f_o16_what_a_node_agent_could_not_apply_is_shown_as_failed_with_its_own_words(bridge, start):
    with start("node-failing") as agent:
        agent.await_("config")
        becomes(bridge, agent.uid, "in sync")
        agent.order(answer="FAILED", error="unknown exporter 'debgu'")
        bridge.group("node-failing", {"exporters": {"debgu": None}})
        assert "unknown exporter 'debgu'" in becomes(bridge, agent.uid, "failed")["reason"]
        agent.quiet_after()
        assert len(agent.of("config")) == 2
        agent.order(answer="APPLIED")
        bridge.group("node-failing", CONFIG)
        becomes(bridge, agent.uid, "in sync")


def test_f_o16_a_node_agent_that_takes_no_configuration_is_shown_as_such(bridge, start):
    with start("node-simple", capabilities=STATUS_ONLY) as agent:
        agent.await_("answered", count=3)
        assert bridge.agent(agent.uid)["sync"] == "cannot take it"
        assert not [event for event in agent.of("answered") if event["offered"]]


def test_quirk_node_8_it_ends_without_goodbye_and_stays_in_the_table(bridge, start):
    with start("node-ending") as agent:
        agent.await_("config")
        becomes(bridge, agent.uid, "in sync")
        assert agent.goodbye() == []
        shown = bridge.agent(agent.uid)
        assert (shown["presence"], shown["sync"]) == ("on time", "in sync")


def test_f_o16_a_node_agent_survives_a_restart_of_the_manager(bridge, start):
    with start("node-lasting") as agent:
        agent.await_("config")
        before = becomes(bridge, agent.uid, "in sync")
        bridge.stop()
        agent.goes_on()
        waits = [event["seconds"] for event in agent.of("waits")]
        assert all(seconds >= 0.9 * SHORTEST for seconds in waits)
        bridge.start()
        back = len(agent.events)
        agent.quiet_after()
        after = bridge.agent(before["uid"])
        same = ("name", "sync", "kind", "group", "first_seen")
        assert {key: after[key] for key in same} == {key: before[key] for key in same}
        assert len(agent.of("config")) == 1
        # Numbers went on while nobody heard them; one full state heals that.
        asked = [e for e in agent.events[back:] if e["event"] == "answered" and e["asked"]]
        assert len(asked) <= 1


def test_quirk_node_3_a_bad_request_never_wedges_it(bridge, start):
    """A uid of another group's agent: refused with an error that names the agent, each time it tries."""
    mine = str(uuid.uuid4())
    with start("node-owner", uid=mine) as owner:
        owner.await_("config")
        with start("node-thief", uid=mine) as agent:
            for failed in agent.goes_on(3):
                assert failed["error"].startswith("ServerErrorResponse BadRequest: ")
            assert not agent.of("answered")
        owner.quiet_after()
        assert becomes(bridge, mine, "in sync")["group"] == "node-owner"


def test_f_o16_quirk_node_2_a_401_never_wedges_it(bridge, start):
    token = bridge.token(bridge.group("node-leaving"))
    with start("", token) as agent:
        agent.await_("config")
        becomes(bridge, agent.uid, "in sync")
        bridge.revoke(token)
        for failed in agent.goes_on():
            assert "statusCode=401" in failed["error"]


def test_f_o16_quirk_node_2_a_403_never_wedges_it_and_it_comes_back_once_accepted(bridge, start):
    token = bridge.token(bridge.group("node-judged"), accepts=False)
    with start("", token) as agent:
        agent.await_("answered", count=2)
        bridge.demo.popham("refuse", "agent", agent.uid)
        for failed in agent.goes_on():
            assert "statusCode=403" in failed["error"]
        bridge.demo.popham("accept", "agent", agent.uid)
        agent.await_("config")
        becomes(bridge, agent.uid, "in sync")


def test_ops_24_quirk_node_5_a_503_tells_it_how_long_to_stay_away_and_it_comes_back(modules, busy):
    """A Manager that admits one round in two seconds, and an agent that beats ten times as often."""
    token = busy.token(busy.group("node-storm"))
    with NodeAgent(busy, token, modules) as agent:
        failed = agent.goes_on()
        assert {event["error"] for event in failed} == {"OpAMP server HTTP 503"}
        # Without a number it can read it would stay away for five minutes, or wait as for any error.
        assert all(SHORTEST <= event["away"] <= SHORTEST + 2 for event in failed)
        agent.await_("config")
        agent.goes_on(len(agent.of("failed")) + 1)
