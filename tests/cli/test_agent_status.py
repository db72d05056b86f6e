"""What ``popham agent status`` says of times and counts, as sentences."""

import pytest

from popham.cli.agent import _lines

NOW = 1_795_337_529.0
ERROR = "serial 5 was undone: the shop was shut (policy.undone_check)"
FOUND = {
    "running": True,
    "uid": "0198",
    "admission": "accepted",
    "servers": ["https://manager:4320"],
    "last_contact": NOW,
    "applied_serial": 4,
    "outcome": "applied",
}


def said(**more):
    """Return row → what it says."""
    rows = (line.split(":", 1) for line in _lines(FOUND | more, NOW))
    return {name: text.strip() for name, text in rows}


def test_a_contact_that_was_just_now_is_not_one_to_come():
    assert said()["last contact"] == "0 s ago"
    assert said(next_contact=NOW + 5)["next contact"] == "in 5 s"


@pytest.mark.parametrize(("count", "times"), [(1, "once"), (3, "3 times")])
def test_what_was_put_back_is_named_with_its_time(count, times):
    row = said(put_back=count, drift_path="/etc/motd", drift_at=NOW)["put back"]
    assert row == f"last /etc/motd at 2026-11-22T08:52:09Z; {times} on that day"


def test_why_a_set_was_undone_is_said_once():
    one = {
        "serial": 5,
        "at": NOW - 3,
        "error": ERROR,
        "error_code": "policy.undone_check",
        "tried_again": False,
    }
    assert said(undone=[one])["undone"] == f"serial 5 3 s ago: {ERROR}"
    found = said(undone=[one | {"tried_again": True}], error=ERROR)
    assert found["undone"] == "serial 5 3 s ago, and it was tried again"
    assert found["error"] == ERROR


def test_what_drifted_and_cannot_be_put_back_is_said_with_the_reason():
    found = said(drifted=["/etc/motd"], drift_error="/etc/motd is a directory (policy.kind). Remove it")
    assert found["drifted"] == "/etc/motd"
    assert found["not put back"] == "/etc/motd is a directory (policy.kind). Remove it"
