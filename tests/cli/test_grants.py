"""``popham grant``: what it asks and prints."""

import json
from dataclasses import fields

import pytest

from popham.manager.grant_views import GrantView

GRANT = {
    "id": "0123456789abcdef",
    "name": "olga",
    "role": "operator",
    "groups": ["paris"],
    "operations": [],
    "state": "usable",
    "created": 1_800_000_000.0,
    "expires": 1_800_086_400.0,
}


def test_the_token_of_these_tests_has_the_fields_of_the_api():
    assert set(GRANT) == {field.name for field in fields(GrantView)}


def test_f_o5_a_token_is_made_and_printed_alone_on_stdout(popham, manager):
    manager.on("POST /grants", {"grant": GRANT, "secret": "pop_a_b"}, status=201)
    found = popham("grant", "create", "olga", "--role", "operator", "-g", "paris", "--lifetime", "30d")
    assert (found.exit_code, found.stdout) == (0, "pop_a_b\n")
    assert (
        "API token 0123456789abcdef of olga: operator, in paris and below, until 2027-01-16" in found.stderr
    )
    assert "It is shown this once." in found.stderr
    assert manager.requests[0][2] == {
        "name": "olga", "role": "operator", "groups": ["paris"], "operations": [], "lifetime": 30 * 86400.0,
    }  # fmt: skip


def test_f_o5_limits_may_be_repeated_and_are_told(popham, manager):
    made = GRANT | {"groups": ["paris", "rome"], "operations": ["check-in", "run"]}
    manager.on("POST /grants", {"grant": made, "secret": "pop_a_b"}, status=201)
    args = ("-g", "paris", "-g", "rome", "--operation", "check-in", "--operation", "run")
    found = popham("grant", "create", "olga", "--role", "operator", *args)
    assert "operator, in paris, rome and below, for check-in, run only, until" in found.stderr
    sent = manager.requests[0][2]
    assert (sent["groups"], sent["operations"]) == (["paris", "rome"], ["check-in", "run"])
    assert sent["lifetime"] is None


def test_f_o5_tokens_are_listed_with_their_limits(popham, manager):
    admin = GRANT | {"name": "ada", "role": "admin", "groups": [], "state": "revoked"}
    manager.on("GET /grants", {"items": [GRANT, admin]})
    found = popham("grant", "list")
    first, second = (line.split() for line in found.stdout.splitlines()[1:])
    assert first[1:] == ["olga", "operator", "usable", "paris", "all", "2027-01-16T08:00:00Z"]
    assert second[1:] == ["ada", "admin", "revoked", "-", "-", "2027-01-16T08:00:00Z"]
    assert json.loads(popham("grant", "list", "-o", "json").stdout) == {"items": [GRANT, admin]}


def test_f_o5_tokens_are_revoked_by_id(popham, manager):
    for token in ("a", "b"):
        manager.on(f"DELETE /grants/{token}", None, status=204)
    found = popham("grant", "revoke", "a", "b")
    assert found.stdout == "API token a revoked\nAPI token b revoked\n"


@pytest.mark.parametrize("args", [("olga",), ("olga", "--role", "operator", "--lifetime", "30")])
def test_a_token_without_a_role_or_with_a_lifetime_without_a_unit_is_not_asked_for(popham, manager, args):
    found = popham("grant", "create", *args)
    assert (found.exit_code, manager.requests) == (64, [])
