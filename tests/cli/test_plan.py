"""``popham plan``, and what ``popham apply`` says of costs."""

import json

import pytest

from popham.cli.costs import Age

COST = {
    "agents": 1200,
    "rounds_per_second": 4.0,
    "links": 1200,
    "connections": 1200,
    "cpu_cores": 0.00012,
    "memory_mb": 137.0,
    "bandwidth": 7600.0,
    "age_bound_s": 300.0,
    "wait_bound_s": 0.0,
    "change_cpu_s": 0.49,
    "change_bytes": 6.8e6,
}
PULLED = COST | {
    "rounds_per_second": 1.333,
    "links": 0,
    "connections": 0,
    "bandwidth": 6200.0,
    "age_bound_s": 900.0,
    "wait_bound_s": 900.0,
}
COSTS = {
    "before": COST,
    "after": PULLED,
    "shifts": [
        {
            "group": "paris",
            "location": "",
            "agents": 1200,
            "before": "Push, heartbeat 5m",
            "after": "Pull by heartbeat, heartbeat 15m",
        }
    ],
    "advice": [
        {"code": "short_heartbeat", "sentence": "1,200 pull", "hint": "Use 1h", "warns": False},
        {"code": "open_files", "sentence": "too many", "hint": "Raise it", "warns": True},
    ],
    "measured": "built in",
    "connections_max": 19000,
}
RESULT = {
    "dry_run": True,
    "changes": [
        {"kind": "Group", "name": "paris", "action": "changed", "discarded": ["policies.files: old"]},
    ],
    "groups": [{"group": "paris", "before": 3, "after": 4, "agents": 1200}],
    "warnings": ["group 'paris': two locations have the same weight"],
    "costs": COSTS,
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "paris.yaml"
    path.write_text("apiVersion: popham/v1\nkind: Group\nmetadata: {name: paris}\nspec: {}\n")
    return str(path)


def test_f_c11_a_plan_shows_changes_and_costs_before_and_after_and_changes_nothing(popham, manager, file):
    manager.on("POST /apply", RESULT)
    found = popham("plan", "-f", file)
    assert found.exit_code == 0
    assert manager.requests[0][1] == "/apply?dry_run=true"
    lines = found.stdout.splitlines()
    assert lines[:3] == [
        "group paris changed",
        "  discards policies.files: old",
        "paris: serial 3 -> 4, 1200 agents",
    ]
    table = {line[:26].strip(): line[26:].split("  ") for line in lines}
    assert [cell.strip() for cell in table["Rounds per second"] if cell.strip()] == ["4", "1.3"]
    assert [cell.strip() for cell in table["Held links"] if cell.strip()] == ["1,200", "0"]
    assert [cell.strip() for cell in table["Bandwidth, nothing new"] if cell.strip()] == [
        "7.6 kB/s",
        "6.2 kB/s",
    ]
    assert [cell.strip() for cell in table["Shown data is at most"] if cell.strip()] == ["5m old", "15m old"]
    assert [cell.strip() for cell in table["A change waits at most"] if cell.strip()] == ["at once", "15m"]
    assert "paris  all       1,200   Push, heartbeat 5m -> Pull by heartbeat, heartbeat 15m" in lines
    assert lines[-5:] == [
        "Warning: group 'paris': two locations have the same weight",
        "Advice: 1,200 pull.",
        "  Use 1h.",
        "Warning: too many.",
        "  Raise it.",
    ]
    assert "Nothing was changed" in found.stderr


@pytest.mark.parametrize(
    ("said", "end"),
    [
        ({}, "Make it so: popham apply with the same files."),
        ({"asks": "canary"}, "Make it so: popham apply with the same files and --canary 1%, or --all."),
        ({"asks": "all"}, "Make it so: popham apply with the same files and --all."),
        (
            {"changes": [RESULT["changes"][0] | {"action": "unchanged"}], "groups": []},
            "Nothing would change.",
        ),
    ],
)
def test_f_y7_a_plan_ends_with_the_command_that_makes_it_so(popham, manager, file, said, end):
    manager.on("POST /apply", RESULT | said)
    assert popham("plan", "-f", file).stderr == f"Nothing was changed. {end}\n"


def test_f_c11_a_plan_names_the_longest_heartbeat_that_keeps_an_age(popham, manager, file):
    manager.on("POST /apply", RESULT)
    found = popham("plan", "-f", file, "--age", "10m")
    assert "The longest heartbeat by which nothing shown is older than 10m: 10m." in found.stdout
    assert "With it in all groups, 1,200 agents make 2 rounds a second." in found.stdout
    assert "It is not kept: some agents have a heartbeat of 15m after this." in found.stdout
    shown = json.loads(popham("plan", "-f", file, "--age", "24h", "-o", "json").stdout)
    assert shown["age"]["longest_heartbeat_s"] == 86400.0
    assert shown["costs"] == COSTS


@pytest.mark.parametrize(
    ("age", "sentence"),
    [
        (900.0, "It is kept."),
        (3600.0, "It is kept, and there is room: the longest heartbeat after this is 15m."),
        (0.2, "No heartbeat of a second or more keeps what is shown younger than 0.2s."),
        (86400.0, "Where policies are updated and logs gathered once a day, a heartbeat of 24h is enough."),
    ],
)
def test_f_c11_an_age_is_kept_or_not(age, sentence):
    assert sentence in list(Age.of(COSTS, age).lines())


def test_an_age_without_a_unit_is_one_sentence(popham, file):
    found = popham("plan", "-f", file, "--age", "5x")
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr.startswith("popham: --age: '5x' is not a duration (definition.duration)")


def test_f_c11_an_apply_warns_with_the_numbers(popham, manager, file):
    manager.on("POST /apply", RESULT | {"dry_run": False})
    found = popham("apply", "-f", file)
    assert "held links 1,200 -> 0" in found.stderr
    assert "rounds per second 4 -> 1.3" in found.stderr
    assert "shown data is at most 5m old -> 15m old" in found.stderr
    assert "Advice: 1,200 pull.\n  Use 1h.\nWarning: too many.\n  Raise it.\n" in found.stderr
    assert "1,200 pull" not in found.stdout


@pytest.mark.parametrize("costs", [None, COSTS | {"after": COST, "advice": []}])
def test_an_apply_that_costs_nothing_else_says_nothing_of_costs(popham, manager, file, costs):
    manager.on("POST /apply", RESULT | {"costs": costs, "warnings": []})
    assert "rounds" not in popham("apply", "-f", file).stderr


def test_sec_13_what_stands_in_a_plan_moves_no_cursor(popham, manager, file):
    shift = COSTS["shifts"][0] | {"group": "pa\x1b[2Jris"}
    manager.on("POST /apply", RESULT | {"costs": COSTS | {"shifts": [shift]}})
    assert "\x1b" not in popham("plan", "-f", file).stdout
