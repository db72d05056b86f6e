"""``popham draft``."""

import json

import pytest
from tests.cli.test_plan import COSTS

FILE = "apiVersion: popham/v1\nkind: Group\nmetadata: {name: paris}\n"
ONE = {
    "document": "policy/motd",
    "author": "bob",
    "at": 1_800_000_000.0,
    "edition": 7,
    "moved": False,
    "text": "kind: Policy\n",
}
DRAFT = {
    "name": "spring",
    "author": "ada",
    "at": 1_800_000_000.0,
    "edition": 12,
    "message": "cleaning",
    "documents": [ONE, ONE | {"document": "group/paris", "author": "ada", "moved": True}],
    "changes": [],
}
RESULT = {
    "dry_run": True,
    "changes": [
        {
            "kind": "Policy",
            "name": "motd",
            "action": "changed",
            "discarded": [],
            "agents": 0,
            "difference": "",
        }
    ],
    "groups": [{"group": "paris", "before": 1, "after": 2, "agents": 3}],
    "warnings": ["it is wide"],
    "costs": COSTS,
    "base": {"policy/motd": "abc"},
}
PLAN = {"edition": 12, "moved": [], "plan": RESULT}


@pytest.fixture
def paris(tmp_path):
    path = tmp_path / "paris.yaml"
    path.write_text(FILE)
    return str(path)


def body_of(manager, route):
    """Return the body of the last request for ``METHOD /path``."""
    method, path = route.split()
    return [
        body for verb, where, body in manager.requests if (verb, where.partition("?")[0]) == (method, path)
    ][-1]


def test_f_y1_save_says_what_became_of_each_document(popham, manager, paris):
    changes = [{"document": "group/paris", "action": "added"}]
    manager.on("PUT /drafts/spring", DRAFT | {"changes": changes})
    found = popham("draft", "save", "spring", "-f", paris, "-m", "cleaning")
    assert found.exit_code == 0, found.stderr
    assert found.stdout == "group/paris added\ndraft spring, edition 12: 2 documents\n"
    assert "Warning: group/paris has changed since it came into the draft\n" in found.stderr
    assert "popham draft publish spring" in found.stderr
    assert body_of(manager, "PUT /drafts/spring") == {
        "files": [{"name": paris, "text": FILE}],
        "message": "cleaning",
    }


def test_save_sends_what_its_options_say(popham, manager, paris):
    manager.on("PUT /drafts/spring", DRAFT)
    options = ("--replace", "--seen", "0", "--replace-theirs", "--force", "-o", "json")
    found = popham("draft", "save", "spring", "-f", paris, *options)
    assert json.loads(found.stdout) == DRAFT
    said = {"only": True, "seen": 0, "theirs": True, "force": True}
    assert body_of(manager, "PUT /drafts/spring").items() >= said.items()


def test_f_y10_a_conflict_ends_with_1_and_says_what_to_do(popham, manager, paris):
    detail = "draft 'spring' has a text which you did not save: policy/motd (by bob at 2027)"
    manager.fail("PUT /drafts/spring", 409, "conflict.draft", detail, "Look at it")
    found = popham("draft", "save", "spring", "-f", paris)
    assert found.exit_code == 1
    assert found.stderr == f"popham: {detail} (conflict.draft). Look at it.\n"


@pytest.mark.parametrize("command", [("draft", "list"), ("get", "drafts")])
def test_lists_show_whose_drafts_there_are_and_what_moved(popham, manager, command):
    manager.on("GET /drafts", {"items": [DRAFT]}, {"items": []})
    titles, row = popham(*command).stdout.splitlines()
    assert titles.split() == ["NAME", "DOCUMENTS", "AUTHORS", "CHANGED", "EDITION", "MOVED", "MESSAGE"]
    assert row.split() == ["spring", "2", "ada,bob", "2027-01-15T08:00:00Z", "12", "1", "cleaning"]
    empty = popham(*command)
    assert (empty.stdout, empty.exit_code) == ("", 0)
    assert "popham draft save" in empty.stderr


def test_show_prints_yaml_that_can_be_applied_with_who_saved_it(popham, manager):
    manager.on("GET /drafts/spring", DRAFT)
    lines = popham("draft", "show", "spring").stdout.splitlines()
    assert lines == [
        "# draft spring, edition 12: cleaning",
        "---",
        "# policy/motd: saved by bob at 2027-01-15T08:00:00Z",
        "kind: Policy",
        "---",
        "# group/paris: saved by ada at 2027-01-15T08:00:00Z; its object has changed since",
        "kind: Policy",
    ]
    assert json.loads(popham("draft", "show", "spring", "-o", "json").stdout) == DRAFT


def test_f_y1_plan_prints_what_popham_plan_does(popham, manager, paris):
    manager.on("POST /drafts/spring/plan", PLAN)
    manager.on("POST /apply", RESULT)
    found = popham("draft", "plan", "spring", "--detailed-exitcode", "--diff")
    same = popham("plan", "-f", paris, "--detailed-exitcode", "--diff")
    assert (found.stdout, found.exit_code) == (same.stdout, same.exit_code) == (found.stdout, 2)
    assert "Make it so: popham draft publish spring --seen 12" in found.stderr


def test_f_y10_plan_says_what_moved_and_how_to_go_on(popham, manager):
    manager.on("POST /drafts/spring/plan", PLAN | {"moved": ["policy/motd (by bob at 2027)"]})
    found = popham("draft", "plan", "spring")
    assert "Warning: policy/motd (by bob at 2027) has changed since it came into the draft\n" in found.stderr
    assert "popham draft rebase spring" in found.stderr
    assert found.exit_code == 0


def test_f_y1_publish_asks_on_a_terminal_and_publishes_what_was_shown(popham, manager):
    manager.on("POST /drafts/spring/plan", PLAN)
    manager.on("POST /drafts/spring/publish", RESULT | {"dry_run": False})
    refused = popham("draft", "publish", "spring", asked=True, stdin="no\n")
    assert refused.exit_code == 1
    assert (
        "  policy motd changed\n  paris: serial 1 -> 2, 3 agents\n  Warning: it is wide\n" in refused.stderr
    )
    assert "conflict.not_confirmed" in refused.stderr
    found = popham("draft", "publish", "spring", "--all", "-m", "OPS-7", asked=True, stdin="spring\n")
    assert found.exit_code == 0, found.stderr
    assert found.stdout == "policy motd changed\nparis: serial 1 -> 2, 3 agents\n"
    assert body_of(manager, "POST /drafts/spring/plan") == {"everyone": True}
    assert body_of(manager, "POST /drafts/spring/publish") == {
        "everyone": True,
        "message": "OPS-7",
        "seen": 12,
        "base": {"policy/motd": "abc"},
    }


def test_publish_of_a_script_does_not_ask_and_may_begin_a_rollout(popham, manager):
    manager.on("POST /drafts/spring/publish", RESULT | {"dry_run": False})
    for choice in ({"asked": False}, {"asked": True}):
        options = ("--seen", "12", "--canary", "1%", "--soak", "5m", "--take-over", "--yes")
        assert popham("draft", "publish", "spring", *options, **choice).exit_code == 0
        assert body_of(manager, "POST /drafts/spring/publish") == {
            "seen": 12,
            "take_over": True,
            "rollout": {"waves": [0.01], "soak": 300.0},
        }
    assert popham("draft", "publish", "spring", "--all", "--canary", "1%").exit_code == 64


def test_f_y10_what_is_refused_anyway_is_not_asked_about(popham, manager):
    manager.on("POST /drafts/spring/plan", PLAN | {"moved": ["policy/motd (by bob at 2027)"]})
    manager.fail("POST /drafts/spring/publish", 409, "conflict.base", "this has changed")
    found = popham("draft", "publish", "spring", asked=True)
    assert found.stderr == "popham: this has changed (conflict.base)\n"


def test_rebase_says_what_had_changed(popham, manager):
    moved = {"edition": 13, "moved": ["policy/motd (by bob at 2027)"]}
    manager.on("POST /drafts/spring/rebase", moved, {"edition": 13, "moved": []}, moved)
    assert popham("draft", "rebase", "spring").stdout == (
        "policy/motd (by bob at 2027) had changed\ndraft spring, edition 13: rests on what is there now\n"
    )
    assert "nothing has changed" in popham("draft", "rebase", "spring").stdout
    assert json.loads(popham("draft", "rebase", "spring", "-o", "json").stdout) == moved


def test_remove_takes_documents_out(popham, manager):
    gone = DRAFT | {"documents": [], "changes": [{"document": "policy/motd", "action": "removed"}]}
    manager.on("POST /drafts/spring/remove", gone)
    found = popham("draft", "remove", "spring", "policy/motd", "--seen", "7")
    assert found.stdout == "policy/motd removed\ndraft spring has nothing left, and is gone\n"
    assert body_of(manager, "POST /drafts/spring/remove") == {"documents": ["policy/motd"], "seen": 7}


def test_f_y10_discard_shows_what_is_lost_and_names_that_edition(popham, manager):
    manager.on("GET /drafts/spring", DRAFT)
    manager.on("DELETE /drafts/spring", None, status=204)
    found = popham("draft", "discard", "spring", stdin="spring\n")
    assert found.stdout == "draft spring discarded\n"
    assert "  policy/motd: saved by bob at 2027-01-15T08:00:00Z\n" in found.stderr
    assert manager.requests[-1][1] == "/drafts/spring?seen=12"
    assert popham("draft", "discard", "spring", "--yes").exit_code == 0
    assert manager.requests[-1][1] == "/drafts/spring"
    assert popham("draft", "discard", "spring", "--yes", "--replace-theirs").exit_code == 0
    assert manager.requests[-1][1] == "/drafts/spring?theirs=true"
