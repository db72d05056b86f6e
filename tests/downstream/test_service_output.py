"""What a visitor gets who asks for the output of an operation, also through CGI."""

import asyncio
import json
import os
import random

import pytest

from popham.downstream import cgi
from popham.downstream.service import VisitService
from popham.model.names import digest
from popham.model.operation import OUTPUT_LIMIT
from popham.net.seam import Limits, Response
from popham.net.signing import Operation
from popham.net.visited import VisitListener
from popham.trust.keys import SigningKey

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
    scene = Scene()
    body = random.Random(1).randbytes(OUTPUT_LIMIT)
    scene.world.outputs = {digest(body): body}
    scene.service = service = VisitService(scene.world, clock=scene.clock)
    scene.visitor = scene.visits(scene.director)
    listener = VisitListener(service, context=None, limits=Limits(), clock=scene.clock, rng=random.Random(1))
    await listener.start_unix(tmp_path / "visit.sock")

    async def through_cgi(request):
        environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
        environ |= {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "/SQC",
            "PATH_INFO": "/v1/visit",
            "QUERY_STRING": request.raw_query,
            "CONTENT_LENGTH": "0",
        }
        nothing = os.open(os.devnull, os.O_RDONLY)
        end = cgi.time.monotonic() + 30.0
        try:
            found = await asyncio.to_thread(cgi.carry, environ, nothing, str(tmp_path / "visit.sock"), end)
        finally:
            os.close(nothing)
        head, _, content = found.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return Response(status=int(status.split()[1]), headers=headers, body=content)

    try:
        for _ in range(2):  # the first brings the nonce
            request = scene.visitor.request(Operation.OUTPUT, query=f"sha256={digest(body)}")
            answer = await through_cgi(request)
            scene.visitor.believe(request, answer)
        assert (answer.status, answer.body) == (200, body)
    finally:
        await listener.stop()
        await service.aclose()
