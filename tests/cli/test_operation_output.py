"""``popham op output``: what was printed is shown wherever it is, and what is on its way is waited for."""

import httpx2
import pytest

from popham.cli.operation_output import TRIES

NAMED = {"sha256": "0" * 64, "length": 5, "left_out": 0, "kept": False}


@pytest.fixture
def target():
    return {"name": "web-1", "uid": "u1", "text": "say ended with exit status 0: hello\nyou", "output": None}


@pytest.fixture
def answers(manager, target):
    """What the Manager answers when it is asked for the output; the last one again and again."""
    problem = {"code": "not_found.output", "detail": "there is no output", "hint": "It has not come yet"}
    answers = [httpx2.Response(404, json=problem)]

    def answer(request):
        if request.url.path.endswith("/output"):
            return answers.pop(0) if len(answers) > 1 else answers[0]
        return httpx2.Response(200, json={"items": [target], "cursor": ""})

    manager.handle = answer
    return answers


def test_what_had_room_in_the_result_is_printed(popham, answers):
    for agent in ("web-1", "u1"):
        found = popham("op", "output", "op5", agent)
        assert (found.exit_code, found.stdout) == (0, "say ended with exit status 0: hello\nyou\n")
    assert popham("op", "output", "op5", "web-2").exit_code == 1


def test_who_said_nothing_has_no_output(popham, answers, target):
    target["text"] = ""
    assert "there is no output (not_found.output)" in popham("op", "output", "op5", "web-1").stderr


def test_an_output_that_is_on_its_way_is_waited_for_a_while(popham, answers, target):
    target["output"] = NAMED
    waited = []
    assert popham("op", "output", "op5", "web-1", wait=waited.append).exit_code == 1
    assert len(waited) == TRIES
    answers.append(httpx2.Response(200, content=b"hello"))
    assert popham("op", "output", "op5", "web-1", wait=waited.append).stdout == "hello"
    assert len(waited) == TRIES + 1
