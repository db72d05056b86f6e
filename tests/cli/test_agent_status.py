"""What ``popham agent status`` says, as a stranger reads it: sentences, and what to do next."""

import json

import pytest
from click.testing import CliRunner

from popham.cli.agent_status import render
from popham.cli.main import cli
from popham.statedir import StateDir

NOW = 1_795_337_529.0
THEN = "2026-11-22T08:52:09Z"
ERROR = "serial 5 was undone: the shop was shut (policy.undone_check)"
ORDERED = {"mode": "push", "dialer": "agent", "heartbeat": 300.0, "never_dial": False, "by_time": False}
FOUND = {
    "running": True,
    "uid": "0198",
    "admission": "accepted",
    "walled": False,
    "servers": ["https://manager:4320"],
    "last_contact": NOW,
    "applied_serial": 4,
    "outcome": "applied",
    "error": "",
    "problem": "",
}
WAITING = {"operation": "op3", "kind": "restart", "state": "running", "since": NOW, "text": ""}
STOPPED = FOUND | {"running": False}


def said(found=FOUND, **more):
    """Return row → what it says."""
    rows = (line.split(":", 1) for line in render(found | more, NOW))
    return {name: text.strip() for name, text in rows}


def test_a_contact_that_was_just_now_is_not_one_to_come():
    assert said()["last contact"] == "0s ago"
    assert said(next_contact=NOW + 5)["next contact"] == "in 5s"
    assert said(last_contact=NOW - 7300)["last contact"] == "2h ago"


@pytest.mark.parametrize(("count", "times"), [(1, "once"), (3, "3 times")])
def test_what_was_put_back_is_named_with_its_time(count, times):
    row = said(put_back=count, drift_path="/etc/motd", drift_at=NOW)["put back"]
    assert row == f"last /etc/motd at {THEN}; {times} on that day"


def test_why_a_set_was_undone_is_said_once():
    one = {
        "serial": 5,
        "at": NOW - 3,
        "error": ERROR,
        "error_code": "policy.undone_check",
        "tried_again": False,
    }
    assert said(undone=[one])["undone"] == f"serial 5 3s ago: {ERROR}"
    found = said(undone=[one | {"tried_again": True}], error=ERROR)
    assert found["undone"] == "serial 5 3s ago, and it was tried again"
    assert found["error"] == ERROR


def test_what_drifted_and_cannot_be_put_back_is_said_with_the_reason():
    found = said(drifted=["/etc/motd"], drift_error="/etc/motd is a directory (policy.kind). Remove it")
    assert found["drifted"] == "/etc/motd"
    assert found["not put back"] == "/etc/motd is a directory (policy.kind). Remove it"


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"running_since": NOW}, f"running since {THEN}"),
        ({"running": False}, "stopped"),
        ({"running": False, "stopped_since": NOW, "last_sign": NOW}, f"stopped since {THEN}"),
        (
            {"running": False, "last_sign": NOW},
            f"stopped, and not in order; the last sign of it is of {THEN}",
        ),
        ({"running": False, "held_by": "17"}, "does not answer (process 17)"),
    ],
)
def test_f_o17_whether_it_runs_and_since_when(more, text):
    assert said(**more)["agent"] == text


def test_f_o17_who_is_upstream_and_who_answered_last():
    assert said()["upstream"] == "https://manager:4320"
    two = ["https://a", "https://b"]
    assert said(servers=two, server="https://b")["upstream"] == "https://b, of https://a, https://b"
    text = said(servers=two, server="https://b", answered_by="https://a")["upstream"]
    assert text == "https://b, of https://a, https://b; https://a answered last"
    assert said(answered_by="https://manager:4320")["upstream"] == "https://manager:4320"
    assert said(servers=[])["upstream"] == "none"


@pytest.mark.parametrize(
    ("more", "rows"),
    [
        ({"mode": "push", "link": "held"}, {"way": "push, dialled by the agent, link held"}),
        ({"mode": "push", "link": "none"}, {"way": "push, dialled by the agent, no link now"}),
        (
            {
                "mode": "pull",
                "link": "rounds",
                "why": "refused: all taken",
                "link_again": NOW + 42,
                "promise": 300.0,
            },
            {
                "way": "pull, dialled by the agent, by rounds",
                "ordered": "push, dialled by the agent, heartbeat 5m",
                "held link": "refused: all taken; pulls every 5m; tries again in 42s",
            },
        ),
        ({"mode": "push", "link": "rounds", "why": "its service is off"}, {"why": "its service is off"}),
        ({"mode": "push", "metered": True}, {"network": "metered"}),
        (
            {"service": {"address": "https://*:23440", "visitor": {"at": NOW - 60}, "problem": None}},
            {"service": "https://*:23440", "last visit": "1m ago"},
        ),
    ],
)
def test_f_o17_which_way_it_is_in_touch_and_why_by_another_than_was_ordered(more, rows):
    assert rows.items() <= said(ordered=ORDERED, dialer="agent", **more).items()


def test_f_o17_which_bundle_it_has_where_and_since_when():
    found = said(
        group="tills",
        serial=7,
        version=9,
        content_digest="ab" * 32,
        location="office",
        since=NOW,
        outcome="failed",
    )
    assert (found["group"], found["newest serial"]) == ("tills", "7, version 9, digest abababababab")
    assert (found["location"], found["outcome"]) == ("office", f"failed since {THEN}")


def test_f_o17_what_waits_is_said():
    found = said(
        withheld=["motd"],
        lacking=["motd", "web"],
        watched_until=NOW,
        operations=[WAITING],
        candidate="cd" * 32,
        candidate_serial=8,
        collection_paused=NOW,
    )
    assert (found["withheld"], found["downloads"]) == ("motd", "still to come: motd, web")
    assert (found["watched"], found["collection"]) == (f"until {THEN}", f"paused since {THEN}")
    assert found["operation"] == f"op3 restart, running since {THEN}"
    assert found["candidate"].startswith("held, serial 8, digest cdcdcdcdcdcd, until")
    lines = render(FOUND | {"operations": [WAITING | {"text": "it ended with 3"}]}, NOW)
    assert f"operation:      op3 restart, running since {THEN}: it ended with 3" in lines
    assert said(candidate_error="no room", candidate_serial=8)["candidate"] == (
        "serial 8 cannot be held: no room"
    )
    assert not {"operation", "candidate", "collection", "next"} & said().keys()


@pytest.mark.parametrize(
    ("found", "more", "step"),
    [
        (STOPPED, {}, "popham agent run"),
        (STOPPED, {"held_by": "5"}, "Look at its log"),
        (STOPPED, {"admission": "not enrolled"}, "popham agent enroll"),
        (FOUND, {"admission": "waiting"}, "popham accept agent 0198"),
        (FOUND, {"problem": "it cannot be reached"}, "popham agent doctor"),
        (FOUND, {"error": "no"}, "popham agent check-in"),
        (FOUND, {"service": {"problem": {"code": "a"}, "next": "Stop that"}}, "Stop that"),
    ],
)
def test_f_o17_where_something_is_wrong_the_last_row_is_what_to_do(found, more, step):
    rows = said(found, **more)
    assert list(rows)[-1] == "next"
    assert step in rows["next"]


def test_why_it_was_not_in_touch_is_said_of_a_stopped_agent_too():
    row = said(STOPPED, last_problem="nobody answers", last_problem_at=NOW)["last problem"]
    assert row == f"nobody answers ({THEN})"


def test_f_o17_the_status_of_a_stopped_agent_needs_no_manager_and_no_lock(tmp_path):
    config, state = tmp_path / "agent.toml", tmp_path / "state"
    config.write_text(f'state = "{state}"\n')
    words = ["agent", "status", "--config", str(config)]
    with StateDir.open(state, "agent", create=True):
        pass
    done = CliRunner().invoke(cli, [*words, "-o", "json"])
    assert (done.exit_code, json.loads(done.stdout)["running"]) == (1, False)
    with StateDir.open(state, "agent", create=False):
        done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1
    assert done.stdout.startswith("agent:          does not answer (process ")


def test_f_d2_what_waits_in_streams_is_said_with_what_was_lost_by_which_cause():
    logs = {"waiting": 12, "bytes": 3400, "oldest": NOW - 180, "sent": 400, "lost": {"count": 5, "age": 2}}
    events = {"waiting": 0, "bytes": 0, "oldest": None, "sent": 7, "lost": {}, "problem": "no answer"}
    rows = said(streams={"events": events, "logs": logs})
    assert rows["events"] == "sent up to 7; not sent: no answer"
    waits = "12 records (3400 bytes) to be sent, the oldest of 3m ago; sent up to 400"
    assert rows["logs"] == f"{waits}; lost: age=2,count=5"


def test_f_c8_why_it_went_to_another_server_stands_below_the_servers():
    moved = {
        "at": NOW - 180,
        "left": "https://dock:4320",
        "taken": "https://manager:4320",
        "why": "it is silent",
    }
    assert said(moved=moved)["moved"] == "3m ago from https://dock:4320 to https://manager:4320: it is silent"
    assert "moved" not in said(moved=None)
