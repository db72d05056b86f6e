"""Where agents are visited, in every filling of the store's seam."""

from __future__ import annotations

import dataclasses

from popham.store.rows import AgentDefinitionRow
from popham.store.seam import Store, Writing

WEB = AgentDefinitionRow(
    name="web1", body='{"spec":{}}', place="web1:80/SQC", uid="0199", edition=3, source="agentlist:/é"
)
OTHER = AgentDefinitionRow(name="web2", body="{}", place="web2:80")


async def fill(store: Store) -> None:
    def put(tx: Writing) -> None:
        tx.put_agent_definition(WEB)
        tx.put_agent_definition(OTHER)

    await store.write(put)


async def test_a_definition_is_found_by_name_place_agent_and_source(store: Store) -> None:
    await fill(store)
    assert await store.read(lambda tx: (tx.agent_definition("web1"), tx.agent_definition("web9"))) == (
        WEB,
        None,
    )
    assert await store.read(lambda tx: tx.agent_definition_at("web1:80/SQC")) == WEB
    assert await store.read(lambda tx: tx.agent_definition_at("web1:80")) is None
    assert await store.read(lambda tx: tx.agent_definition_of("0199")) == WEB
    assert await store.read(lambda tx: tx.agent_definition_of("")) is None
    assert await store.read(lambda tx: tx.agent_definitions_from("agentlist:/é")) == [WEB]
    assert await store.read(lambda tx: tx.agent_definitions_from("")) == []


async def test_definitions_are_listed_by_name_a_part_at_a_time(store: Store) -> None:
    await fill(store)
    assert await store.read(lambda tx: tx.agent_definitions()) == [WEB, OTHER]
    assert await store.read(lambda tx: tx.agent_definitions(limit=1)) == [WEB]
    assert await store.read(lambda tx: tx.agent_definitions(after="web1")) == [OTHER]
    assert await store.read(lambda tx: tx.agent_definition_count()) == 2


async def test_a_definition_is_replaced_and_deleted_by_its_name(store: Store) -> None:
    await fill(store)
    moved = dataclasses.replace(WEB, place="web1:81", uid="", source="")

    def change(tx: Writing) -> None:
        tx.put_agent_definition(moved)
        tx.delete_agent_definition("web2")
        tx.delete_agent_definition("web9")

    await store.write(change)
    assert await store.read(lambda tx: tx.agent_definitions()) == [moved]
    assert await store.read(lambda tx: tx.agent_definition_at("web1:80/SQC")) is None
    assert await store.read(lambda tx: tx.agent_definition_of("0199")) is None
