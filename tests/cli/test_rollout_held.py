"""``popham rollout`` of a change that is held: what it says, and how it begins."""

import pytest
from tests.cli.test_rollout import NOW, ROLLOUT, wave

from popham.cli.describe import agent_lines

HELD = ROLLOUT | {
    "state": "held",
    "wave": 1,
    "waves": [wave(0.01), wave(0.05), wave(1.0)],
    "next": "nobody applies it: popham op apply AGENT, or popham rollout resume r3",
    "cohort": 0,
    "applied": 0,
    "failed": 0,
    "pending": 0,
    "away": 0,
    "errors": [],
    "stuck": [],
}
DETAIL = {
    "rollout": "r3",
    "rollout_state": "held",
    "wave": 1,
    "waves": 3,
    "share": 0.0,
    "rollout_serial": 7,
    "is_candidate": False,
    "is_named": False,
    "candidate": "",
    "candidate_error": "",
}


@pytest.mark.parametrize(
    ("said", "counts"),
    [({}, "nobody applies it"), ({"cohort": 3, "named": 3, "applied": 2, "pending": 1}, "2 of 3 applied")],
)
def test_f_y9_status_says_who_has_it_by_name_and_what_to_do(popham, manager, said, counts):
    manager.on("GET /rollouts/r3", HELD | said)
    found = popham("rollout", "status", "r3")
    assert found.exit_code == 0
    assert "rollout: r3, held" in found.output
    assert f"by name: {counts}" in found.output
    assert "popham rollout resume r3" in found.output
    assert "terms:" not in found.output


def test_f_y9_resume_begins_the_waves_that_are_named(popham, manager):
    manager.on("POST /rollouts/r3/resume", ROLLOUT)
    found = popham("rollout", "resume", "r3", "--canary", "5%", "--soak", "1m")
    assert found.exit_code == 0
    assert manager.requests[-1][2] == {"rollout": {"waves": [0.05], "soak": 60.0}}


def test_f_y9_a_halt_that_is_resumed_is_held_again(popham, manager):
    manager.on("POST /rollouts/r3/resume", HELD)
    found = popham("rollout", "resume", "r3")
    assert "rollout r3 held: nobody applies it" in found.output


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({}, "does not hold it yet"),
        ({"candidate": "ab"}, "and holds it"),
        ({"candidate_error": "no such root"}, "and cannot hold it: no such root"),
        ({"is_named": True, "is_candidate": True}, "is to have serial 7, by name"),
    ],
)
def test_f_y9_describe_says_how_an_agent_stands_to_it(said, line):
    assert agent_lines(DETAIL | said, NOW)["rollout"].endswith(line)
