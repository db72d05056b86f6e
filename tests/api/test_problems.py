"""Errors: one form, one table of status codes, nothing internal."""

import json

import pytest

from popham import errors
from popham.api.app import create_app
from popham.api.problems import STATUS, problem, status_of
from popham.errors import (
    ConfigError,
    DefinitionError,
    GrantError,
    LinkError,
    PophamError,
    StateError,
    StreamError,
    TrustError,
)
from popham.model.findings import DefinitionSetError

FAMILIES = [family for family in PophamError.__subclasses__() if family.__module__ == errors.__name__]


def body_of(error):
    answer = problem(error)
    return answer, json.loads(answer.body)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_status(family):
    ours = {ConfigError, StreamError, TrustError}
    status = status_of(family("anything", "it is so"))
    assert (status == 500) == (family in ours)
    assert status >= 400


def test_every_line_of_the_table_names_a_family_that_exists():
    areas = {family.area for family in FAMILIES}
    assert {code.partition(".")[0] for code in STATUS} <= areas


def test_a_problem_has_code_sentence_and_hint():
    answer, body = body_of(DefinitionError("mode", "no mode", "Write one", source="a.yaml", line=3))
    assert answer.headers["content-type"] == "application/problem+json"
    assert body == {
        "type": "about:blank",
        "title": "Unprocessable Entity",
        "status": 422,
        "code": "definition.mode",
        "detail": "no mode",
        "hint": "Write one",
        "retryable": False,
        "source": "a.yaml",
        "line": 3,
    }


def test_all_errors_of_a_set_are_listed():
    found = [
        DefinitionError("mode", "a", source="x", line=1),
        DefinitionError("path", "b", source="y", line=2),
    ]
    _, body = body_of(DefinitionSetError(found))
    assert (body["code"], [entry["code"] for entry in body["errors"]]) == (
        "definition.mode",
        ["definition.mode", "definition.path"],
    )


@pytest.mark.parametrize("reason", ["missing", "expired", "unknown_token"])
def test_who_is_not_recognised_is_asked_for_a_token(reason):
    answer, _ = body_of(GrantError(reason, "who are you"))
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="popham"')


def test_retry_after_is_whole_seconds_rounded_up():
    answer, body = body_of(LinkError("busy", "later", retry_after=1.2))
    assert (answer.status_code, answer.headers["retry-after"], body["retryable"]) == (503, "2", True)


@pytest.mark.parametrize(
    "error", [StateError("disk", "/var/lib/popham is full"), ConfigError("x", "/etc/secret")]
)
def test_a_5xx_carries_no_internal_text(error, caplog):
    answer, body = body_of(error)
    assert answer.status_code >= 500
    assert body["code"] == error.code
    assert "/" not in body["detail"]
    assert error.problem in caplog.text


async def test_a_fault_of_ours_is_500_without_its_text(rig):
    class Faulty:
        authenticate = rig.service.authenticate

        async def groups(self, grant):
            raise RuntimeError("secret of the house")

    answer = await rig.client(app=create_app(Faulty())).get("/api/v1/groups")
    assert (answer.status_code, answer.json()["code"]) == (500, "state.internal")
    assert "secret" not in answer.text
