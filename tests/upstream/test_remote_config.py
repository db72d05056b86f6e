"""Stock agents are offered their group's policies, by digests only."""

import pytest

from popham.opamp.schema.opamp.v1.opamp_pb2 import ConnectionSettingsStatus
from popham.testing.direct import ADMIN

from .conftest import BEATS, SETTINGS, STATUS, TELLS, describe, otelcol, status


@pytest.fixture
def wanted(manager):
    return lambda: manager.book.wanted("lab")


async def test_ops_26_quirk_python_4_config_is_offered_while_the_status_is_absent(stock, wanted):
    answer = await stock.begin()
    assert answer.remote_config.config_hash == wanted().objects_digest
    assert (await stock.say()).HasField("remote_config")


async def test_ops_26_config_is_offered_until_the_hash_is_echoed_and_again_after_a_change(
    manager, stock, wanted
):
    await stock.begin()
    first = wanted().objects_digest
    assert not (await stock.say(remote_config_status=status(first, 2))).HasField("remote_config")
    assert not (await stock.say()).HasField("remote_config")
    await manager.publish(otelcol("otlp"))
    answer = await stock.say()
    assert answer.remote_config.config_hash == wanted().objects_digest != first


async def test_ops_26_a_failed_config_is_not_offered_again(stock, wanted):
    await stock.begin()
    await stock.say(remote_config_status=status(wanted().objects_digest, 3))
    assert not (await stock.say()).HasField("remote_config")


async def test_ops_27_who_takes_no_config_is_offered_none(stock):
    stock.capabilities = STATUS | BEATS | TELLS
    assert not (await stock.begin()).HasField("remote_config")


async def test_ops_28_29_config_hash_is_always_set_and_the_map_is_whole(manager, stock):
    for exporter in ("debug", "otlp", "file"):
        await manager.publish(otelcol(exporter))
        offer = (await stock.begin()).remote_config
        assert len(offer.config_hash) == 32
        assert list(offer.config.config_map) == ["col"]
        assert exporter.encode() in offer.config.config_map["col"].body
        assert offer.config.config_map["col"].content_type == "text/yaml"


async def test_ops_13_a_change_is_told_on_a_link_at_once_and_not_twice(manager, stock, wanted):
    link, end = manager.hold(stock.peer)
    await manager.hear(end, stock.message(agent_description=describe()))
    await manager.hear(end, stock.message(remote_config_status=status(wanted().objects_digest)))
    await manager.publish(otelcol("otlp"))
    assert len(link.sent) == 1
    await manager.bring()
    assert len(link.sent) == 1


async def test_quirk_python_6_an_old_status_after_a_new_offer_does_not_start_the_rollout_anew(
    manager, stock, wanted
):
    await stock.begin()
    old = wanted().objects_digest
    await stock.say(remote_config_status=status(old))
    await manager.publish(otelcol("otlp"))
    assert (await stock.say()).HasField("remote_config")
    again = await stock.say(agent_description=describe(), remote_config_status=status(old))
    assert again.remote_config.config_hash == wanted().objects_digest
    assert not (await stock.say(remote_config_status=status(wanted().objects_digest))).HasField(
        "remote_config"
    )


async def test_ops_30_32_settings_are_offered_once_whole_and_in_the_scheme_of_the_transport(manager, stock):
    stock.capabilities |= SETTINGS
    offer = (await stock.begin()).connection_settings
    assert offer.hash
    assert offer.opamp.destination_endpoint == "https://manager:4320/v1/opamp"
    assert offer.opamp.heartbeat_interval_seconds == 30
    assert not (await stock.say()).HasField("connection_settings")
    await manager.publish(otelcol(heartbeat="2m"))
    _, end = manager.hold(stock.peer)
    held = (await manager.hear(end, stock.message())).connection_settings.opamp
    assert held.destination_endpoint == "wss://manager:4320/v1/opamp"
    assert held.heartbeat_interval_seconds == 120


async def test_ops_30_an_agent_that_began_anew_is_offered_its_settings_again(stock):
    stock.capabilities |= SETTINGS
    assert (await stock.begin()).HasField("connection_settings")
    assert (await stock.begin()).HasField("connection_settings")


async def test_ops_30_an_agent_that_reports_settings_is_offered_them_until_it_names_their_hash(stock):
    stock.capabilities |= SETTINGS | 0x8000
    first = (await stock.begin()).connection_settings
    again = (await stock.say()).connection_settings
    assert again.hash == first.hash
    said = ConnectionSettingsStatus(last_connection_settings_hash=first.hash, status=1)
    assert not (await stock.say(connection_settings_status=said)).HasField("connection_settings")
    assert not (await stock.say()).HasField("connection_settings")


async def test_ops_26_a_withdrawn_policy_is_withdrawn_by_an_empty_map_and_only_from_who_has_one(
    manager, stock, wanted
):
    await stock.begin()
    await stock.say(remote_config_status=status(wanted().objects_digest))
    await manager.publish(otelcol().replace("{otelcol: col}", "{otelcol: null}"))
    offer = (await stock.say()).remote_config
    assert offer.config_hash
    assert not offer.config.config_map
    assert not (await stock.say(remote_config_status=status(offer.config_hash))).HasField("remote_config")
    stock.key = bytes(16)
    assert not (await stock.begin()).HasField("remote_config")


async def test_ops_31_no_settings_go_to_an_agent_that_takes_none(stock):
    for answer in (await stock.begin(), await stock.say()):
        assert not answer.HasField("connection_settings")


async def test_f_o16_what_a_stock_agent_says_is_what_administrators_see(manager, stock, wanted):
    await stock.begin()
    await stock.say(remote_config_status=status(wanted().objects_digest, 1))
    (view,) = (await manager.service.agents(ADMIN)).items
    assert (view.kind, view.sync) == ("stock", "in sync")
    await stock.say(remote_config_status=status(wanted().objects_digest, 3))
    (view,) = (await manager.service.agents(ADMIN)).items
    assert view.sync == "failed"


async def test_a_stock_agent_that_waits_to_be_accepted_is_offered_nothing(manager, stock):
    stock.peer = await manager.stock_peer("lab", accepts=False)
    answer = await stock.begin()
    assert not answer.HasField("remote_config")
    assert not answer.HasField("connection_settings")
