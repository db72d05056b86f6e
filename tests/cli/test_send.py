"""``popham send``: what it asks, prints and ends with."""

import pytest

NOW = 1_800_000_000.0
SEND = {
    "name": "op9",
    "kind": "send",
    "args": {},
    "author": "ada",
    "at": NOW,
    "message": "",
    "state": "open",
    "counts": {"queued": 2, "sent": 1, "succeeded": 4},
    "targets": 7,
    "unknown": [],
    "ambiguous": [],
    "retry_of": "",
    "asked": {"groups": ["paris"]},
    "expires": None,
}
APPLIED = {
    "changes": [{"kind": "Policy", "name": "motd", "action": "changed", "discarded": [], "agents": 7}],
    "groups": [],
    "warnings": ["look twice"],
    "rollout": "r4",
}
YAML = "apiVersion: popham/v1\nkind: Policy\nmetadata: {name: motd}\nspec: {type: files, files: []}\n"


@pytest.fixture
def popham(popham):
    """Return a function that runs a command line, and waits for nothing between two looks."""

    def run(*args):
        return popham(*args, wait=lambda _seconds: None)

    return run


def test_f_y9_a_send_says_pending_sent_applied_and_failed(popham, manager):
    manager.on("POST /operations", SEND, status=201)
    manager.on("GET /operations/op9", SEND)
    found = popham("send", "-g", "paris")
    asked = manager.requests[0][2]
    assert (asked["kind"], asked["groups"], asked["args"]) == ("send", ["paris"], {})
    assert found.stdout == "op9 send: 4 of 7 applied, 2 pending, 1 sent\n"
    assert found.exit_code == 0


def test_f_y8_a_dry_run_lists_the_targets_beforehand_and_changes_nothing(popham, manager):
    target = {
        "uid": "u1",
        "name": "web-1",
        "group": "paris",
        "why": "named",
        "way": "visit",
        "until": NOW,
        "refusal": None,
    }
    manager.on("POST /operations", {"targets": [target], "unknown": [], "ambiguous": [], "warnings": []})
    found = popham("send", "-s", "web-1", "--dry-run")
    assert "web-1  paris  named  visit  2027-01-15T08:00:00Z" in found.stdout
    assert manager.requests[0][2]["dry_run"] is True
    assert found.exit_code == 0


def test_f_y9_no_apply_publishes_a_candidate_that_nobody_uses_yet(popham, manager, tmp_path):
    file = tmp_path / "motd.yaml"
    file.write_text(YAML)
    manager.on("POST /apply", APPLIED)
    held = SEND | {"args": {"no_apply": True, "rollout": "r4"}}
    manager.on("POST /operations", held, status=201)
    manager.on("GET /operations/op9", held)
    found = popham("send", "-g", "paris", "-f", str(file), "--no-apply", "-m", "for tonight")
    method, path, body = manager.requests[0]
    assert (method, path) == ("POST", "/apply?dry_run=false&hold=true")
    assert body["message"] == "for tonight"
    assert manager.requests[1][2]["args"] == {"no_apply": True, "rollout": "r4"}
    assert found.stdout == "op9 send: 4 of 7 hold it, 2 pending, 1 sent\n"
    assert "Warning: look twice" in found.stderr


def test_a_draft_is_published_first(popham, manager):
    manager.on("POST /drafts/night/publish", APPLIED | {"rollout": ""})
    manager.on("POST /operations", SEND, status=201)
    manager.on("GET /operations/op9", SEND)
    assert popham("send", "-g", "paris", "--draft", "night").exit_code == 0
    assert [request[1] for request in manager.requests[:2]] == ["/drafts/night/publish", "/operations"]


def test_no_apply_needs_something_that_is_not_published_yet(popham, manager):
    found = popham("send", "-g", "paris", "--no-apply")
    assert (found.exit_code, "name -f or --draft" in found.stderr) == (64, True)
    assert manager.requests == []


def test_a_failed_target_is_the_exit_code(popham, manager):
    ended = SEND | {"state": "over", "counts": {"succeeded": 6, "failed": 1}}
    manager.on("POST /operations", ended, status=201)
    manager.on("GET /operations/op9/targets", {"items": [], "cursor": ""})
    assert popham("send", "-g", "paris").exit_code == 1
