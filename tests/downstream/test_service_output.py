"""What a visitor gets who asks for the output of an operation, also through CGI."""

import json
import random

import pytest

from popham.model.names import digest
from popham.model.operation import OUTPUT_LIMIT
from popham.net.signing import Operation
from popham.trust.keys import SigningKey

from .through_cgi import through_cgi
from .visitors import Scene

BODY = b"what it printed"
NAME = digest(BODY)


@pytest.fixture
def scene():
    made = Scene()
    made.world.outputs = {NAME: BODY}
    return made


async def ask(scene, sha256=NAME, **more):
    return await scene.visitor.ask(Operation.OUTPUT, query=f"sha256={sha256}", **more)


def test_f_o4_an_output_is_answered_whole_and_signed(scene):
    async def story():
        answer = await ask(scene)
        assert (answer.status, answer.body, answer.content_type) == (200, BODY, "application/octet-stream")
        assert "Signature" in answer.headers  # and verified by the visitor
        assert scene.service.visitor.operation == "output"
        assert scene.world.bodies == scene.world.contents == []

    scene.run(story)


def test_an_empty_output_is_an_answer_too(scene):
    async def story():
        scene.world.outputs[digest(b"")] = b""
        answer = await ask(scene, digest(b""))
        assert (answer.status, answer.body) == (200, b"")

    scene.run(story)


def test_an_output_that_is_not_kept_is_refused_and_the_refusal_is_signed(scene):
    async def story():
        answer = await ask(scene, "0" * 64)
        assert (answer.status, json.loads(answer.body)["code"]) == (404, "visit.no_output")
        assert "Signature" in answer.headers
        assert (await ask(scene, again=False)).status == 200, "the nonce goes on"

    scene.run(story)


@pytest.mark.parametrize("query", ["", "sha256=abc", f"sha256={NAME}&x=1", f"sha256={NAME.upper()}"])
def test_which_output_is_meant_has_to_be_said(scene, query):
    async def story():
        answer = await scene.visitor.ask(Operation.OUTPUT, query=query)
        assert (answer.status, json.loads(answer.body)["code"]) == (400, "wire.content")

    scene.run(story)


def test_sec_a_captured_request_brings_the_output_to_nobody_else(scene):
    async def story():
        await scene.visitor.ask()
        captured = scene.visitor.request(Operation.OUTPUT, query=f"sha256={NAME}")
        assert (await scene.service.answer(captured)).body == BODY
        for _ in range(2):
            replayed = await scene.service.answer(captured)
            assert (replayed.status, replayed.body) == (428, b"")

    scene.run(story)


def test_sec_a_stranger_gets_no_output(scene):
    async def story():
        stranger = scene.visits(SigningKey.create())
        answer = await stranger.ask(Operation.OUTPUT, query=f"sha256={NAME}")
        assert (answer.status, json.loads(answer.body)["code"]) == (403, "visit.stranger")

    scene.run(story)


def test_an_output_is_no_upgrade(scene):
    async def story():
        answer = await scene.visitor.ask(Operation.OUTPUT, method="GET", query=f"sha256={NAME}")
        assert (answer.status, json.loads(answer.body)["code"]) == (400, "visit.operation")

    scene.run(story)


async def test_the_largest_output_passes_through_cgi(tmp_path):
    body = random.Random(1).randbytes(OUTPUT_LIMIT)
    async with through_cgi(tmp_path) as (scene, ask_by_cgi):
        scene.world.outputs = {digest(body): body}
        for _ in range(2):  # the first brings the nonce
            answer = await ask_by_cgi(Operation.OUTPUT, query=f"sha256={digest(body)}")
        assert (answer.status, answer.body) == (200, body)
