"""A stock agent, the OpAMP client of OpenTelemetry Python, under a Manager: both as processes, over TLS."""

import io
import signal

from ruamel.yaml import YAML

from popham.testing.demo import wait_until

from .stock import CONFIG, StockAgent

WITHOUT_CONFIG = 0x2001
"""Capabilities: status and heartbeat, and nothing else."""
TAKES_SETTINGS = 0x3107


def becomes(bridge, uid, sync):
    """Wait for a sync state, and return the agent as it is shown then."""
    assert wait_until(lambda: bridge.agent(uid)["sync"] == sync, sync, required=False), bridge.agent(uid)
    return bridge.agent(uid)


def shut_out(agent):
    """Wait until it heard 401; a first try that took longer than the second it grants is none."""

    def refused():
        return any("401" in event["error"] for event in agent.of("failed"))

    assert wait_until(refused, "401", required=False), agent.events


def read(event, name):
    return YAML(typ="safe", pure=True).load(io.StringIO(event["files"][name]["body"]))


def test_f_o16_a_stock_agent_appears_and_gets_its_groups_otelcol_policy(bridge):
    group = bridge.group("plain")
    token = bridge.demo.popham("token", "create", "--stock", "-g", group, "--accept")
    with StockAgent(bridge, token, attributes='{"service.name": "otelcol", "host.name": "Web-1"}') as agent:
        (config,) = agent.await_("config")
        assert read(config, "col-plain") == CONFIG
        assert config["files"]["col-plain"]["type"] == "text/yaml"
        shown = becomes(bridge, agent.uid, "in sync")
        assert (shown["kind"], shown["name"], shown["group"]) == ("stock", "web-1", "plain")
        assert (shown["presence"], shown["connected"], shown["admission"]) == ("on time", False, "accepted")
        table = bridge.demo.popham("get", "agents").splitlines()
        (line,) = [line for line in table if line.startswith("web-1 ")]
        assert "stock" in line
        assert "in sync" in line
        agent.quiet_after()
        assert len(agent.of("config")) == 1


def test_quirk_python_4_it_is_offered_its_configuration_before_it_ever_said_a_status(bridge):
    token = bridge.token(bridge.group("first"))
    with StockAgent(bridge, token) as agent:
        first = agent.await_("answered")[0]
        assert (first["seq"], first["described"], first["status"]) == (0, True, None)
        assert not first["asked"]
        agent.await_("config")
        offered = next(event for event in agent.of("answered") if event["offered"])
        assert offered["status"] is None


def test_quirk_python_1_and_2_it_is_answered_within_its_second_and_needs_no_header_of_its_own(bridge):
    token = bridge.token(bridge.group("quick"))
    with StockAgent(bridge, token) as agent:

        def ten_in_a_row():
            said = [event["event"] for event in agent.events if event["event"] in {"answered", "failed"}]
            return said[-10:] == ["answered"] * 10

        assert wait_until(ten_in_a_row, "ten in a row", required=False), agent.events


def test_f_o16_a_changed_policy_arrives_and_a_withdrawn_one_too(bridge):
    token = bridge.token(bridge.group("changing"))
    with StockAgent(bridge, token) as agent:
        agent.await_("config")
        becomes(bridge, agent.uid, "in sync")
        bridge.group("changing", {"exporters": {"otlp": {"endpoint": "127.0.0.1:4317"}}})
        second = agent.await_("config", count=2)[1]
        assert read(second, "col-changing") == {"exporters": {"otlp": {"endpoint": "127.0.0.1:4317"}}}
        becomes(bridge, agent.uid, "in sync")
        bridge.group("changing", None)
        third = agent.await_("config", count=3)[2]
        assert third["files"] == {}
        becomes(bridge, agent.uid, "in sync")
        agent.quiet_after()
        assert len(agent.of("config")) == 3


def test_f_o16_what_it_could_not_apply_is_shown_as_failed_with_its_own_words(bridge):
    token = bridge.token(bridge.group("failing"))
    with StockAgent(bridge, token) as agent:
        agent.await_("config")
        becomes(bridge, agent.uid, "in sync")
        agent.order(answer="FAILED", error="unknown exporter 'debgu'")
        bridge.group("failing", {"exporters": {"debgu": None}})
        shown = becomes(bridge, agent.uid, "failed")
        assert "unknown exporter 'debgu'" in shown["reason"]
        agent.quiet_after()
        assert len(agent.of("config")) == 2
        agent.order(answer="APPLIED")
        bridge.group("failing", CONFIG)
        becomes(bridge, agent.uid, "in sync")


def test_f_o16_one_that_takes_no_configuration_is_shown_as_such_and_not_as_pending(bridge):
    token = bridge.token(bridge.group("simple"))
    with StockAgent(bridge, token, capabilities=WITHOUT_CONFIG) as agent:
        agent.await_("answered", count=3)
        shown = bridge.agent(agent.uid)
        assert shown["sync"] == "cannot take it"
        assert not [e for e in agent.of("answered") if e["offered"]]


def test_f_o16_without_accept_it_gets_nothing_until_a_person_accepts_it(bridge):
    token = bridge.token(bridge.group("waiting"), accepts=False)
    with StockAgent(bridge, token) as agent:
        agent.await_("answered", count=3)
        shown = bridge.agent(agent.uid)
        assert (shown["admission"], shown["sync"]) == ("new", "pending")
        assert not [e for e in agent.of("answered") if e["offered"]]
        bridge.demo.popham("accept", "agent", shown["name"])
        agent.await_("config")
        becomes(bridge, agent.uid, "in sync")


def test_f_o16_a_wrong_a_revoked_and_an_expired_token_get_401_and_nothing_appears(bridge):
    group = bridge.group("strangers")
    revoked = bridge.token(group)
    bridge.revoke(revoked)
    expired = bridge.token(group, lifetime=1)
    assert wait_until(lambda: _state(bridge, expired) == "expired", "expiry")
    forged = revoked[:-4] + ("aaaa" if revoked[-4:] != "aaaa" else "bbbb")
    for token in (forged, revoked, expired, "pops_", ""):
        with StockAgent(bridge, token) as agent:
            shut_out(agent)
            assert not agent.of("answered")
    assert bridge.agents(group) == []


def _state(bridge, token):
    with bridge.client as client:
        (found,) = [held for held in client.tokens() if held["id"] == token.split("_")[1]]
    return found["state"]


def test_f_o16_a_token_revoked_while_its_agent_runs_shuts_it_out(bridge):
    token = bridge.token(bridge.group("leaving"))
    with StockAgent(bridge, token) as agent:
        agent.await_("config")
        becomes(bridge, agent.uid, "in sync")
        bridge.revoke(token)
        shut_out(agent)


def test_quirk_python_9_it_says_goodbye_twice_and_neither_makes_an_agent_nor_asks_for_its_state(bridge):
    group = bridge.group("ending")
    token = bridge.token(group)
    with StockAgent(bridge, token) as agent:
        agent.await_("config")
        uid = agent.uid
        becomes(bridge, uid, "in sync")
        goodbyes = agent.goodbye()
        assert [event["event"] for event in goodbyes] == ["answered", "answered"]
        assert not [e for e in goodbyes if e["asked"] or e["offered"] or e["error"]]
        assert [found["uid"] for found in bridge.agents(group)] == [uid]
    token = bridge.token(group, accepts=False)
    with StockAgent(bridge, token, interval=60) as agent:
        agent.await_("answered")
        bridge.demo.popham("refuse", "agent", agent.uid)
        agent.goodbye()
        assert bridge.agent(agent.uid)["admission"] == "refused"


def test_quirk_python_5_the_full_state_with_its_configuration_changes_nothing(bridge):
    token = bridge.token(bridge.group("telling"))
    with StockAgent(bridge, token) as agent:
        agent.await_("config")
        becomes(bridge, agent.uid, "in sync")
        agent.order(state=True)
        (full,) = agent.await_("answered", effective=True)
        assert full["status"]
        assert not full["offered"]
        assert bridge.agent(agent.uid)["sync"] == "in sync"


def test_quirk_python_7_it_may_be_offered_an_address_and_a_heartbeat_that_it_ignores(bridge):
    token = bridge.token(bridge.group("settled"))
    with StockAgent(bridge, token, capabilities=TAKES_SETTINGS) as agent:
        first = agent.await_("answered")[0]
        assert first["settings"] == [bridge.url, 300]
        agent.await_("config")
        becomes(bridge, agent.uid, "in sync")
        agent.quiet_after()
        assert len([e for e in agent.of("answered") if e["settings"]]) == 1


def test_f_o16_quirk_python_3_it_survives_a_restart_of_the_manager(bridge):
    """Its numbers go on while nobody hears them; what waited is said with stale ones, and some twice."""
    token = bridge.token(bridge.group("lasting"))
    with StockAgent(bridge, token) as agent:
        agent.await_("config")
        before = becomes(bridge, agent.uid, "in sync")
        bridge.stop()
        agent.await_("failed", count=3)
        bridge.start()
        back = len(agent.events)
        agent.quiet_after()
        after = bridge.agent(before["uid"])
        assert {key: after[key] for key in ("name", "sync", "kind", "group", "first_seen")} == {
            key: before[key] for key in ("name", "sync", "kind", "group", "first_seen")
        }
        assert len(agent.of("config")) == 1
        asked = [e for e in agent.events[back:] if e["event"] == "answered" and e["asked"]]
        assert len(asked) <= 2


def test_quirk_python_6_an_old_status_after_a_new_offer_ends_in_sync(bridge):
    """After a restart it is asked for its state and offered news at once, and says its old status first."""
    token = bridge.token(bridge.group("crossing"))
    with StockAgent(bridge, token) as agent:
        (old,) = agent.await_("config")
        becomes(bridge, agent.uid, "in sync")
        bridge.stop()
        agent.await_("failed", count=3)
        agent.process.send_signal(signal.SIGSTOP)
        bridge.start()
        bridge.group("crossing", {"exporters": {"otlp": None}})
        with StockAgent(bridge, token) as witness:
            # What another of its group is offered is what this one will be.
            assert wait_until(lambda: [e for e in witness.of("config") if e["hash"] != old["hash"]], "news")
        agent.process.send_signal(signal.SIGCONT)
        becomes(bridge, agent.uid, "in sync")
        agent.quiet_after()
        both = [e for e in agent.of("answered") if e["asked"] and e["offered"]]
        assert both
        assert agent.of("answered", described=True, status=old["hash"])
        assert {event["hash"] for event in agent.of("config")[1:]} == {both[0]["offered"]}
        assert bridge.agent(agent.uid)["sync"] == "in sync"


def test_quirk_python_8_one_that_gave_up_its_first_message_is_asked_for_its_state(bridge):
    """Heartbeats of an agent that nobody knows: it gets a name and its configuration all the same."""
    token = bridge.token(bridge.group("late"))
    bridge.stop()
    attributes = '{"host.name": "late-1"}'
    with StockAgent(bridge, token, retries=0, attributes=attributes) as agent:
        agent.await_("failed", described=True)
        agent.await_("failed", described=False)
        bridge.start()
        agent.await_("config")
        shown = becomes(bridge, agent.uid, "in sync")
        first = agent.of("answered")[0]
        assert (first["described"], first["asked"]) == (False, True)
        assert shown["name"] == "late-1"


def test_quirk_python_11_a_restarted_application_is_a_new_agent_beside_the_old_one(bridge):
    group = bridge.group("reborn")
    token = bridge.token(group)
    for _ in range(2):
        with StockAgent(bridge, token, attributes='{"service.instance.id": "till-7"}') as agent:
            agent.await_("config")
            becomes(bridge, agent.uid, "in sync")
            agent.goodbye()
    assert sorted(found["name"] for found in bridge.agents(group)) == ["till-7", "till-7-2"]
