"""``popham op``: what it asks, prints and ends with."""

import json

import httpx2
import pytest

from popham.cli.operation_text import BAR, SHOWN, bar
from popham.model.operation import ORDERED

NOW = 1_800_000_000.0
OPERATION = {
    "name": "op3",
    "kind": "check-in",
    "args": {},
    "author": "ada",
    "at": NOW - 30,
    "message": "after the move",
    "state": "open",
    "counts": {"queued": 2, "succeeded": 5, "failed": 1},
    "targets": 8,
    "unknown": [],
    "ambiguous": [],
    "retry_of": "",
    "asked": {"groups": ["paris"]},
    "expires": None,
}
OVER = OPERATION | {"state": "over", "counts": {"succeeded": 8}}
TARGETS = {"agents": [], "groups": ["paris"], "selector": "", "all": False}


def target(name, state, **more):
    return {
        "operation": "op3",
        "uid": f"uid-of-{name}",
        "name": name,
        "group": "paris",
        "state": state,
        "code": "",
        "text": "",
        "hint": "",
        "since": NOW - 20,
        "sent": 0.0,
        "began": 0.0,
        "ended": 0.0,
        "expires": NOW + 600,
        "until": None,
        "way": "held link",
        "output": None,
        "cancelled_by": "",
    } | more


FAILED = target(
    "web-7",
    "failed",
    code="visit.off",
    text="its service\x1b[2J is off",
    hint="Start it there: popham agent service start",
)
QUEUED = target("web-9", "queued", way="heartbeat", until=NOW + 240)


@pytest.fixture
def popham(popham):
    """Return a function that runs a command line, and waits for nothing between two looks."""

    def run(*args, **more):
        return popham(*args, **({"wait": lambda _seconds: None} | more))

    return run


@pytest.fixture
def fleet(manager):
    """A Manager with one operation, of which one target failed and two wait."""
    manager.on("POST /operations", OPERATION, status=201)
    manager.on("GET /operations/op3", OPERATION)
    manager.on("GET /operations/op3/targets", {"items": [FAILED, QUEUED], "cursor": ""})
    return manager


def test_f_o4_an_order_names_its_targets_and_says_how_to_follow_it(popham, manager):
    manager.on("POST /operations", OPERATION | {"counts": {"queued": 8}}, status=201)
    manager.on("GET /operations/op3", OPERATION | {"counts": {"queued": 8}})
    found = popham("op", "check-in", "-g", "paris", "-m", "after the move", "--expires", "1h")
    assert manager.requests[0] == (
        "POST",
        "/operations",
        {
            "kind": "check-in",
            **TARGETS,
            "args": {},
            "dry_run": False,
            "expires": 3600.0,
            "message": "after the move",
        },
    )
    assert found.stdout == "op3 check-in: 0 of 8 succeeded, 8 queued\n"
    assert found.stderr == "Follow it: popham op status op3 -w\n"
    assert found.exit_code == 0


@pytest.mark.parametrize("kind", [str(kind) for kind in ORDERED])
def test_f_o4_every_kind_that_can_be_ordered_has_a_command(popham, manager, kind):
    manager.on("POST /operations", OPERATION | {"kind": kind, "counts": {"queued": 8}}, status=201)
    manager.on("GET /operations/op3", OPERATION | {"kind": kind, "counts": {"queued": 8}})
    name = ["restart-nginx"] if kind == "run" else []
    assert popham("op", kind, *name, "-s", "web-1,web-2", "-s", "web-3").exit_code == 0
    asked = manager.requests[0][2]
    assert (asked["kind"], asked["agents"]) == (kind, ["web-1", "web-2", "web-3"])
    assert asked["args"] == ({"name": "restart-nginx"} if kind == "run" else {})


def test_unknown_hosts_are_named_and_the_good_ones_are_served(popham, manager):
    held = OPERATION | {"unknown": ["web-44\x1b[2J"], "ambiguous": ["db"], "counts": {"queued": 8}}
    manager.on("POST /operations", held, status=201)
    manager.on("GET /operations/op3", held)
    found = popham("op", "check-in", "web-1", "web-44")
    assert found.exit_code == 1
    assert "there is no agent web-44\\x1b[2J; 'popham get agents' shows all" in found.stderr
    assert found.stdout == "op3 check-in: 0 of 8 succeeded, 8 queued\n"


def test_who_failed_at_once_is_told_with_code_and_next_step(popham, fleet):
    found = popham("op", "check-in", "-g", "paris")
    assert found.exit_code == 1
    line = "  web-7: its service\\x1b[2J is off (visit.off). Start it there: popham agent service start"
    assert line in found.stderr.splitlines()


def test_who_answers_in_a_moment_is_told_before_the_prompt_comes_back(popham, manager):
    waited = []
    manager.on("POST /operations", OPERATION | {"counts": {"queued": 8}}, status=201)
    manager.on("GET /operations/op3", OPERATION | {"counts": {"sent": 8}}, OVER)
    found = popham("op", "check-in", "-g", "paris", wait=waited.append)
    assert (found.stdout, found.stderr) == ("op3 check-in: 8 of 8 succeeded\n", "")
    assert len(waited) == 2


def test_targets_are_named_in_one_way(popham, manager):
    for wrong in ([], ["web-1", "-g", "paris"], ["--all", "-l", "env=prod"]):
        found = popham("op", "check-in", *wrong)
        assert (found.exit_code, "Name the targets in one way" in found.stderr) == (64, True)
    assert manager.requests == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--timeout", "1m"], "--timeout goes with -w"),
        (["-w", "--dry-run"], "--dry-run orders nothing"),
        (["-w", "-o", "json"], "use -o text or jsonl"),
    ],
)
def test_options_that_contradict_each_other_are_refused(popham, manager, options, said):
    found = popham("op", "check-in", "web-1", *options)
    assert (found.exit_code, said in found.stderr, manager.requests) == (64, True, [])


def test_a_dry_run_lists_targets_and_why_each_is_one(popham, manager):
    refusal = {"code": "visit.off", "detail": "its service is off", "hint": ""}
    manager.on(
        "POST /operations",
        {
            "targets": [
                {
                    "uid": "u1",
                    "name": "web-1",
                    "group": "paris",
                    "why": "in group paris",
                    "way": "held link",
                    "until": None,
                    "refusal": None,
                },
                {
                    "uid": "u2",
                    "name": "web-2",
                    "group": "rome",
                    "why": "in group rome, below paris",
                    "way": "visit",
                    "until": NOW,
                    "refusal": refusal,
                },
            ],
            "unknown": [],
            "ambiguous": [],
            "warnings": ["130 agents"],
        },
    )
    found = popham("op", "restart", "-g", "paris", "--dry-run")
    assert found.stdout.splitlines() == [
        "NAME   GROUP  WHY                         WAY                             HEARS BY",
        "web-1  paris  in group paris              held link                       -",
        "web-2  rome   in group rome, below paris  its service is off (visit.off)  2027-01-15T08:00:00Z",
    ]
    assert found.stderr == "Warning: 130 agents\nNothing was ordered: this was a dry run.\n"
    assert found.exit_code == 1


def test_f_o4_status_shows_how_far_it_is_and_who_is_in_trouble(popham, fleet):
    found = popham("op", "status", "op3")
    assert found.stdout.splitlines() == [
        "operation: op3, check-in, open",
        "ordered:   2027-01-15T07:59:30Z by ada: after the move",
        "targets:   5 of 8 succeeded, 1 failed, 2 queued",
        f"           [{'#' * 15}{'!' * 3}{'.' * 6}]",
        "",
        "Did not succeed:",
        "  web-7  failed  its service\\x1b[2J is off (visit.off). Start it there: popham agent service start",
        "  web-9  queued  heartbeat, by 2027-01-15T08:04:00Z",
        "",
        "Waited for:",
        "  web-7  failed  its service\\x1b[2J is off (visit.off). Start it there: popham agent service start",
        "  web-9  queued  heartbeat, by 2027-01-15T08:04:00Z",
    ]
    assert found.exit_code == 1
    states = [path for _, path, _ in fleet.requests if "targets" in path]
    assert "state=failed%2Cexpired%2Ccancelled%2Cunknown" in states[0]
    assert "state=queued%2Csent%2Crunning" in states[1]


def test_targets_are_listed_page_by_page(popham, manager):
    manager.on("GET /operations/op3", OVER)
    manager.on(
        "GET /operations/op3/targets",
        {"items": [target("web-1", "succeeded")], "cursor": "c1"},
        {
            "items": [
                target(
                    "web-2",
                    "succeeded",
                    output={"sha256": "0" * 64, "length": 7, "left_out": 0, "kept": True},
                )
            ],
            "cursor": "",
        },
    )
    found = popham("op", "status", "op3", "--targets", "--state", "succeeded", "-o", "wide")
    lines = found.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "web-1", "web-2"]
    assert "7 bytes" in lines[2]
    assert found.exit_code == 0


def test_watching_ends_when_all_are_done_and_says_who_failed(popham, manager):
    ended = OPERATION | {"state": "over", "counts": {"succeeded": 7, "failed": 1}}
    manager.on("POST /operations", OPERATION | {"counts": {"queued": 8}}, status=201)
    manager.on(
        "GET /operations/op3", OPERATION | {"counts": {"queued": 8}}, httpx2.ConnectError("gone"), ended
    )
    manager.on("GET /operations/op3/targets", {"items": [FAILED], "cursor": ""})
    found = popham("op", "check-in", "-g", "paris", "-w", wait=lambda _seconds: None)
    assert found.stdout.splitlines() == [
        "op3 check-in: 0 of 8 succeeded, 8 queued",
        "op3 check-in: 7 of 8 succeeded, 1 failed",
    ]
    assert "Still trying." in found.stderr
    assert "web-7: its service" in found.stderr
    assert found.exit_code == 1


def test_watching_on_a_terminal_waits_for_a_manager_that_goes_away_between_two_questions(popham, manager):
    manager.on("GET /operations/op3", OPERATION, OPERATION, OVER)
    page = {"items": [FAILED], "cursor": ""}
    manager.on("GET /operations/op3/targets", page, page, httpx2.ConnectError("gone"), page)
    found = popham("op", "status", "op3", "-w", wait=lambda _seconds: None, draws=True)
    assert "Still trying." in found.stderr
    assert (found.exit_code, found.stdout.count("8 of 8 succeeded")) == (0, 1)


def test_no_more_targets_are_asked_for_than_are_shown(popham, manager):
    manager.on("GET /operations/op3", OPERATION)
    many = [target(f"web-{number}", "queued") for number in range(SHOWN)]
    manager.on("GET /operations/op3/targets", {"items": many, "cursor": "more"})
    popham("op", "status", "op3")
    asked = [path for _, path, _ in manager.requests if "targets" in path]
    assert (len(asked), all(f"limit={SHOWN}" in path for path in asked)) == (2, True)


def test_watching_gives_up_after_its_timeout(popham, manager):
    manager.on("GET /operations/op3", OPERATION)
    found = popham("op", "status", "op3", "-w", "--timeout", "0s")
    assert (found.exit_code, "not over in time" in found.stderr) == (75, True)


def test_a_list_has_filters(popham, manager):
    manager.on("GET /operations", {"items": [OPERATION, OVER | {"name": "op2"}], "cursor": ""})
    found = popham(
        "op", "list", "--kind", "check-in", "--author", "ada", "--agent", "web-1", "--open", "--limit", "1"
    )
    assert "kind=check-in&author=ada&agent=web-1&open=true" in manager.requests[0][1]
    assert [line.split()[0] for line in found.stdout.splitlines()] == ["OPERATION", "op3"]
    manager.answers.clear()
    manager.on("GET /operations", {"items": [], "cursor": ""})
    assert "'popham op check-in AGENT' orders one" in popham("op", "list").stderr


def test_cancel_and_retry_say_what_holds_then(popham, manager):
    manager.on("POST /operations/op3/cancel", OVER | {"counts": {"cancelled": 2, "succeeded": 6}})
    manager.on(
        "POST /operations/op3/retry",
        OPERATION | {"name": "op4", "retry_of": "op3", "counts": {"queued": 8}},
        status=201,
    )
    manager.on("GET /operations/op4", OPERATION | {"name": "op4", "counts": {"queued": 8}})
    assert popham("op", "cancel", "op3").stdout == "op3 check-in: 6 of 8 succeeded, 2 cancelled\n"
    assert (
        popham("op", "retry", "op3", "--state", "failed").stdout
        == "op4 check-in: 0 of 8 succeeded, 8 queued\n"
    )
    assert manager.requests[1][2] == {"states": ["failed"]}


def test_output_is_written_to_a_file_and_made_harmless_on_a_terminal(popham, manager, tmp_path):
    path = "/operations/op5/targets/web-1/output"
    data = b"done\n\x1b[2Jgone\n"

    def answer(request):
        assert request.url.path == f"/api/v1{path}"
        return httpx2.Response(200, content=data)

    manager.handle = answer
    to = tmp_path / "out.bin"
    assert popham("op", "output", "op5", "web-1", "--to", str(to)).exit_code == 0
    assert to.read_bytes() == data
    wrong = popham("op", "output", "op5", "web-1", "--to", str(tmp_path / "none" / "out.bin"))
    assert (wrong.exit_code, "it cannot be written: No such file" in wrong.stderr) == (1, True)
    assert popham("op", "output", "op5", "web-1").stdout_bytes == data
    shown = popham("op", "output", "op5", "web-1", draws=True)
    assert shown.stdout == "done\n\\x1b[2Jgone\n\n"


def test_f_o4_what_was_run_is_shown_once_it_is_over(popham, manager):
    ended = OPERATION | {"kind": "run", "args": {"name": "seq"}, "state": "over", "counts": {"succeeded": 2}}
    ended["targets"] = 2
    manager.on("POST /operations", ended, status=201)
    manager.on("GET /operations/op3", ended)
    output = {"sha256": "0" * 64, "length": 65560, "left_out": 43334, "kept": True}
    items = [
        target("web-1", "succeeded", text="seq ended with exit status 0: 1\n2"),
        target("web-2", "succeeded", text=f"seq ended with exit status 0: {'1' * 500}", output=output),
    ]
    manager.on("GET /operations/op3/targets", {"items": items, "cursor": ""})
    whole = "[65560 bytes, 43334 left out: popham op output op3 web-2]"
    assert popham("op", "run", "seq", "-g", "paris", "-w").stdout.splitlines() == [
        "op3 run seq: 2 of 2 succeeded",
        "  web-1: seq ended with exit status 0: 1… [popham op output op3 web-1]",
        f"  web-2: seq ended with exit status 0: {'1' * 130}… {whole}",
    ]


def test_a_bar_is_whole_once_all_targets_are_done():
    assert bar(OVER) == f"[{'#' * BAR}]"
    assert bar(OPERATION | {"counts": {}}) == f"[{'.' * BAR}]"
    assert bar(OPERATION | {"counts": {"expired": 8}}) == f"[{'!' * BAR}]"


def test_json_is_what_the_manager_says(popham, fleet):
    assert json.loads(popham("op", "status", "op3", "-o", "json").stdout) == OPERATION
