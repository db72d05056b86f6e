"""``popham rollout``: what it asks, prints and ends with."""

import json
from dataclasses import fields

import httpx2
import pytest

from popham.cli.rollout_text import BAR, bar
from popham.manager.rollout_views import RolloutView, Troubled, WaveView

NOW = 1_800_000_000.0


def wave(share, began=0.0, settled=0.0, ended=0.0, **marks):
    marks = {key.removeprefix("p"): at for key, at in marks.items()}
    return {"share": share, "began": began, "settled": settled, "ended": ended, "marks": marks}


def troubled(name, reason, code=""):
    return {"name": name, "uid": f"uid-of-{name}", "group": "paris", "code": code, "reason": reason}


ROLLOUT = {
    "id": "r3",
    "state": "running",
    "reason": "",
    "since": 0.0,
    "by": "",
    "next": "wave 3 begins when all in contact have applied and 10m have passed",
    "author": "ada",
    "at": NOW - 700,
    "message": "better words",
    "changes": ["policy/motd"],
    "groups": ["paris", "london"],
    "wave": 2,
    "waves": [
        wave(0.01, NOW - 700, NOW - 695, NOW - 95, p50=NOW - 698, p95=NOW - 696, p99=NOW - 695),
        wave(0.05, NOW - 95, p50=NOW - 5),
        wave(0.25),
        wave(1.0),
    ],
    "soak": 600.0,
    "halt_on": 0.05,
    "agents": 240,
    "cohort": 12,
    "applied": 9,
    "failed": 1,
    "silent": 0,
    "pending": 1,
    "away": 1,
    "named": 0,
    "errors": [troubled("web-7", "the check said no\x1b[2J", "policy.undone_check")],
    "stuck": [troubled("web-9", "waits for its heartbeat in 4m")],
}
DONE = ROLLOUT | {
    "state": "promoted",
    "wave": 4,
    "waves": [wave(one["share"], NOW - 60, NOW - 50) for one in ROLLOUT["waves"]],
    "cohort": 240,
    "applied": 240,
    "failed": 0,
    "pending": 0,
    "away": 0,
    "next": "",
    "errors": [],
    "stuck": [],
}
HALTED = ROLLOUT | {
    "state": "halted",
    "reason": "1 failed of 12 in wave 2",
    "next": "",
    "since": NOW - 60,
    "by": "popham",
}


def test_the_rollouts_of_these_tests_have_the_fields_of_the_api():
    views = ((ROLLOUT, RolloutView), (ROLLOUT["waves"][0], WaveView), (ROLLOUT["errors"][0], Troubled))
    for shown, view in views:
        assert set(shown) == {field.name for field in fields(view)}


def test_f_y17_status_shows_waves_times_next_errors_and_the_stuck_tail(popham, manager):
    manager.on("GET /rollouts", {"items": [ROLLOUT]})
    manager.on("GET /rollouts/r3", ROLLOUT)
    found = popham("rollout", "status")
    assert manager.requests[0][1] == "/rollouts?open=true"
    assert found.stdout.splitlines() == [
        "rollout: r3, running",
        "changes: policy/motd",
        "groups:  paris, london",
        "begun:   2027-01-15T07:48:20Z by ada: better words",
        "agents:  240",
        "wave:    2 of 4, 5 %: 9 of 12 applied, 1 failed, 1 pending, 1 not in contact",
        "terms:   soaks 10m in each wave; halts if 5 % of it fail or fall silent",
        "next:    wave 3 begins when all in contact have applied and 10m have passed",
        "",
        "WAVE  SHARE  APPLIED             STATE     BEGAN    50 %   95 %  99 %",
        "1     1 %    [################]  done      11m ago  2s     4s    5s",
        "2     5 %    [############....]  applying  1m ago   1m30s  -     -",
        "3     25 %   [................]  -         -        -      -     -",
        "4     100 %  [................]  -         -        -      -     -",
        "",
        "First that failed or fell silent:",
        "  web-7  paris  the check said no\\x1b[2J (policy.undone_check)",
        "",
        "Waited for:",
        "  web-9  paris  waits for its heartbeat in 4m",
        "  and 1 more",
    ]


def test_f_y17_status_says_how_long_a_wave_still_soaks_and_why_one_is_halted(popham, manager):
    soaking = [ROLLOUT["waves"][0], wave(0.05, NOW - 95, NOW - 60), *ROLLOUT["waves"][2:]]
    manager.on("GET /rollouts/r3", ROLLOUT | {"waves": soaking})
    assert "soaks, 9m left" in popham("rollout", "status", "r3").stdout
    manager.on("GET /rollouts/r4", HALTED)
    lines = popham("rollout", "status", "r4").stdout.splitlines()
    assert lines[0] == "rollout: r3, halted since 2027-01-15T07:59:00Z by popham: 1 failed of 12 in wave 2"
    assert " halted " in lines[lines.index("") + 3]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("paused", "paused since"),
        ("running", "running since"),
        ("promoted", "promoted"),
        ("undone", "undone"),
    ],
)
def test_f_y17_status_says_since_when_and_by_whom(popham, manager, state, words):
    manager.on("GET /rollouts/r3", ROLLOUT | {"state": state, "since": NOW - 60, "by": "ada"})
    lines = popham("rollout", "status", "r3").stdout.splitlines()
    assert lines[0] == f"rollout: r3, {words} 2027-01-15T07:59:00Z by ada"
    shown = popham("get", "rollouts", "r3", "-o", "wide").stdout.splitlines()
    assert "2027-01-15T07:59:00Z" in shown[1]
    assert "ada" in shown[1]


@pytest.mark.parametrize("form", ["json", "jsonl", "yaml"])
def test_f_y17_status_has_forms_for_programs(popham, manager, form):
    manager.on("GET /rollouts/r3", ROLLOUT)
    shown = popham("rollout", "status", "r3", "-o", form).stdout
    assert "\x1b" not in shown
    assert form == "yaml" or json.loads(shown) == ROLLOUT


def test_f_y17_without_a_name_and_without_an_open_rollout_status_says_so(popham, manager):
    manager.on("GET /rollouts", {"items": []})
    found = popham("rollout", "status")
    assert (found.exit_code, found.stdout) == (0, "")
    assert found.stderr == "No rollout is open. 'popham rollout list' shows all.\n"
    assert popham("rollout", "status", "-o", "json").stdout == '{\n  "items": []\n}\n'


def test_f_y17_without_a_name_several_open_rollouts_are_a_list(popham, manager):
    manager.on("GET /rollouts", {"items": [ROLLOUT | {"id": "r4"}, ROLLOUT]})
    lines = popham("rollout", "status").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ROLLOUT", "r4", "r3"]
    found = popham("rollout", "status", "-w")
    assert (found.exit_code, found.stdout) == (64, "")
    assert "several rollouts are open, name one of them: r4, r3" in found.stderr


def test_f_y17_a_watched_rollout_prints_a_line_per_change_and_ends_with_it(popham, manager):
    manager.on("GET /rollouts/r3", ROLLOUT, ROLLOUT, ROLLOUT | {"applied": 10}, DONE)
    waits = []
    found = popham("rollout", "status", "r3", "-w", wait=waits.append)
    assert found.exit_code == 0
    assert found.stdout.splitlines() == [
        "r3 running, wave 2 of 4 (5 %): 9 of 12 applied, 1 failed, 1 pending, 1 not in contact",
        "r3 running, wave 2 of 4 (5 %): 10 of 12 applied, 1 failed, 1 pending, 1 not in contact",
        "r3 promoted",
    ]
    assert waits == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("end", [HALTED, ROLLOUT | {"state": "undone"}])
def test_f_y17_a_watched_rollout_that_is_halted_or_undone_ends_with_1(popham, manager, end):
    manager.on("GET /rollouts/r3", ROLLOUT, end)
    found = popham("rollout", "status", "r3", "-w", wait=lambda seconds: None)
    assert found.exit_code == 1
    assert found.stdout.splitlines()[-1].startswith(f"r3 {end['state']}")
    assert ("popham rollout undo r3" in found.stderr) == (end is HALTED)


def test_f_y17_a_watched_rollout_that_takes_too_long_ends_with_75(popham, manager):
    manager.on("GET /rollouts/r3", ROLLOUT)
    clock = [NOW]

    def wait(seconds):
        clock[0] += seconds

    found = popham("rollout", "status", "r3", "-w", "--timeout", "150s", wait=wait, now=lambda: clock[0])
    assert found.exit_code == 75
    assert clock[0] == NOW + 150
    assert found.stderr.endswith(": not over in time\n")


def test_f_y17_on_a_terminal_what_was_printed_is_drawn_over(popham, manager):
    manager.on("GET /rollouts/r3", ROLLOUT, DONE)
    found = popham("rollout", "status", "r3", "-w", wait=lambda seconds: None, draws=True)
    first, _, second = found.stdout.partition("\x1b[")
    assert second.startswith(f"{len(first.splitlines())}A\x1b[J")
    assert all(len(line) < 80 for line in first.splitlines())
    assert "soaks 10m in each wave; halts if 5 % of it fail or fall silent" in first
    assert second.count("[################]") == 4


def test_f_y17_a_manager_that_goes_away_is_waited_for(popham, manager):
    away = httpx2.ConnectError("refused")
    manager.on("GET /rollouts/r3", ROLLOUT)
    manager.on("GET /rollouts/r3", away, away, status=0)
    manager.on("GET /rollouts/r3", DONE)
    found = popham("rollout", "status", "r3", "-w", wait=lambda seconds: None)
    assert found.exit_code == 0
    assert found.stderr.count("Still trying") == 1


def test_f_y17_watching_in_json_prints_an_object_per_line(popham, manager):
    manager.on("GET /rollouts/r3", ROLLOUT, ROLLOUT, DONE)
    found = popham("rollout", "status", "r3", "-w", "-o", "jsonl", wait=lambda seconds: None)
    assert [json.loads(line)["state"] for line in found.stdout.splitlines()] == ["running", "promoted"]
    assert popham("rollout", "status", "r3", "-w", "-o", "json").exit_code == 64
    assert popham("rollout", "status", "r3", "--timeout", "1m").exit_code == 64


def test_f_y17_rollouts_are_listed_by_both_commands(popham, manager):
    manager.on("GET /rollouts", {"items": [ROLLOUT]})
    manager.on("GET /rollouts/r3", ROLLOUT)
    lines = popham("get", "rollouts").stdout.splitlines()
    assert lines == popham("rollout", "list").stdout.splitlines()
    assert lines == popham("get", "rollout", "r3").stdout.splitlines()
    assert lines[1].split() == [
        "r3",
        "running",
        "2",
        "of",
        "4",
        "5",
        "%",
        "12",
        "9",
        "1",
        "0",
        "240",
        "2027-01-15T07:48:20Z",
        "ada",
        "policy/motd",
    ]
    assert popham("rollout", "list", "--open", "-o", "name").stdout == "r3\n"
    assert manager.requests[-1][1] == "/rollouts?open=true"


@pytest.mark.parametrize("command", [("get", "rollouts"), ("rollout", "list")])
def test_where_there_are_no_rollouts_it_says_how_one_begins(popham, manager, command):
    manager.on("GET /rollouts", {"items": []})
    found = popham(*command)
    assert found.stdout == ""
    assert found.stderr.startswith("No rollouts yet.")


def test_f_y17_a_rollout_is_paused_and_resumed(popham, manager):
    manager.on("POST /rollouts/r3/pause", ROLLOUT | {"state": "paused", "reason": "lunch"})
    manager.on("POST /rollouts/r3/resume", ROLLOUT)
    found = popham("rollout", "pause", "r3", "--reason", "lunch")
    assert manager.requests[0][2] == {"reason": "lunch"}
    assert found.stdout.startswith("rollout r3 paused in wave 2 of 4 (5 %): 9 of 12 applied")
    assert found.stderr == "Go on: popham rollout resume r3\n"
    assert popham("rollout", "resume", "r3").stdout.startswith("rollout r3 running in wave 2 of 4")


def test_sec_41_all_rollouts_are_halted_by_one_call(popham, manager):
    manager.on("POST /rollouts/halt", {"items": [HALTED, HALTED | {"id": "r4"}]})
    found = popham("rollout", "halt", "--all", "--reason", "it burns")
    assert manager.requests == [("POST", "/rollouts/halt", {"reason": "it burns"})]
    assert [line.split()[1] for line in found.stdout.splitlines()] == ["r3", "r4"]


def test_sec_41_one_rollout_is_halted_without_a_question(popham, manager):
    manager.on("POST /rollouts/r3/halt", HALTED)
    found = popham("rollout", "halt", "r3")
    assert found.exit_code == 0
    assert found.stderr == "Go on: popham rollout resume r3. Go back: popham rollout undo r3\n"
    assert popham("rollout", "halt").exit_code == popham("rollout", "halt", "r3", "--all").exit_code == 64


@pytest.mark.parametrize(("verb", "state"), [("promote", "promoted"), ("undo", "undone")])
def test_f_y17_promote_and_undo_ask_first(popham, manager, verb, state):
    manager.on("GET /rollouts/r3", ROLLOUT)
    manager.on(f"POST /rollouts/r3/{verb}", ROLLOUT | {"state": state})
    found = popham("rollout", verb, "r3", stdin="no\n")
    assert found.exit_code == 1
    assert "conflict.not_confirmed" in found.stderr
    assert [method for method, _, _ in manager.requests] == ["GET"]
    found = popham("rollout", verb, "r3", stdin="r3\n")
    assert found.stdout == f"rollout r3 {state}\n"
    assert "policy/motd" in found.stderr
    before = len(manager.requests)
    assert popham("rollout", verb, "r3", "--yes").exit_code == 0
    assert len(manager.requests) == before + 1


@pytest.mark.parametrize(
    ("done", "filled"), [(0.0, 0), (0.001, 1), (0.5, BAR // 2), (0.999, BAR - 1), (1.0, BAR), (2.0, BAR)]
)
def test_a_bar_is_full_only_if_nothing_is_missing(done, filled):
    assert bar(done) == f"[{'#' * filled}{'.' * (BAR - filled)}]"


def test_following_what_is_not_there_does_not_end_as_if_it_had_been_promoted(popham, manager):
    manager.on("GET /rollouts", {"items": []})
    found = popham("rollout", "status", "-w")
    assert found.exit_code == 1
    assert found.stderr == (
        "popham: no rollout is open (not_found.rollout). 'popham rollout list' shows all.\n"
    )


def test_sec_13_the_name_of_a_halted_rollout_cannot_move_the_cursor(popham, manager):
    manager.on("GET /rollouts/r3", HALTED | {"id": "r3\x1b[2J"})
    found = popham("rollout", "status", "r3", "-w")
    assert "resume r3\\x1b[2J. Go back" in found.stderr
    assert "\x1b" not in found.output


@pytest.mark.parametrize("act", ["promote", "undo"])
@pytest.mark.parametrize("state", ["promoted", "undone"])
def test_f_y17_what_is_over_is_not_asked_about(popham, manager, act, state):
    manager.on("GET /rollouts/r3", ROLLOUT | {"state": state})
    problem = {"code": "conflict.over", "detail": "rollout r3 is over", "hint": "", "retryable": False}
    manager.on(f"POST /rollouts/r3/{act}", problem, status=409)
    found = popham("rollout", act, "r3", stdin="")
    assert found.exit_code == 1
    assert found.stderr == "popham: rollout r3 is over (conflict.over)\n"


def test_f_y17_promote_names_one_agent_as_one(popham, manager):
    manager.on("GET /rollouts/r3", ROLLOUT | {"agents": 1})
    found = popham("rollout", "promote", "r3", stdin="no\n")
    assert found.stderr.startswith("The one agent gets policy/motd now, without the waves that remain: ")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--canary", "0%"), "--canary 0%: the first wave has 0.01 % at least"),
        (("--canary", "10%,5%"), "--canary 10%,5%: a rollout has 1 to 20 waves, each wider"),
        (("--canary", "1%", "--soak", "60d"), "a soak takes 0 to 30 days"),
    ],
)
def test_f_y17_waves_that_no_manager_takes_are_refused_in_one_sentence(popham, manager, args, words):
    found = popham("rollback", "policy", "motd", "--to", "2", *args)
    assert (found.exit_code, manager.requests) == (64, [])
    assert words in found.stderr
    assert "For example --" in found.stderr
    assert len(found.stderr.splitlines()) == 1
