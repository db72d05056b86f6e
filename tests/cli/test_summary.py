"""``popham get summary``: what it asks and prints."""

import csv
import io
import json
from dataclasses import fields

import pytest
from tests.cli.conftest import UIDS

from popham.manager.summary.rolled import RolledView
from popham.manager.summary.views import GroupSummaryView, SummaryView

DISK = "system.filesystem.utilization"
VALUE = {"item": "system.cpu.utilization", "resource": "", "value": 0.5, "unit": "1", "at": 1_800_000_000.0}
GROUP = {
    "name": "paris",
    "agents": 3,
    "presence": {"missing": 1, "on time": 2},
    "sync": {"in sync": 3},
    "oldest": 95.0,
    "metrics": {"cpu": {"max": 0.93, "mean": 0.415}, "load": {"max": 2.0, "mean": 1.25}},
    "alerts": {"error": 1},
    "waiting": 6,
    "lost": {"age": 3, "disk": 1},
}
ROLLED = {
    "at": 1_800_000_000.0,
    "item": "system.cpu.utilization",
    "resource": "",
    "min": 0.25,
    "max": 0.75,
    "mean": 0.5,
    "count": 10,
    "share": 1.0,
    "whole": True,
}


def shown(number=1, **said):
    return {
        "uid": UIDS[number],
        "name": f"web-{number}",
        "group": "paris",
        "kind": "own",
        "admission": "accepted",
        "presence": "on time",
        "connected": True,
        "last_contact": 1_800_000_000.0,
        "mode": "push",
        "dialer": "agent",
        "fallback": "",
        "server": "https://m.test:4320",
        "wanted": 3,
        "applied": 3,
        "sync": "in sync",
        "flow": "in time",
        "interval": 60.0,
        "at": 1_799_999_980.0,
        "age": 20.0,
        "bound": 200.2,
        "cpu": 0.415,
        "memory": 0.5,
        "filesystem": 0.93,
        "mount": "/var",
        "load": 1.5,
        "network": 1536.0,
        "skew": -3.26,
        "states": {DISK: "error"},
        "stored": {"summary": 10},
        "waiting": {"summary": 2, "logs": 7},
        "lost": {"age": 5, "count": 1},
        "values": [],
    } | said


def cells(line):
    return [cell for cell in line.split("  ") if cell]


def test_what_these_tests_show_has_the_fields_of_the_api():
    assert set(shown()) == {field.name for field in fields(SummaryView)}
    assert set(GROUP) == {field.name for field in fields(GroupSummaryView)}
    assert set(ROLLED) == {field.name for field in fields(RolledView)}


def test_f_o1_the_window_is_a_table_with_a_row_for_each_agent(popham, manager):
    manager.on(
        "GET /summary", {"items": [shown(), shown(2, flow="late", age=7200.0, bound=None)], "cursor": ""}
    )
    found = popham("get", "summary")
    titles, first, second = (list(map(str.strip, cells(line))) for line in found.stdout.splitlines())
    assert dict(zip(titles, first, strict=True)) == {
        "NAME": "web-1",
        "GROUP": "paris",
        "PRESENCE": "on time",
        "SYNC": "in sync",
        "WANTED": "3",
        "APPLIED": "3",
        "MODE": "push",
        "CPU": "41.5 %",
        "MEMORY": "50 %",
        "FULLEST": "93 % error",
        "LOAD": "1.50",
        "NETWORK": "1.5 KiB/s",
        "ALERTS": "1 error",
        "AGE": "20s",
        "BOUND": "200s",
        "WAITING": "9",
        "LOST": "6",
        "SKEW": "-3.3s",
    }
    later = dict(zip(titles, second, strict=True))
    assert (later["AGE"], later["BOUND"]) == ("2h late", "-")


def test_f_o1_what_is_not_known_is_a_dash_and_why_is_said(popham, manager):
    nothing = dict.fromkeys(("at", "age", "bound", "cpu", "memory", "filesystem", "load", "network", "skew"))
    bare = shown(flow="paused", states={}, waiting={}, lost={}, mount="", **nothing)
    manager.on("GET /summary", {"items": [bare], "cursor": ""})
    line = popham("get", "summary").stdout.splitlines()[1]
    assert list(map(str.strip, cells(line)))[7:] == [
        *("-", "-", "-", "-", "-", "-", "paused", "-", "0", "0", "-"),
    ]


def test_f_o1_the_wide_table_says_what_was_lost_by_which_cause(popham, manager):
    manager.on("GET /summary", {"items": [shown()], "cursor": ""})
    found = popham("get", "summary", "-o", "wide").stdout
    assert "5 age, 1 count" in found
    assert "https://m.test:4320" in found
    assert "/var" in found


def test_f_o1_the_window_is_limited_to_groups_and_labels(popham, manager):
    manager.on("GET /summary", {"items": [], "cursor": ""})
    found = popham("get", "summary", "-g", "paris", "-l", "env=prod")
    assert "No such agents." in found.stderr
    assert "group=paris" in manager.requests[0][1]
    assert "selector=env%3Dprod" in manager.requests[0][1]


def test_f_o1_one_agent_is_shown_with_all_its_values(popham, manager):
    manager.on("GET /summary/web-1", shown(values=[VALUE]))
    found = popham("get", "summary", "web-1").stdout
    assert "system.cpu.utilization" in found
    assert "2027-01-15T08:00:00Z" in found
    assert json.loads(popham("get", "summary", "web-1", "-o", "json").stdout) == shown(values=[VALUE])


def test_f_o1_json_is_what_the_api_says(popham, manager):
    manager.on("GET /summary", {"items": [shown()], "cursor": ""})
    assert json.loads(popham("get", "summary", "-o", "json").stdout) == {"items": [shown()]}


def test_f_o1_a_sheet_has_plain_numbers_and_no_formulas(popham, manager):
    bad = shown(2, server="=cmd()", cpu=None, waiting={})
    manager.on("GET /summary", {"items": [shown(), bad], "cursor": ""})
    first, second = csv.DictReader(io.StringIO(popham("get", "summary", "-o", "csv").stdout))
    assert (first["name"], first["cpu"], first["age"], first["connected"]) == (
        "web-1",
        "0.415",
        "20.0",
        "true",
    )
    assert (first["waiting_logs"], first["waiting_events"], first["lost"], first["alerts"]) == (
        "7",
        "",
        "6",
        "1",
    )
    assert (second["server"], second["cpu"]) == ("'=cmd()", "")


def test_f_o1_groups_are_counted(popham, manager):
    manager.on("GET /group-summaries", {"items": [GROUP]})
    titles, row = (
        list(map(str.strip, cells(line))) for line in popham("get", "summary", "--groups").stdout.splitlines()
    )
    assert dict(zip(titles, row, strict=True)) == {
        "NAME": "paris",
        "AGENTS": "3",
        "PRESENCE": "1 missing, 2 on time",
        "SYNC": "3 in sync",
        "CPU": "93 % / 41.5 %",
        "MEMORY": "-",
        "FULLEST": "-",
        "LOAD": "2.00 / 1.25",
        "NETWORK": "-",
        "ALERTS": "1 error",
        "OLDEST": "1m",
        "WAITING": "6",
        "LOST": "4",
    }
    (sheet,) = csv.DictReader(io.StringIO(popham("get", "summary", "--groups", "-o", "csv").stdout))
    assert (sheet["on_time"], sheet["overdue"], sheet["cpu_mean"], sheet["lost"]) == ("2", "", "0.415", "4")


def test_f_d7_what_was_rolled_up_is_shown_and_a_value_that_is_not_whole_is_not(popham, manager):
    manager.on("GET /summary/web-1/rollups", {"items": [ROLLED, ROLLED | {"whole": False, "share": 0.6}]})
    found = popham("get", "summary", "web-1", "--every", "1h").stdout.splitlines()
    assert list(map(str.strip, cells(found[1])))[-5:] == ["0.25", "0.75", "0.5", "10", "100 %"]
    assert list(map(str.strip, cells(found[2])))[-5:] == ["-", "-", "-", "10", "60 %"]
    assert manager.requests[0][1] == "/summary/web-1/rollups?level=1h"


def test_f_d7_nothing_rolled_up_yet_is_said(popham, manager):
    manager.on("GET /summary/web-1/rollups", {"items": []})
    assert "Nothing was rolled up of web-1 yet" in popham("get", "summary", "web-1", "--every", "1d").stderr


@pytest.mark.parametrize("args", [(), ("--groups",)])
def test_f_o1_a_watch_looks_every_two_seconds_and_prints_what_changed(popham, manager, args):
    rows = [GROUP, GROUP | {"oldest": 97.0}, GROUP | {"agents": 4}]
    if not args:
        rows = [shown(), shown(age=22.0), shown(cpu=0.9, age=2.0)]
    path = "/group-summaries" if args else "/summary"
    manager.on(f"GET {path}", *({"items": [row], "cursor": ""} for row in rows))
    waits = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) > 2:
            raise KeyboardInterrupt

    found = popham("get", "summary", *args, "-w", wait=wait)
    assert waits == [2.0, 2.0, 2.0]
    assert len(found.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    "args",
    [
        ("web-1", "-g", "paris"),
        ("web-1", "--groups"),
        ("--groups", "-l", "a=b"),
        ("--every", "1h"),
        ("web-1", "--every", "1h", "-w"),
        ("web-1", "--every", "2h"),
        ("-w", "-o", "csv"),
    ],
)
def test_what_excludes_each_other_is_refused(popham, args):
    assert popham("get", "summary", *args).exit_code == 64


@pytest.mark.parametrize(
    ("skew", "said"),
    [(3.26, "3.3s ahead of the Manager's clock"), (-7200.0, "7200.0s behind the Manager's clock")],
)
def test_f_d12_an_agent_is_described_with_its_clock_skew(popham, manager, agent, skew, said):
    manager.on("GET /agents/web-1", agent(detail={"clock_skew": skew}))
    (line,) = (line for line in popham("describe", "agent", "web-1").stdout.splitlines() if "clock" in line)
    assert line.split(":")[1].strip() == said
