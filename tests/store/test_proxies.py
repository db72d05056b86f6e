"""Definitions of Proxy Managers, in every filling of the store's seam."""

from __future__ import annotations

import dataclasses

from popham.store.rows import AgentDefinitionRow, ProxyRow
from popham.store.seam import Store, Writing

DOCK = ProxyRow(name="dock", body='{"spec":{}}', changed=5.5, uid="0199", edition=3, source="git/é")
PIER = ProxyRow(name="pier", body="{}", changed=6.5)
WEB = AgentDefinitionRow(name="web1", body="{}", place="web1:80", proxy="dock")
OTHER = AgentDefinitionRow(name="web2", body="{}", place="web2:80")


async def fill(store: Store) -> None:
    def put(tx: Writing) -> None:
        tx.put_proxy(PIER)
        tx.put_proxy(DOCK)
        tx.put_agent_definition(WEB)
        tx.put_agent_definition(OTHER)

    await store.write(put)


async def test_a_proxy_is_found_by_name_and_by_its_agent(store: Store) -> None:
    await fill(store)
    assert await store.read(lambda tx: tx.proxies()) == [DOCK, PIER]
    assert await store.read(lambda tx: (tx.proxy("dock"), tx.proxy("quay"))) == (DOCK, None)
    assert await store.read(lambda tx: (tx.proxy_of("0199"), tx.proxy_of(""))) == (DOCK, None)


async def test_the_agents_that_a_proxy_visits_are_found_by_it(store: Store) -> None:
    await fill(store)
    assert await store.read(lambda tx: tx.agent_definitions_by("dock")) == [WEB]
    assert await store.read(lambda tx: tx.agent_definitions_by("")) == []


async def test_a_proxy_is_replaced_and_deleted_by_its_name(store: Store) -> None:
    await fill(store)
    moved = dataclasses.replace(DOCK, uid="0200", changed=7.0)

    def change(tx: Writing) -> None:
        tx.put_proxy(moved)
        tx.delete_proxy("pier")
        tx.delete_proxy("quay")

    await store.write(change)
    assert await store.read(lambda tx: tx.proxies()) == [moved]
    assert await store.read(lambda tx: tx.proxy_of("0199")) is None
