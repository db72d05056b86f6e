"""What our own agents are told: hello, bundles inline or by reference, and never more than a link bears."""

import uuid

import pytest

from popham.errors import LinkError
from popham.model.generation import GENERATION
from popham.opamp.codec import parse_custom, parse_upstream
from popham.opamp.schema.popham.v1.popham_pb2 import Directive
from popham.opamp.wire import (
    BUNDLE_KEY,
    HELD_MESSAGE_LIMIT,
    INLINE_LIMIT,
    REFERENCE_TYPE,
    SESSION,
    TRUST,
)
from popham.testing.direct import ADMIN
from popham.upstream import directive as directives

from .conftest import files

LONG = "g" * 64


async def held(manager, agent):
    link, end = manager.hold(agent.peer())
    agent.end.opened()
    return link, end, await manager.hear(end, agent.end.report(force=True))


async def test_the_first_answer_names_generation_window_and_custom_capabilities(manager):
    agent = await manager.add_agent("a")
    _, _, answer = await held(manager, agent)
    directive = parse_custom(answer.custom_message)
    assert isinstance(directive, Directive)
    assert (directive.generation, directive.retry_window_seconds) == (GENERATION, 1.0)
    assert list(answer.custom_capabilities.capabilities) == [SESSION, TRUST]


@pytest.mark.parametrize("size", [10, 3_000, 6_500, 7_900, 9_000, 200_000])
async def test_f_p1_no_message_of_a_held_link_is_over_8_kib_and_what_is_left_out_is_fetched(manager, size):
    await manager.publish(files("x" * size, group=LONG))
    agent = await manager.add_agent("a", LONG)
    link, end, answer = await held(manager, agent)
    assert answer.HasField("remote_config")
    await agent.end.receive(answer.SerializeToString())
    await manager.hear(end, agent.end.report(force=True))
    await manager.publish(files("y" * size, group=LONG))
    assert link.sent
    sizes = [len(data) + 1 for data in [answer.SerializeToString(), *link.sent]]
    assert max(sizes) <= HELD_MESSAGE_LIMIT
    for data in link.sent:
        await agent.end.receive(data)
    assert agent.applier.applied[-1] == ("motd@2",)
    assert bool(agent.fetched) == (size > 3_000)


async def test_a_bundle_too_large_for_a_held_link_is_named_and_fetched(manager, monkeypatch):
    monkeypatch.setattr(directives, "HELD_MESSAGE_LIMIT", 2000)
    await manager.publish(files("x", group=LONG))
    agent = await manager.add_agent("a", LONG)
    _, _, answer = await held(manager, agent)
    config = answer.remote_config.config.config_map
    assert config[BUNDLE_KEY].content_type == REFERENCE_TYPE
    assert len(config) == 1
    assert len(answer.SerializeToString()) <= 2000
    await agent.end.receive(answer.SerializeToString())
    assert agent.applier.applied == [("motd@1",)]
    assert len(agent.fetched) == 2


@pytest.mark.parametrize(("size", "inline"), [(200_000, True), (INLINE_LIMIT, False)])
async def test_a_round_carries_bodies_inline_up_to_256_kib(manager, size, inline):
    await manager.publish(files("x" * size))
    agent = await manager.add_agent("a", "lab")
    await agent.round()
    assert agent.applier.applied == [("motd@1",)]
    assert bool(agent.fetched) is not inline


async def test_sec_12_an_agent_reads_what_its_groups_bundle_names_and_nothing_else(manager):
    await manager.publish(files("secret", group="lab"))
    blob = next(iter(manager.book.wanted("lab").blobs))
    mine, foreign = await manager.add_agent("a", "lab"), await manager.add_agent("b", "fleet")
    assert b"secret" in await mine._fetch(blob, 1 << 20)
    with pytest.raises(LinkError) as caught:
        await foreign._fetch(blob, 1 << 20)
    assert caught.value.status == 404


async def test_ops_27_nothing_is_offered_to_an_agent_that_takes_no_config(manager):
    await manager.publish(files())
    agent = await manager.add_agent("a", "lab")
    manager.book.record(agent.uid).ear.capabilities = 0
    said = agent.end._session
    said._capabilities = 1
    answer = await manager.hear(manager.hold(agent.peer())[1], agent.end.report(force=True))
    assert not answer.HasField("remote_config")


async def test_f_l10_a_check_in_is_asked_for_over_the_held_link(manager):
    agent = await manager.add_agent("a")
    link, _, _ = await held(manager, agent)
    await manager.service.check_in(ADMIN, [agent.uid])
    await manager.bring()
    assert parse_custom(parse_upstream(link.sent[-1]).custom_message).check_in


async def test_f_p3_sec_17_a_new_agent_waits_with_no_policies_until_it_is_accepted(manager):
    await manager.publish(files())
    agent = await manager.add_agent("a", "lab", accepts=False)
    assert agent.state.certificate() is None
    (view,) = (await manager.service.agents(ADMIN)).items
    assert view.admission == "new"
    await manager.service.accept(ADMIN, agent.uid)
    await manager.bring()
    assert (await agent.enroll()).certificate
    await agent.round()
    assert agent.applier.applied == [("motd@1",)]


async def test_an_agent_whose_signature_is_wrong_changes_nothing(manager):
    agent = await manager.add_agent("a")
    before = manager.book.record(agent.uid)
    state, description = before.state, before.description
    agent.state._key = type(agent.key).create()
    answer = await manager.hear(manager.hold(agent.peer())[1], agent.end.report(force=True))
    assert "trust.signature" in answer.error_response.error_message
    assert (before.state, before.description) == (state, description)
    assert answer.instance_uid == uuid.UUID(agent.uid).bytes
