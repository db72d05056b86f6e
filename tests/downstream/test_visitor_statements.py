"""Visitors whose key is not the director's: believed by the statement that they show, and bounded as strangers are."""

import asyncio
import base64
import json

import pytest

from popham.downstream import entry
from popham.errors import VisitError
from popham.net.signing import VISITOR, Operation
from popham.testing.virtual import pass_time
from popham.trust.keys import SigningKey
from popham.trust.visitor import VISITOR_LIMIT

from .visitors import Scene

STATEMENT = b'{"a statement": "in its envelope"}'


@pytest.fixture
def scene():
    return Scene()


def proxy_of(scene, *, statement=STATEMENT, **how):
    """Return a Proxy Manager that comes with a statement, which the agent believes if it is :data:`STATEMENT`."""
    key = SigningKey.create()
    scene.world.visitors[key.keyid, STATEMENT] = key.public.crypto
    return scene.visits(key, statement=statement, **how)


def code_of(answer):
    return json.loads(answer.body)["code"]


def test_sec_30_a_proxy_manager_visits_with_its_own_key_and_its_statement(scene):
    async def story():
        proxy = proxy_of(scene)
        assert (await proxy.ask()).body == b"report 1"
        assert (await proxy.ask(body=b"directive")).body == b"report 2"
        assert scene.service.visitor.keyid == proxy.director.keyid
        # The Manager's visits go on beside it, each with a nonce of its own.
        assert (await scene.visitor.ask()).body == b"report 3"
        assert (await proxy.ask(again=False)).body == b"report 4"

    scene.run(story)


@pytest.mark.parametrize("statement", [b"", b"another"])
def test_sec_30_without_its_statement_a_proxy_manager_is_a_stranger(scene, statement):
    async def story():
        proxy = proxy_of(scene, statement=statement)
        answer = await proxy.ask(body=b"directive")
        assert (answer.status, code_of(answer)) == (403, "visit.stranger")
        assert "Signature" not in answer.headers
        assert scene.world.bodies == []

    scene.run(story)


def test_sec_30_a_statement_lets_nobody_in_who_has_another_key(scene):
    async def story():
        proxy_of(scene)
        thief = scene.visits(SigningKey.create(), statement=STATEMENT)
        assert code_of(await thief.ask()) == "visit.stranger"

    scene.run(story)


@pytest.mark.parametrize("text", ["", "?", "=", "A" * (VISITOR_LIMIT * 4 // 3 + 5), "\xff"])
def test_sec_2_what_can_be_no_statement_costs_no_look_at_it(scene, text):
    async def story():
        looked = []
        scene.world.find_visitor = lambda *said, **_how: looked.append(said)
        proxy = proxy_of(scene)
        request = proxy.request()
        request.headers[VISITOR.lower()] = text
        answer = await scene.service.answer(request)
        assert (answer.status, code_of(answer), looked) == (403, "visit.stranger", [])
        assert not scene.service.heeds(request.headers)

    scene.run(story)


def test_sec_8_statements_of_strangers_are_looked_at_so_often_a_second_and_a_visitor_comes_through(scene):
    async def story():
        await scene.visitor.ask()
        looked = []
        scene.world.find_visitor = lambda *said, **_how: looked.append(said)
        stranger = scene.visits(SigningKey.create(), statement=STATEMENT)
        answers = [await scene.service.answer(stranger.request()) for _ in range(200)]
        burst = int(entry.SOURCE_CHECKS * entry.SOURCE_BURST)
        # The visitor's first request was from the same address.
        assert len(looked) == burst - 1
        assert [answer.status for answer in answers].count(429) == 200 - len(looked)
        assert (await scene.visitor.ask(again=False)).status == 200
        await pass_time(1.0)
        for _ in range(200):
            await scene.service.answer(stranger.request())
        assert len(looked) <= burst + 2 * entry.SOURCE_CHECKS

    scene.run(story)


def test_a_proxy_manager_that_has_the_nonce_has_a_share_that_no_stranger_takes(scene):
    async def story():
        proxy = proxy_of(scene)
        await proxy.ask()
        stranger = scene.visits(SigningKey.create(), statement=STATEMENT)
        for _ in range(200):
            await scene.service.answer(stranger.request())
        assert (await proxy.ask(again=False)).status == 200

    scene.run(story)


def test_the_body_of_who_shows_a_statement_is_read_and_of_who_shows_none_is_not(scene):
    async def story():
        assert scene.service.heeds(proxy_of(scene).request().headers)
        assert not scene.service.heeds(proxy_of(scene, statement=b"").request().headers)
        bare = proxy_of(scene).request().headers
        assert bare[VISITOR.lower()] == base64.b64encode(STATEMENT).decode()

    scene.run(story)


def test_a_held_link_of_a_proxy_manager_works_by_its_own_key(scene):
    async def story():
        proxy = proxy_of(scene)
        link = await proxy.hold()
        link.say(b"order")
        await asyncio.sleep(0)
        await pass_time(0.1)
        assert link.heard() == [b"heard order"]
        assert scene.service.visitor.operation == Operation.HOLD

    scene.run(story)


def test_sec_30_a_held_link_ends_at_the_first_frame_after_the_agent_was_taken_from_its_visitor(scene):
    async def story():
        proxy = proxy_of(scene)
        link = await proxy.hold()
        link.say(b"order")
        await pass_time(0.1)
        assert link.heard() == [b"heard order"]
        scene.world.visitors.clear()
        with pytest.raises(VisitError, match="may not visit this agent any more"):
            link.say(b"another")
        assert scene.service.refused.code == "visit.stranger"

    scene.run(story)


def test_sec_25_a_link_is_not_opened_by_another_operation(scene):
    async def story():
        answer = await proxy_of(scene).ask(Operation.VISIT, method="GET")
        assert code_of(answer) == "visit.operation"

    scene.run(story)
