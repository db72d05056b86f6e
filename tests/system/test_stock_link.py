"""A stock agent on a held link, as opamp-go makes them, under a Manager as a process, over TLS."""

from websockets.exceptions import InvalidStatus

from popham.opamp.wire import REPORT_FULL_STATE
from popham.testing.demo import wait_until

from .stock_link import UNAVAILABLE, link_agent

OTHER = {"exporters": {"otlp": {"endpoint": "127.0.0.1:4317"}}}


def shown(bridge, agent, **wanted):
    """Wait until the agent is shown so."""

    def holds():
        view = bridge.agent(agent.uid)
        return all(view[key] == value for key, value in wanted.items())

    assert wait_until(holds, str(wanted), required=False), bridge.agent(agent.uid)


def test_f_o16_a_held_stock_agent_is_connected_and_gets_news_at_once(bridge):
    with link_agent(bridge, "link-held", "gate-1") as agent:
        agent.start()
        shown(bridge, agent, name="gate-1", kind="stock", connected=True, sync="in sync", presence="on time")
        assert "col-link-held" in agent.configs[0].config.config_map
        agent.quiet()
        # Nothing is said meanwhile: the Manager speaks by itself.
        bridge.group("link-held", OTHER)
        assert wait_until(lambda: len(agent.configs) == 2, "news", required=False)
        assert b"4317" in agent.configs[1].config.config_map["col-link-held"].body
        shown(bridge, agent, sync="in sync")
        assert not agent.quiet()
        assert agent.errors == []


def test_quirk_go_6_it_is_offered_the_address_it_uses_and_a_heartbeat_once(bridge):
    with link_agent(bridge, "link-settled", "gate-2") as agent:
        agent.start()
        shown(bridge, agent, sync="in sync")
        agent.quiet()
        offers = [m.connection_settings for m in agent.heard if m.HasField("connection_settings")]
        assert {
            (offer.opamp.destination_endpoint, offer.opamp.heartbeat_interval_seconds) for offer in offers
        } == {(bridge.url.replace("https://", "wss://"), 300)}
        assert len({offer.hash for offer in offers}) == 1


def test_f_d9_it_is_told_where_its_own_telemetry_goes_and_is_let_in_there(bridge):
    with link_agent(bridge, "link-telling", "gate-10") as agent:
        agent.start()
        agent.quiet()
        offer = next(m.connection_settings for m in agent.heard if m.HasField("connection_settings"))
        told = offer.own_metrics, offer.own_logs
        assert [one.destination_endpoint for one in told] == [
            bridge.url.replace("/v1/opamp", path) for path in ("/v1/metrics", "/v1/logs")
        ]
        assert [agent.export(one) for one in told] == [200, 200]


def test_quirk_go_1_it_reconnects_with_next_to_nothing_and_is_known(bridge):
    with link_agent(bridge, "link-returning", "gate-3") as agent:
        agent.start()
        shown(bridge, agent, sync="in sync")
        agent.quiet()
        agent.cut()
        shown(bridge, agent, connected=False)
        agent.open()
        assert all(not m.flags and not m.HasField("remote_config") for m in agent.quiet())
        shown(bridge, agent, connected=True, sync="in sync", name="gate-3")


def test_quirk_go_1_so_it_does_after_a_restart_of_the_manager_which_closed_its_link(bridge):
    """What closes a link on purpose is a close frame, never UNAVAILABLE and never silence."""
    with link_agent(bridge, "link-lasting", "gate-4") as agent:
        agent.start()
        shown(bridge, agent, sync="in sync")
        agent.quiet()
        bridge.stop()
        assert wait_until(lambda: agent.closed, "the end of the link", required=False)
        code, reason = agent.closed
        assert code == 1012
        assert float(reason.removeprefix("retry-after=")) >= 0
        bridge.start()
        agent.open()
        assert all(not m.flags and not m.HasField("remote_config") for m in agent.quiet())
        shown(bridge, agent, connected=True, sync="in sync", name="gate-4")
        assert UNAVAILABLE not in agent.errors


def test_quirk_go_3_a_dropped_message_is_a_gap_and_its_full_state_is_asked_for_once(bridge):
    with link_agent(bridge, "link-gappy", "gate-5") as agent:
        agent.start()
        shown(bridge, agent, sync="in sync")
        agent.quiet()
        agent.lose()
        heard = agent.quiet()
        assert [m.flags for m in heard if m.flags] == [REPORT_FULL_STATE]
        assert not [m for m in heard if m.HasField("remote_config")]
        shown(bridge, agent, sync="in sync")


def test_quirk_go_4_it_says_goodbye_and_closes_and_is_connected_no_more(bridge):
    with link_agent(bridge, "link-leaving", "gate-6") as agent:
        agent.start()
        shown(bridge, agent, connected=True, sync="in sync")
        assert agent.leave() == 1000
        shown(bridge, agent, connected=False, sync="in sync")


def test_quirk_go_3_a_revoked_token_closes_its_link_and_refuses_its_upgrades_with_401(bridge):
    token = bridge.token(bridge.group("link-revoked"))
    with link_agent(bridge, "link-revoked", "gate-7", token) as agent:
        agent.start()
        agent.quiet()
        bridge.revoke(token)
        assert wait_until(lambda: agent.closed, "the end of the link", required=False)
        assert agent.closed[0] == 1008
        assert opens(agent).status_code == 401


def test_quirk_go_2_a_busy_manager_refuses_the_upgrade_with_503_and_a_time_and_says_nothing_on_links(busy):
    """It ignores UNAVAILABLE, so a link that is held goes on, and others are kept out before they are."""
    token = busy.token(busy.group("link-storm"))
    with link_agent(busy, "link-storm", "gate-8", token) as agent:
        assert wait_until(lambda: opens(agent) is None, "its turn")
        with link_agent(busy, "link-storm", "gate-9", token) as late:
            refused = []
            assert wait_until(lambda: refused.append(opens(late)) or refused[-1], "no turn for another")
        assert refused[-1].status_code == 503
        assert refused[-1].headers["Retry-After"].isdigit()
        agent.quiet()
        assert agent.errors == []


def opens(agent):
    """Open a link, and return the refusal if it was refused."""
    try:
        agent.open()
    except InvalidStatus as error:
        return error.response
    return None
