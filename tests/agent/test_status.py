"""What an agent says of itself on its own machine: what is watched, what it undid, and what drifted."""

import pytest

from popham.agent.records import Drift
from popham.agent.status import Status, describe_state
from popham.testing.virtual import pass_time

from .watched import WINDOW, Watched


@pytest.fixture
def watched(keys):
    return Watched(keys)


def test_rel_11_the_status_says_what_is_watched_and_what_was_undone_why_and_when(watched):
    async def story():
        begun = watched.clock.now()
        await watched.give("one")
        found = describe_state(watched.state)
        assert (found["watched_until"], found["undone"]) == (begun + WINDOW, [])
        await pass_time(WINDOW + 1)
        assert describe_state(watched.state)["watched_until"] is None
        await watched.give("cut")
        await pass_time(30)
        (undone,) = describe_state(watched.state)["undone"]
        assert (undone["serial"], undone["error_code"]) == (2, "policy.undone_contact")
        assert (undone["times"], undone["tried_again"]) == (1, False)
        assert begun + WINDOW < undone["at"] <= watched.clock.now()
        assert "no server could be reached" in undone["error"]
        await watched.round()
        assert describe_state(watched.state)["undone"][0]["tried_again"]

    watched.tell_story(story)


def test_the_status_is_told_though_the_record_of_what_was_placed_is_damaged(watched, machine):
    applier = machine.applier()
    (machine.state / "apply").mkdir(parents=True)
    (machine.state / "apply/placed.json").write_text("{")

    async def story():
        status = Status(watched.state, watched.clock)
        status.attend(None, None, left=applier.left)
        found = status.describe()
        assert found["left"] == []
        assert "placed.json cannot be read" in found["problem"]

    watched.tell_story(story)


def test_the_status_says_what_drifted_and_what_was_left_over(watched):
    async def story():
        watched.enforcer.note_drift(Drift(paths=("/etc/a",), path="/etc/a", at=5.0, put_back=3, error="no"))
        status = Status(watched.state, watched.clock)
        found = status.describe()
        assert (found["drifted"], found["drift_path"]) == (["/etc/a"], "/etc/a")
        assert (found["drift_at"], found["put_back"], found["left"]) == (5.0, 3, [])
        assert found["drift_error"] == "no"

    watched.tell_story(story)
