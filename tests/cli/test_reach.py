"""The options by which an apply or a rollback reaches all at once, or a few agents first."""

import json

import httpx2
import pytest
from tests.cli.test_plan import COSTS
from tests.cli.test_rollout import ROLLOUT, troubled

RESULT = {
    "dry_run": False,
    "changes": [{"kind": "Policy", "name": "motd", "action": "changed", "discarded": [], "agents": 0}],
    "groups": [{"group": "paris", "before": 3, "after": 4, "agents": 240}],
    "warnings": [],
    "costs": None,
    "base": None,
    "rollout": "",
    "reach": 240,
}
POLICY = {"name": "motd", "revision": 3}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "motd.yaml"
    path.write_text("apiVersion: popham/v1\nkind: Group\nmetadata: {name: paris}\nspec: {}\n")
    return str(path)


def test_f_y17_apply_with_a_canary_begins_a_rollout_and_says_who_is_first(popham, manager, file):
    first = ROLLOUT | {"wave": 1, "cohort": 7, "stuck": [troubled(f"web-{n}", "told") for n in range(7)]}
    manager.on("POST /apply", RESULT | {"rollout": "r3"})
    manager.on("GET /rollouts/r3", first)
    found = popham("apply", "-f", file, "--canary", "1%", "--soak", "10m", "--halt-on", "5%")
    assert found.exit_code == 0, found.stderr
    assert manager.requests[0][2]["rollout"] == {"waves": [0.01], "soak": 600.0, "halt_on": 0.05}
    assert "everyone" not in manager.requests[0][2]
    assert found.stdout.splitlines() == [
        "policy motd changed",
        "paris: serial 3 -> 4, 240 agents",
        "rollout r3 began: 7 of 240 agents get it first (1 %)",
        "  web-0, web-1, web-2, web-3, web-4 and 2 more",
    ]
    assert found.stderr == "Follow it: popham rollout status r3 -w\n"


def test_f_y17_apply_waits_a_moment_for_the_manager_to_count_the_cohort(popham, manager, file):
    uncounted = ROLLOUT | {"cohort": 0, "stuck": []}
    manager.on("POST /apply", RESULT | {"rollout": "r3"})
    manager.on("GET /rollouts/r3", uncounted, uncounted, ROLLOUT)
    waits = []
    assert "12 of 240 agents" in popham("apply", "-f", file, "--canary", "1%", wait=waits.append).stdout
    assert len(waits) == 2
    manager.answers["GET /rollouts/r3"] = [(200, uncounted)]
    found = popham("apply", "-f", file, "--canary", "1%", wait=waits.append)
    assert "rollout r3 began: 1 % of the agents get it first" in found.stdout
    assert sum(waits) < 1


def test_a_change_that_was_made_did_not_fail_because_its_rollout_cannot_be_looked_at(popham, manager, file):
    manager.on("POST /apply", RESULT | {"rollout": "r3"})
    manager.on("GET /rollouts/r3", httpx2.ReadTimeout("late"))
    found = popham("apply", "-f", file, "--canary", "1%")
    assert (found.exit_code, found.stderr) == (0, "Follow it: popham rollout status r3 -w\n")
    assert found.stdout.splitlines()[0] == "policy motd changed"
    manager.on("GET /policies/motd", POLICY)
    manager.on("POST /policies/motd/rollback", POLICY | {"revision": 4, "rollout": "r3"})
    found = popham("rollback", "policy", "motd", "--to", "1", "--canary", "1%")
    assert (found.exit_code, found.stderr) == (0, "Follow it: popham rollout status r3 -w\n")


def test_f_y17_waves_are_listed_and_all_is_said_outright(popham, manager, file):
    manager.on("POST /apply", RESULT)
    popham("apply", "-f", file, "--canary", "0.5%, 10%,50 %")
    assert manager.requests[0][2]["rollout"] == {"waves": [0.005, 0.1, 0.5]}
    found = popham("apply", "-f", file, "--all")
    assert manager.requests[1][2]["everyone"] is True
    assert "rollout" not in manager.requests[1][2]
    assert found.stderr == "See it arrive: popham get agents -w\n"


def test_f_y17_an_apply_in_json_has_the_rollouts_id(popham, manager, file):
    manager.on("POST /apply", RESULT | {"rollout": "r3"})
    found = popham("apply", "-f", file, "--canary", "1%", "-o", "json")
    assert json.loads(found.stdout)["rollout"] == "r3"
    assert [path for _, path, _ in manager.requests] == ["/apply?dry_run=false"]


def test_f_y17_rollback_takes_the_same_options(popham, manager):
    manager.on("GET /policies/motd", POLICY)
    manager.on("POST /policies/motd/rollback", POLICY | {"revision": 4, "rollout": "r3"})
    manager.on("GET /rollouts/r3", ROLLOUT)
    found = popham("rollback", "policy", "motd", "--to", "1", "--canary", "1%")
    assert manager.requests[1][2]["rollout"] == {"waves": [0.01]}
    assert "rollout r3 began" in found.stdout
    assert found.stderr == "Follow it: popham rollout status r3 -w\n"
    manager.on("POST /policies/motd/rollback", POLICY | {"revision": 5, "rollout": ""})
    manager.answers["POST /policies/motd/rollback"].pop(0)
    found = popham("rollback", "policy", "motd", "--to", "1", "--all")
    assert manager.requests[-1][2]["everyone"] is True
    assert found.stderr == "See it arrive: popham get agents -w\n"


@pytest.mark.parametrize(
    "options",
    [
        ("--all", "--canary", "1%"),
        ("--soak", "10m"),
        ("--halt-on", "5%"),
        ("--all", "--soak", "10m"),
        ("--canary", "3"),
        ("--canary", "101%"),
        ("--canary", "1%,"),
        ("--canary", "1%", "--soak", "10"),
        ("--canary", "1%", "--halt-on", "5%,6%"),
    ],
)
@pytest.mark.parametrize("command", [("apply", "-f"), ("rollback", "policy", "motd", "--to", "1")])
def test_f_y17_contradicting_options_are_a_usage_error(popham, manager, file, command, options):
    words = (*command, file) if command[0] == "apply" else command
    found = popham(*words, *options)
    assert (found.exit_code, found.stdout) == (64, "")
    assert "(usage)" in found.stderr
    assert manager.requests == []


def test_f_y17_an_apply_that_reaches_many_is_refused_with_both_ways_out(popham, manager, file):
    hint = "Let a few have it first: --canary 1%; or give it to all: --all"
    manager.fail("POST /apply", 409, "conflict.reach", "this gives new content to 240 agents", hint)
    found = popham("apply", "-f", file)
    assert found.exit_code == 1
    assert found.stderr == f"popham: this gives new content to 240 agents (conflict.reach). {hint}.\n"


def test_f_y17_a_plan_says_how_many_agents_get_new_content(popham, manager, file):
    two = [*RESULT["groups"], {"group": "london", "before": 1, "after": 2, "agents": 60}]
    manager.on("POST /apply", RESULT | {"groups": two, "reach": 300, "costs": COSTS, "base": {}})
    assert "new content for 300 agents in 2 groups" in popham("plan", "-f", file).stdout.splitlines()
