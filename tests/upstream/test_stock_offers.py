"""What else a stock agent is offered: connection settings, and nothing where its policies were withdrawn."""

import pytest

from popham.opamp.schema.opamp.v1.opamp_pb2 import ConnectionSettingsStatus
from popham.testing.direct import ADMIN
from popham.upstream.record import APPLIED, FAILED, NO_OBJECTS

from .conftest import SETTINGS, describe, otelcol, status

REPORTS_SETTINGS = 0x8000
WITHDRAWN = """
apiVersion: popham/v1
kind: Group
metadata: {name: lab}
spec:
  inheritance: {communication: false, policies: {otelcol: false}}
  communication: {heartbeat: 30s}
  policies: {otelcol: null}
"""


@pytest.fixture
def reporting(stock):
    """A stock agent that takes connection settings and tells what became of them."""
    stock.capabilities |= SETTINGS | REPORTS_SETTINGS
    return stock


def settled(digest, number=APPLIED):
    return ConnectionSettingsStatus(last_connection_settings_hash=digest, status=number)


async def test_ops_30_settings_are_offered_until_their_hash_is_echoed_and_again_after_a_change(
    manager, reporting
):
    first = (await reporting.begin()).connection_settings
    again = (await reporting.say()).connection_settings
    assert again == first
    answer = await reporting.say(connection_settings_status=settled(first.hash))
    assert not answer.HasField("connection_settings")
    assert not (await reporting.say()).HasField("connection_settings")
    await manager.publish(otelcol(heartbeat="2m"))
    second = (await reporting.say()).connection_settings
    assert second.hash != first.hash
    assert second.opamp.heartbeat_interval_seconds == 120
    assert second.opamp.destination_endpoint == first.opamp.destination_endpoint


async def test_ops_30_settings_that_failed_are_not_offered_again(reporting):
    offer = (await reporting.begin()).connection_settings
    answer = await reporting.say(connection_settings_status=settled(offer.hash, FAILED))
    assert not answer.HasField("connection_settings")
    assert not (await reporting.say()).HasField("connection_settings")


async def test_ops_30_a_full_state_with_its_status_is_believed(reporting):
    offer = (await reporting.begin()).connection_settings
    answer = await reporting.begin(connection_settings_status=settled(offer.hash))
    assert not answer.HasField("connection_settings")


async def test_ops_30_the_hash_covers_the_address_too(manager, stock):
    stock.capabilities |= SETTINGS
    by_http = (await stock.begin()).connection_settings
    _, end = manager.hold(stock.peer)
    by_link = (await manager.hear(end, stock.message())).connection_settings
    assert by_link.opamp.heartbeat_interval_seconds == by_http.opamp.heartbeat_interval_seconds
    assert by_link.opamp.destination_endpoint != by_http.opamp.destination_endpoint
    assert by_link.hash != by_http.hash


async def test_ops_30_an_offer_that_may_be_lost_with_its_link_is_made_again(manager, stock):
    stock.capabilities |= SETTINGS
    _, end = manager.hold(stock.peer)
    lost = (await manager.hear(end, stock.message(agent_description=describe()))).connection_settings
    end.closed(1006)
    _, end = manager.hold(stock.peer)
    assert (await manager.hear(end, stock.message())).connection_settings == lost


async def test_ops_31_an_agent_that_takes_settings_no_more_is_offered_none(manager, reporting):
    await reporting.begin()
    reporting.capabilities &= ~SETTINGS
    await manager.publish(otelcol(heartbeat="2m"))
    assert not (await reporting.say()).HasField("connection_settings")


async def test_ops_32_a_heartbeat_is_never_offered_as_zero_nor_without_an_address(manager, reporting):
    for heartbeat, seconds in (("1s", 1), ("7d", 604800)):
        await manager.publish(otelcol(heartbeat=heartbeat))
        offer = (await reporting.begin()).connection_settings.opamp
        assert offer.heartbeat_interval_seconds == seconds
        assert offer.destination_endpoint.startswith("https://")


async def test_f_o16_a_withdrawn_policy_is_taken_away_once_and_the_agent_is_in_sync(manager, stock):
    await stock.begin()
    await stock.say(remote_config_status=status(manager.book.wanted("lab").objects_digest))
    await manager.publish(WITHDRAWN)
    offer = (await stock.say()).remote_config
    assert (offer.config_hash, dict(offer.config.config_map)) == (NO_OBJECTS, {})
    (view,) = (await manager.service.agents(ADMIN)).items
    assert view.sync == "pending"
    assert not (await stock.say(remote_config_status=status(NO_OBJECTS))).HasField("remote_config")
    (view,) = (await manager.service.agents(ADMIN)).items
    assert view.sync == "in sync"


async def test_f_o16_an_agent_that_never_held_anything_is_offered_nothing_where_there_is_nothing(
    manager, stock
):
    await manager.publish(WITHDRAWN)
    assert not (await stock.begin()).HasField("remote_config")
    (view,) = (await manager.service.agents(ADMIN)).items
    assert view.sync == "in sync"


async def test_f_o16_what_an_agent_says_with_its_goodbye_is_kept_and_answered_with_nothing_more(
    manager, stock
):
    await stock.begin()
    digest = manager.book.wanted("lab").objects_digest
    await manager.say(stock.peer, stock.goodbye(remote_config_status=status(b"older", FAILED)))
    (view,) = (await manager.service.agents(ADMIN)).items
    assert view.sync == "pending"
    answer = await manager.say(stock.peer, stock.goodbye(remote_config_status=status(digest, FAILED)))
    assert not answer.HasField("remote_config")
    (view,) = (await manager.service.agents(ADMIN)).items
    assert view.sync == "failed"
