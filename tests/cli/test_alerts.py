"""``popham get alerts`` and ``popham silence``: what they ask and print."""

from dataclasses import fields

from tests.cli.conftest import UIDS

from popham.manager.alerts.views import AlertView, SilenceView

ALERT = {
    "id": f"{UIDS[1]} disk /var",
    "uid": UIDS[1],
    "agent": "web-1",
    "group": "paris",
    "item": "disk",
    "resource": "/var",
    "state": "error",
    "since": 1_800_000_000.0,
    "text": "disk of /var is 0.95, above 0.9",
    "note": "See page 7.",
    "value": "0.95",
    "bound": "above 0.9",
    "thresholds": {"full": "error"},
    "told": {"log": "error", "duty": "error"},
    "silence": "",
}
SILENCE = {
    "name": "night",
    "begins": 1_800_000_000.0,
    "ends": 1_800_007_200.0,
    "state": "on",
    "group": "paris",
    "selector": "",
    "item": "disk",
    "resource": "",
    "author": "ada",
    "message": "New disks",
}


def test_what_these_tests_show_has_the_fields_of_the_api():
    assert set(ALERT) == {field.name for field in fields(AlertView)}
    assert set(SILENCE) == {field.name for field in fields(SilenceView)}


def test_f_d10_alerts_are_listed_and_asked_for_by_agent_group_and_label(popham, manager):
    manager.on("GET /alerts", {"items": [ALERT], "cursor": ""})
    found = popham("get", "alerts", "web-1", "-g", "paris", "-l", "env=prod", "--all", "-o", "wide")
    assert "2027-01-15T08:00:00Z  error  web-1  disk  /var" in found.stdout
    assert "duty, log" in found.stdout
    assert "See page 7." in found.stdout
    _, path, _ = manager.requests[0]
    for part in ("agent=web-1", "group=paris", "selector=env%3Dprod", "all=true"):
        assert part in path or part in str(manager.requests)
    manager.answers.clear()
    manager.on("GET /alerts", {"items": [], "cursor": ""})
    assert "No open alerts." in popham("get", "alerts").stderr


def test_f_d10_a_silence_is_made_listed_and_ended(popham, manager):
    manager.on("POST /silences", SILENCE, status=201)
    manager.on("GET /silences", {"items": [SILENCE]})
    manager.on("DELETE /silences/night", SILENCE)
    args = ("-g", "paris", "--item", "disk", "--for", "2h", "-m", "New disks")
    made = popham("silence", "create", "night", *args)
    assert made.stdout == "silence night is on until 2027-01-15T10:00:00Z\n"
    assert manager.requests[0][2] == {
        "name": "night", "group": "paris", "selector": "", "item": "disk", "resource": "",
        "message": "New disks", "lifetime": 7200.0,
    }  # fmt: skip
    assert "night  on" in popham("silence", "list").stdout
    assert popham("silence", "end", "night").stdout == "silence night ended\n"


def test_a_silence_of_everybody_is_asked_for_by_name(popham):
    found = popham("silence", "create", "night", "--for", "2h", "-m", "why")
    assert found.exit_code == 64
    assert "--group fleet" in found.stderr
