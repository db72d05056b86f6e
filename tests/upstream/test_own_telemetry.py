"""Where stock agents are told to send telemetry of their own, and what of their token comes back to them."""

import logging
import uuid
from dataclasses import replace
from hashlib import sha256
from urllib.parse import urlsplit

import pytest

from popham.model.fleet import AgentKind
from popham.model.names import canonical
from popham.net.seam import Peer, Request
from popham.opamp.codec import parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import ConnectionSettingsStatus
from popham.streams.frame import Stream
from popham.testing.direct import DirectManager
from popham.upstream.intake import Rejected
from popham.upstream.record import APPLIED

from .conftest import SETTINGS, STATUS, Stock, describe, otelcol, status

METRICS, LOGS, REPORTS_SETTINGS = 0x40, 0x80, 0x8000
METRICS_URL, LOGS_URL = "https://manager:4320/v1/metrics", "https://manager:4320/v1/logs"
QUIET = "30s, upload: off"
OPAMP = "https://manager:4320/v1/opamp"


class Taker:
    """Takes plain OTLP, and notes whose it is."""

    def __init__(self):
        self.owners = []

    def refusal(self, source, stream):
        return None

    async def take(self, source, stream, body, *, is_json):
        self.owners.append((stream, source.owner(body.decode())))
        return Rejected()


@pytest.fixture
def taker():
    return Taker()


@pytest.fixture
async def manager(keys, taker):
    found = DirectManager(keys, otlp=taker)
    await found.start()
    return found


@pytest.fixture
def both(stock):
    """A stock agent that takes settings, and reports metrics and logs of its own."""
    stock.capabilities |= SETTINGS | METRICS | LOGS
    return stock


def shown(settings):
    return [(header.key, header.value) for header in settings.headers.headers]


def hash_of(*held):
    return sha256(canonical(list(held))).digest()


async def another(manager, number=1):
    """Return another agent of the same kind, with a token of its own."""
    peer = await manager.stock_peer("lab")
    return Stock(manager, peer, key=bytes([number] * 16), capabilities=STATUS | SETTINGS | METRICS | LOGS)


async def test_ops_33_34_own_telemetry_has_whole_urls_and_the_agents_token_in_the_first_answer(both):
    offer = (await both.begin()).connection_settings
    assert offer.opamp.destination_endpoint == OPAMP
    assert (offer.own_metrics.destination_endpoint, offer.own_logs.destination_endpoint) == (
        METRICS_URL,
        LOGS_URL,
    )
    assert shown(offer.own_metrics) == shown(offer.own_logs)
    assert shown(offer.own_logs) == [("Authorization", f"Bearer {both.peer.bearer}")]
    assert not offer.opamp.HasField("headers")
    assert not offer.HasField("own_traces")
    assert not (await both.say()).HasField("connection_settings")


async def test_f_d9_what_is_offered_is_a_door_that_opens(manager, both, taker):
    offer = (await both.begin()).connection_settings
    for told, stream in ((offer.own_metrics, Stream.METRICS), (offer.own_logs, Stream.LOGS)):
        (_, header) = shown(told)[0]
        peer = Peer(address="192.0.2.1", bearer=header.removeprefix("Bearer "))
        path = urlsplit(told.destination_endpoint).path
        headers, body = {"content-type": "application/x-protobuf"}, both.record.uid.encode()
        asked = Request(method="POST", path=path, peer=peer, headers=headers, body=body)
        assert (await manager.hub.other(asked)).status == 200
        assert taker.owners.pop() == (stream, both.key)


@pytest.mark.parametrize("takes", [0, SETTINGS])
@pytest.mark.parametrize("reports", [METRICS, LOGS, METRICS | LOGS])
async def test_ops_31_each_kind_of_connection_is_offered_to_those_that_declare_it(stock, takes, reports):
    stock.capabilities |= takes | reports
    offer = (await stock.begin()).connection_settings
    found = {field.name for field, _ in offer.ListFields()} - {"hash"}
    names = {"opamp": takes, "own_metrics": reports & METRICS, "own_logs": reports & LOGS}
    assert found == {name for name, declared in names.items() if declared}
    assert not (await stock.say()).HasField("connection_settings")


async def test_ops_34_over_a_link_it_is_the_same_address_and_comes_again_with_the_next_link(manager, both):
    both.capabilities &= ~SETTINGS
    _, end = manager.hold(both.peer)
    first = (await manager.hear(end, both.message(agent_description=describe()))).connection_settings
    assert first.own_metrics.destination_endpoint == METRICS_URL
    assert not (await manager.hear(end, both.message())).HasField("connection_settings")
    end.closed(1006)
    _, end = manager.hold(both.peer)
    assert (await manager.hear(end, both.message())).connection_settings == first


async def test_the_hash_has_the_id_of_the_token_and_is_the_old_one_where_there_is_no_telemetry(manager, both):
    token = manager.book.identify(both.peer).token
    offer = (await both.begin()).connection_settings
    assert offer.hash == hash_of(OPAMP, 30, METRICS_URL, LOGS_URL, token)
    both.capabilities &= ~(METRICS | LOGS)
    offer = (await both.say()).connection_settings
    assert offer.hash == hash_of(OPAMP, 30)
    assert {field.name for field, _ in offer.ListFields()} == {"hash", "opamp"}


async def test_ops_17_an_agent_that_reports_more_or_less_later_is_offered_that(both):
    both.capabilities &= ~LOGS
    first = (await both.begin()).connection_settings
    both.capabilities |= LOGS
    second = (await both.say()).connection_settings
    assert second.HasField("own_logs")
    both.capabilities &= ~LOGS
    third = (await both.say()).connection_settings
    assert (third == first, second.hash != first.hash) == (True, True)


async def test_an_agent_that_comes_with_another_token_is_given_that_one_back(manager, both):
    both.capabilities |= REPORTS_SETTINGS
    first = (await both.begin()).connection_settings
    told = ConnectionSettingsStatus(last_connection_settings_hash=first.hash, status=APPLIED)
    assert not (await both.say(connection_settings_status=told)).HasField("connection_settings")
    both.peer = await manager.stock_peer("lab")
    second = (await both.begin(connection_settings_status=told)).connection_settings
    assert second.hash != first.hash
    assert shown(second.own_logs) == [("Authorization", f"Bearer {both.peer.bearer}")]


async def test_sec_11_a_token_goes_back_to_its_own_agent_and_stays_nowhere(manager, both, caplog):
    caplog.set_level(logging.DEBUG)
    agents = [both, await another(manager, 1), await another(manager, 2)]
    agents[2].capabilities &= ~(METRICS | LOGS)
    links = []
    for agent in agents:
        link, end = manager.hold(agent.peer)
        answer = await manager.hear(end, agent.message(agent_description=describe()))
        links.append((agent, link, end, answer.SerializeToString()))
    await manager.publish(otelcol(heartbeat="2m"))
    tokens = [agent.peer.bearer.encode() for agent in agents]
    for agent, link, _, first in links:
        own = [agent.peer.bearer.encode()] if agent.capabilities & LOGS else []
        (told,) = link.sent
        assert parse_upstream(told).connection_settings.opamp.heartbeat_interval_seconds == 120
        for said in (first, told):
            assert [token for token in tokens if token in said] == own
    wanted, tails = manager.book.wanted("lab"), manager.hub._telling._tails
    kept = repr([tails, wanted.settings, wanted.offers, caplog.messages])
    kept += repr([replace(manager.book.find(agent.key), link=None) for agent in agents])
    assert tails
    assert not [token for token in tokens if token.decode() in kept]


async def test_an_agent_with_a_certificate_is_told_the_addresses_and_no_token(manager, both):
    enrolled = await manager.add_agent("a", "lab")
    peer = enrolled.peer()
    peer.bearer = both.peer.bearer
    agent = Stock(
        manager, peer, key=uuid.UUID(enrolled.uid).bytes, capabilities=STATUS | SETTINGS | METRICS | LOGS
    )
    manager.book.record(enrolled.uid).kind = AgentKind.STOCK
    offer = (await agent.begin()).connection_settings
    assert offer.own_metrics.destination_endpoint == METRICS_URL
    assert not offer.own_metrics.HasField("headers")
    assert not offer.own_logs.HasField("headers")
    assert offer.hash == hash_of(OPAMP, 30, METRICS_URL, LOGS_URL, "")


async def test_where_upload_is_off_no_telemetry_is_offered_until_it_is_on(manager, both):
    await manager.publish(otelcol(heartbeat=QUIET))
    offer = (await both.begin()).connection_settings
    assert offer.hash == hash_of(OPAMP, 30)
    assert {field.name for field, _ in offer.ListFields()} == {"hash", "opamp"}
    await manager.publish(otelcol(heartbeat="30s, upload: on"))
    assert (await both.say()).connection_settings.HasField("own_logs")


async def test_where_no_otlp_is_taken_none_is_offered(keys):
    manager = DirectManager(keys)
    await manager.start()
    await manager.publish(otelcol())
    agent = await another(manager)
    assert {field.name for field, _ in (await agent.begin()).connection_settings.ListFields()} == {
        "hash",
        "opamp",
    }


async def test_an_agent_that_waits_to_be_accepted_is_not_given_its_token_back(manager, both):
    both.peer = await manager.stock_peer("lab", accepts=False)
    assert not (await both.begin()).HasField("connection_settings")


async def test_an_offer_without_a_heartbeat_promises_none(manager, both):
    both.capabilities = both.capabilities & ~SETTINGS | REPORTS_SETTINGS
    offer = (await both.begin()).connection_settings
    told = ConnectionSettingsStatus(last_connection_settings_hash=offer.hash, status=APPLIED)
    for _ in range(12):
        manager.clock.elapsed += 40
        await both.say(connection_settings_status=told)
    assert both.record.promise == 40


async def test_ops_13_once_told_its_heartbeats_are_answered_from_memory(manager, both):
    answer = await both.begin()
    await both.say(remote_config_status=status(answer.remote_config.config_hash))
    await both.say()
    assert both.record.settled is manager.book.wanted("lab")
    writes = manager.store.writes
    await both.say()
    assert manager.store.writes == writes
