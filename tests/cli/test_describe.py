"""``popham describe``: what it says of rollouts, drift and where an object is managed."""

import pytest

NOW = 1_800_000_000.0


def test_describe_agent_shows_rollout_drift_withheld_policies_and_the_health_window(popham, manager, agent):
    detail = {
        "drifted": ["/etc/popham.d/motd"],
        "drift_path": "/etc/popham.d/motd",
        "drift_error": "it is a directory",
        "drift_at": NOW - 60,
        "put_back": 3,
        "withheld": ["files"],
        "watched_until": NOW + 300,
        "rollout": "r3",
        "rollout_state": "paused",
        "rollout_since": NOW - 60,
        "rollout_by": "ada",
        "wave": 2,
        "waves": 4,
        "share": 0.05,
        "is_candidate": True,
        "rollout_serial": 8,
    }
    manager.on("GET /agents/web-1", agent(1, detail=detail))
    lines = [" ".join(line.split()) for line in popham("describe", "agent", "web-1").stdout.splitlines()]
    assert {
        "rollout: r3, paused since 2027-01-15T07:59:00Z by ada, wave 2 of 4 (5 %): this agent is to have serial 8",
        "drifted: /etc/popham.d/motd",
        "not put back: it is a directory",
        "last drift: /etc/popham.d/motd, 2027-01-15T07:59:00Z; put back 3 times today",
        "withheld: files",
        "watched until: 2027-01-15T08:05:00Z",
    } <= set(lines)
    assert not [
        line
        for line in lines
        if line.startswith(("drift at", "put back", "is candidate", "waves", "rollout serial"))
    ]


def test_describe_agent_says_nothing_of_what_is_over(popham, manager, agent):
    detail = {"drift_at": NOW - 86400, "drift_path": "/etc/x", "put_back": 1, "watched_until": NOW - 1}
    manager.on("GET /agents/web-1", agent(1, detail=detail | {"drifted": [], "rollout": "", "withheld": []}))
    shown = popham("describe", "agent", "web-1").stdout
    assert "put back once that day" in shown
    assert not [word for word in ("watched", "rollout", "drifted:", "withheld") if word in shown]


@pytest.mark.parametrize("kind", ["group", "policy"])
def test_describe_says_where_an_object_is_managed(popham, manager, kind):
    plural = {"group": "groups", "policy": "policies"}[kind]
    notes = {"popham.io/source": "https://git.example/fleet", "note": "by ada"}
    manager.on(f"GET /{plural}/x", {"name": "x", "annotations": notes})
    lines = popham("describe", kind, "x").stdout.splitlines()
    assert "managed by:  https://git.example/fleet" in lines
    assert "  note:             by ada" in lines


def test_describe_agent_shows_its_last_operations_a_line_each(popham, manager, agent):
    one = {"operation": "op12", "kind": "run", "state": "failed", "since": NOW, "code": "operation.exit"}
    other = {"operation": "op3", "kind": "check-in", "state": "succeeded", "since": NOW - 60, "code": ""}
    detail = {"operations": [one | {"text": "bad\x1b[2J\nmore"}, other | {"text": ""}]}
    manager.on("GET /agents/web-1", agent(1, detail=detail))
    lines = popham("describe", "agent", "web-1").stdout.splitlines()
    at = lines.index("operations:")
    assert [line.split() for line in lines[at + 1 : at + 4]] == [
        ["OPERATION", "KIND", "STATE", "SINCE", "SAYS"],
        ["op12", "run", "failed", "2027-01-15T08:00:00Z", "bad\\x1b[2J…", "(operation.exit)"],
        ["op3", "check-in", "succeeded", "2027-01-15T07:59:00Z"],
    ]
