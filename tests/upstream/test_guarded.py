"""Bodies with secrets are given to those only who have their group's minimum serial in force."""

import contextlib
from dataclasses import replace

import pytest

from popham.errors import LinkError
from popham.model.names import digest
from popham.net.seam import Request
from popham.opamp.codec import parse_upstream
from popham.opamp.wire import BLOB_KEY, BUNDLE_KEY
from popham.testing.direct import ADMIN

from .conftest import Stock, otelcol

SECRETS = """
apiVersion: popham/v1
kind: Policy
metadata: {{name: keys}}
spec: {{type: files, files: [{{path: /etc/popham.d/key, content: "{text}"{more}}}]}}
---
apiVersion: popham/v1
kind: Group
metadata: {{name: {group}}}
spec:
  inheritance: {{policies: {{files: false}}}}
  policies: {{files: keys}}
  minimum_serial: {minimum}
"""


def secrets(minimum, text="hunter2", group="lab", more=", secret: true"):
    return SECRETS.format(minimum=minimum, text=text, group=group, more=more)


def offered(answer):
    """Return the digests of the bodies in an answer that offers a bundle."""
    config = answer.remote_config.config.config_map
    assert BUNDLE_KEY in config
    return {key.removeprefix(BLOB_KEY) for key in config if key != BUNDLE_KEY}


def has_applied(manager, agent, serial, **more):
    """Let the Manager's record say that this serial is in force."""
    record = manager.book.record(agent.uid)
    record.note_state(replace(record.state, applied_serial=serial, **more), record.envelope)


async def ask(manager, agent, sha256):
    """Return status and body of the answer to a question for a body."""
    path = f"/v1/content/sha256/{sha256}"
    response = await manager.hub.other(Request(method="GET", path=path, peer=agent.peer()))
    return response.status, response.body


async def add(manager, name="a", group="lab"):
    """Return an agent that has applied what its group had, which holds no secret."""
    agent = await manager.add_agent(name, group)
    await agent.round()
    return agent


@pytest.fixture
async def lab(manager):
    """The group lab at serial 1, without secrets."""
    await manager.publish(secrets(0, "plain", more=""))
    return manager


@pytest.mark.parametrize("held", [True, False])
async def test_f_y14_a_body_with_secrets_is_left_out_of_the_offer_below_the_serial(lab, held):
    agent = await add(lab)
    await lab.publish(secrets(2))

    async def told():
        report = agent.end.report(force=True)
        if held:
            return await lab.hear(lab.hold(agent.peer())[1], report)
        return parse_upstream(await lab.round(agent.peer(), report))

    assert offered(await told()) == set()
    await lab.publish(secrets(1))
    assert offered(await told()) == set(lab.book.wanted("lab").guarded)


async def test_f_y14_news_over_a_link_leave_it_out_for_those_only_who_lack_the_serial(lab):
    old, new = await add(lab, "old"), await add(lab, "new")
    links = []
    for agent in (old, new):
        link, end = lab.hold(agent.peer())
        await lab.hear(end, agent.end.report(force=True))
        links.append(link)
    has_applied(lab, new, 2)
    await lab.publish(secrets(2))
    sent = [link.sent[-1] for link in links]
    assert [b"hunter2" in data for data in sent] == [False, True]


async def test_f_y14_a_body_is_answered_403_until_the_serial_is_in_force_and_the_bundle_always(lab):
    agent = await add(lab)
    await lab.publish(secrets(2))
    wanted = lab.book.wanted("lab")
    (guarded,) = wanted.guarded
    status, body = await ask(lab, agent, guarded)
    assert (status, b"content.serial" in body, b"serial 2" in body) == (403, True, True)
    assert b"hunter2" not in body
    assert (await ask(lab, agent, digest(wanted.envelope)))[0] == 200
    has_applied(lab, agent, 2)
    status, body = await ask(lab, agent, guarded)
    assert (status, b"hunter2" in body) == (200, True)


async def test_f_y14_what_holds_no_secret_is_given_at_once(lab):
    agent = await add(lab)
    await lab.publish(secrets(9, "new", more=""))
    assert lab.book.wanted("lab").guarded == frozenset()
    await agent.round()
    assert agent.applier.applied[-1] == ("keys@2",)


async def test_f_y14_the_serial_of_another_group_does_not_count(lab):
    await lab.publish(secrets(1, group="shop"))
    agent = await add(lab)
    has_applied(lab, agent, 50, group="fleet")
    await lab.publish(secrets(2))
    (guarded,) = lab.book.wanted("lab").guarded
    assert (await ask(lab, agent, guarded))[0] == 403
    has_applied(lab, agent, 50, group="lab")
    assert (await ask(lab, agent, guarded))[0] == 200


@pytest.mark.parametrize("minimum", [0, 99])
async def test_f_y14_an_agent_that_was_moved_reports_no_serial_until_it_has_applied_there(lab, minimum):
    await lab.publish(secrets(minimum))
    agent = await add(lab)
    assert agent.end.record().applied_serial == 2
    assert agent.end.record().withheld == (("keys",) if minimum else ())
    await lab.publish(secrets(1, group="shop").replace("keys", "pins").replace("hunter2", "1234"))
    await lab.service.move(ADMIN, agent.uid, "shop")
    await lab.bring()
    agent.applier.broken = "it does not work here"
    with contextlib.suppress(LinkError):
        await agent.round()
    assert (agent.end.record().group, agent.end.record().applied_serial) == ("shop", 0)
    (guarded,) = lab.book.wanted("shop").guarded
    assert (await ask(lab, agent, guarded))[0] == 403


async def test_f_y14_an_agent_that_never_reported_waits_too(lab):
    await lab.publish(secrets(2))
    agent = await lab.add_agent("a", "lab")
    (guarded,) = lab.book.wanted("lab").guarded
    assert lab.book.record(agent.uid).state is None
    assert (await ask(lab, agent, guarded))[0] == 403


async def test_f_y14_changing_the_minimum_raises_no_serial_and_holds_at_once(lab):
    agent = await add(lab)
    await lab.publish(secrets(2))
    before = lab.book.wanted("lab")
    (guarded,) = before.guarded
    assert (await ask(lab, agent, guarded))[0] == 403
    await lab.publish(secrets(1))
    after = lab.book.wanted("lab")
    assert (after.serial, after.version, after.minimum_serial) == (before.serial, before.version, 1)
    assert (await ask(lab, agent, guarded))[0] == 200
    await lab.publish(secrets(0))
    assert lab.book.wanted("lab").guarded == frozenset()


async def test_f_y14_a_group_below_does_not_inherit_the_minimum(lab):
    await lab.publish(secrets(2))
    await lab.publish(
        "apiVersion: popham/v1\nkind: Group\nmetadata: {name: cellar}\nspec: {parent: lab}\n",
    )
    assert lab.book.wanted("cellar").blobs.keys() == lab.book.wanted("lab").blobs.keys()
    assert lab.book.wanted("cellar").guarded == frozenset()


async def test_f_y14_it_holds_after_a_restart(lab):
    agent = await add(lab)
    await lab.publish(secrets(2))
    await lab.start()
    (guarded,) = lab.book.wanted("lab").guarded
    assert (await ask(lab, agent, guarded))[0] == 403


async def test_f_y14_offers_are_encoded_once_for_all_who_are_told_the_same(lab):
    agents = [await add(lab, name) for name in "abcd"]
    for agent in agents[2:]:
        has_applied(lab, agent, 2)
    await lab.publish(secrets(2))
    for agent in agents:
        lab.hub.tell(agent.uid)
        link, end = lab.hold(agent.peer())
        record = lab.book.record(agent.uid)
        record.link, end.records[agent.uid] = link, record
        lab.hub.tell(agent.uid)
    made = lab.book.wanted("lab").offers
    assert made.keys() == {(True, True, True), (True, True, False)}
    assert b"hunter2" in made[True, True, False]
    assert b"hunter2" not in made[True, True, True]


async def test_f_y14_whoever_waits_is_offered_the_body_once_it_may_have_it(lab):
    agent = await add(lab)
    await lab.publish(secrets(9))
    link, end = lab.hold(agent.peer())
    await lab.hear(end, agent.end.report(force=True))
    wanted = lab.book.wanted("lab")
    has_applied(lab, agent, 2, withheld=("keys",), content_digest=wanted.content_digest)
    await lab.publish(secrets(8))
    assert not link.sent
    await lab.publish(secrets(2))
    assert offered(parse_upstream(link.sent[-1])) == set(wanted.blobs)


async def test_f_y14_stock_agents_are_not_given_what_holds_secrets(manager):
    secret = otelcol().replace("{exporters: {debug: null}}", "{exporters: {otlp: {password: hunter2}}}")
    assert "hunter2" in secret
    await manager.publish(secret)
    stock = Stock(manager, await manager.stock_peer("lab"))
    answer = await stock.begin()
    assert b"hunter2" in answer.remote_config.config.config_map["col"].body
    await manager.publish(secret + "  minimum_serial: 1\n")
    assert not manager.book.wanted("lab").objects
    answer = await Stock(manager, await manager.stock_peer("lab"), key=bytes(range(1, 17))).begin()
    assert b"hunter2" not in answer.SerializeToString()
