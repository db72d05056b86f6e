"""What a visitor gets who asks for frames of a stream, also through CGI."""

import json
import random

import pytest

from popham.downstream.service import STREAM_LIMIT
from popham.errors import StreamError, WireError
from popham.net.signing import Operation
from popham.streams.frame import Stream
from popham.trust.keys import SigningKey

from .through_cgi import through_cgi
from .visitors import Scene

FRAMES = b"frames" * 1000


@pytest.fixture
def scene():
    made = Scene()
    made.world.streams = {Stream.LOGS: FRAMES}
    return made


async def ask(scene, query="stream=logs&limit=5000", **more):
    return await scene.visitor.ask(Operation.STREAM, b"standing", query=query, **more)


def test_f_d2_frames_are_answered_whole_and_signed_from_where_the_visitor_says_that_it_is(scene):
    async def story():
        answer = await ask(scene)
        assert (answer.status, answer.body) == (200, FRAMES)
        assert answer.content_type == "application/vnd.popham.frames"
        assert "Signature" in answer.headers  # and verified by the visitor
        assert scene.world.streamed == [(Stream.LOGS, b"standing", 5000)]
        assert scene.service.visitor.operation == "stream"
        assert scene.world.bodies == scene.world.contents == []

    scene.run(story)


def test_where_nothing_waits_the_answer_is_empty(scene):
    async def story():
        answer = await ask(scene, "stream=events&limit=1")
        assert (answer.status, answer.body) == (200, b"")
        scene.world.streams[Stream.EVENTS] = None
        answer = await ask(scene, "stream=events&limit=1")
        assert (answer.status, answer.body) == (204, b""), "nor in any other stream"
        assert "Signature" in answer.headers

    scene.run(story)


def test_no_more_is_asked_of_the_agent_than_an_answer_holds(scene):
    async def story():
        await ask(scene, "stream=logs&limit=999999999")
        assert scene.world.streamed == [(Stream.LOGS, b"standing", STREAM_LIMIT)]

    scene.run(story)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "stream=logs",
        "stream=colours&limit=9",
        "limit=9&stream=logs",
        "stream=logs&limit=0",
        "stream=logs&limit=-1",
    ],
)
def test_sec_which_stream_is_meant_has_to_be_said(scene, query):
    async def story():
        answer = await ask(scene, query)
        assert (answer.status, json.loads(answer.body)["code"]) == (400, "wire.stream")
        assert scene.world.streamed == []

    scene.run(story)


@pytest.mark.parametrize(
    ("fault", "status"),
    [(WireError("standing", "x"), 400), (StreamError("damaged", "x"), 500), (OSError(), 500)],
)
def test_frames_that_cannot_be_read_are_refused_and_the_refusal_is_signed(scene, fault, status):
    async def story():
        scene.world.streams[Stream.LOGS] = fault
        answer = await ask(scene)
        assert answer.status == status
        assert "Signature" in answer.headers

    scene.run(story)


def test_sec_a_captured_question_brings_frames_to_nobody_and_acknowledges_nothing(scene):
    async def story():
        await scene.visitor.ask()
        captured = scene.visitor.request(Operation.STREAM, b"standing", query="stream=logs&limit=5000")
        assert (await scene.service.answer(captured)).body == FRAMES
        for _ in range(2):
            replayed = await scene.service.answer(captured)
            assert (replayed.status, replayed.body) == (428, b"")
        stranger = scene.visits(SigningKey.create())
        answer = await stranger.ask(Operation.STREAM, b"standing", query="stream=logs&limit=5000")
        assert (answer.status, json.loads(answer.body)["code"]) == (403, "visit.stranger")
        assert len(scene.world.streamed) == 1

    scene.run(story)


def test_frames_are_no_upgrade(scene):
    async def story():
        answer = await ask(scene, method="GET")
        assert (answer.status, json.loads(answer.body)["code"]) == (400, "visit.operation")

    scene.run(story)


async def test_the_most_frames_of_an_answer_pass_through_cgi_and_are_not_compressed_again(tmp_path):
    body = bytes(1000) + random.Random(1).randbytes(STREAM_LIMIT - 1000)
    async with through_cgi(tmp_path) as (scene, ask_by_cgi):
        scene.world.streams = {Stream.LOGS: body}
        for _ in range(2):  # the first brings the nonce
            answer = await ask_by_cgi(Operation.STREAM, b"standing", query="stream=logs&limit=999999999")
        assert (answer.status, answer.body) == (200, body)
        assert "Content-Encoding" not in answer.headers
        assert scene.world.streamed == [(Stream.LOGS, b"standing", STREAM_LIMIT)]
