"""A stock agent gets a name from its own description, once."""

import json

import pytest

from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentDescription, AnyValue, KeyValue
from popham.testing.direct import ADMIN

UUID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def attributes(**said):
    pairs = [
        KeyValue(key=key.replace("_", "."), value=AnyValue(string_value=text)) for key, text in said.items()
    ]
    return AgentDescription(identifying_attributes=pairs)


async def names(manager):
    return [view.name for view in (await manager.service.agents(ADMIN)).items]


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"service_instance_id": "till-7", "host_name": "web-1", "service_name": "col"}, "till-7"),
        ({"service_instance_id": UUID, "host_name": "web-1", "service_name": "col"}, "web-1"),
        ({"service_instance_id": UUID.upper(), "service_name": "col"}, "col"),
        ({"host_name": "Büro 1"}, "b-ro-1"),
        ({"host_name": "../../etc"}, "etc"),
        ({"host_name": "-.-", "service_name": "col"}, "col"),
        ({"service_name": "x" * 300}, "x" * 64),
        ({"service_instance_id": UUID}, "stock-0a0b0c0d0e0f"),
        ({}, "stock-0a0b0c0d0e0f"),
    ],
)
async def test_f_o16_the_most_telling_attribute_names_a_stock_agent(manager, stock, said, name):
    await stock.say(agent_description=attributes(**said))
    assert await names(manager) == [name]
    assert stock.record.name == name


async def test_f_o16_a_name_is_given_once_and_survives_a_restart(manager, stock):
    await stock.say(agent_description=attributes(host_name="web-1"))
    await stock.say(agent_description=attributes(host_name="web-9"))
    assert await names(manager) == ["web-1"]
    await manager.start()
    await stock.say(agent_description=attributes(host_name="web-9"))
    assert await names(manager) == ["web-1"]


async def test_f_o16_a_description_that_comes_late_names_it_too(manager, stock):
    await stock.say()
    assert await names(manager) == ["stock-0a0b0c0d0e0f"]
    await stock.say(agent_description=attributes(host_name="web-1"))
    assert await names(manager) == ["web-1"]


async def test_f_o16_names_of_stock_agents_are_unique(manager, stock):
    for number in range(9):
        await stock.say(
            agent_description=attributes(service_name="col"),
            instance_uid=bytes([number] * 16),
            sequence_num=0,
        )
    assert sorted(await names(manager)) == ["col", *(f"col-{number}" for number in range(2, 10))]


async def test_f_o16_the_naming_is_audited_in_the_transaction_that_hears_the_description(manager, stock):
    await stock.say()
    before = manager.store.writes
    await stock.say(agent_description=attributes(host_name="web-1"))
    assert manager.store.writes == before + 1
    row = (await manager.store.read(lambda tx: tx.audit()))[-1]
    assert (row.method, row.object) == ("agent.name", f"agent/{stock.record.uid}")
    assert (json.loads(row.before), json.loads(row.after)) == (
        {"name": "stock-0a0b0c0d0e0f"},
        {"name": "web-1"},
    )
    assert row.actor.startswith("token ")
