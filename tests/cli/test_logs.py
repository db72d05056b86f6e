"""``popham logs``, ``popham metrics`` and ``popham data``: what is asked, and what a terminal is shown."""

import json
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from popham.cli.logs import EVERY
from popham.cli.metrics import draw, show_value
from popham.cli.reading import read_time

NOW = 1_800_000_000.0


def line(text, **more):
    found = {"uid": "u-1", "agent": "web-1", "at": NOW - 1.5, "time": NOW, "received": NOW, "severity": 17}
    return found | {"level": "", "source": "nginx", "text": text, "attributes": {}} | more


def page(*items, cursor="", after="1.2"):
    return {"items": list(items), "cursor": cursor, "after": after}


def asked(manager):
    return [parse_qs(urlsplit(path).query) for _, path, _ in manager.requests]


def test_lines_have_time_agent_source_and_text(popham, manager):
    manager.on("GET /logs", page(line("hello"), line("bye", agent="", source="")))
    result = popham("logs", "web-1", "-g", "paris", "-l", "env=prod", "--level", "warn", "--grep", "h+")
    assert result.stdout.splitlines() == [
        "2027-01-15T07:59:58.500Z  web-1  nginx  hello",
        "2027-01-15T07:59:58.500Z  u-1  -  bye",
    ]
    assert asked(manager) == [
        {
            "agent": ["web-1"],
            "group": ["paris"],
            "selector": ["env=prod"],
            "since": [str(NOW - 3600)],
            "grep": ["h+"],
            "severity": ["13"],
            "newest": ["true"],
            "limit": ["100"],
        }
    ]


def test_following_goes_on_where_it_was_and_waits_for_a_manager_that_is_away(popham, manager):
    manager.on("GET /logs", page(line("old")), page(line("new"), after="3.4"))
    manager.on("GET /logs", httpx2.ConnectError("away"), page(line("last"), after="5.6"))
    waited = []

    def wait(seconds):
        waited.append(seconds)
        if len(waited) > 3:
            raise KeyboardInterrupt

    result = popham("logs", "-f", wait=wait)
    assert [text.split()[-1] for text in result.stdout.splitlines()] == ["old", "new", "last"]
    assert "Still trying" in result.stderr
    assert [query.get("after") for query in asked(manager)] == [None, ["1.2"], ["3.4"], ["3.4"]]
    assert waited == [EVERY] * 4


def test_following_waits_for_nothing_while_there_is_more(popham, manager, monkeypatch):
    monkeypatch.setattr("popham.cli.logs.PAGE", 2)
    manager.on("GET /logs", page(), page(line("a"), line("b")), page(line("c"), line("d")), page(line("e")))
    waited = []

    def wait(seconds):
        waited.append(seconds)
        if len(waited) > 1:
            raise KeyboardInterrupt

    result = popham("logs", "-f", wait=wait)
    assert [text.split()[-1] for text in result.stdout.splitlines()] == ["a", "b", "c", "d", "e"]


def test_all_lines_come_page_by_page(popham, manager):
    manager.on("GET /logs", page(line("a"), cursor="c"), page(line("b")))
    result = popham("logs", "-n", "0", "-o", "jsonl")
    assert [json.loads(text)["text"] for text in result.stdout.splitlines()] == ["a", "b"]
    assert [query.get("cursor") for query in asked(manager)] == [None, ["c"]]


def test_sec_13_what_machines_write_moves_no_cursor_and_is_no_formula(popham, manager):
    manager.on("GET /logs", page(line("\x1b[2Jgone\u202e", agent="=cmd|x", source="@sum")))
    assert "\\x1b[2Jgone\\u202e" in popham("logs", color=True).stdout
    found = popham("logs", "-o", "csv", color=True).stdout.splitlines()[1]
    assert found == "2027-01-15T07:59:58.500Z,'=cmd|x,u-1,'@sum,error,\\x1b[2Jgone\\u202e"
    assert "\x1b" not in popham("logs", "-o", "json", color=True).stdout


@pytest.mark.parametrize("arguments", [["-f", "--until", "1h"], ["-f", "-o", "json"], ["--since", "soon"]])
def test_what_makes_no_sense_is_refused(popham, arguments):
    assert popham("logs", *arguments).exit_code == 64


def test_times_are_how_long_ago_or_dates():
    assert read_time("90s", NOW) == NOW - 90
    assert read_time("2027-01-15T08:00", NOW) == NOW
    assert read_time("2027-01-15T09:00+01:00", NOW) == NOW


def test_metrics_are_listed_with_how_many_agents_have_them(popham, manager):
    found = {"name": "cpu", "kind": "gauge", "unit": "1", "agents": 3, "points": 9, "newest": NOW - 60}
    manager.on("GET /metrics", {"items": [found]})
    assert popham("metrics").stdout.splitlines()[1].split() == [
        *("cpu", "gauge", "1", "3", "9", "1m", "ago"),
    ]


SERIES = {
    "items": [
        {
            "uid": "u-1",
            "agent": "web-1",
            "kind": "gauge",
            "unit": "1",
            "attributes": {"state": "=used"},
            "values": [1.0, None, 3.0],
        }
    ],
    "since": NOW - 3600,
    "step": 1200.0,
    "more": True,
}


def test_a_metric_is_a_row_with_its_course(popham, manager):
    manager.on("GET /metrics/cpu", SERIES)
    result = popham("metrics", "cpu", "web-1", "--step", "20m", "-n", "1")
    assert result.stdout.splitlines()[1].split() == [
        "web-1",
        "state==used",
        "1",
        *("1", "2", "3", "3"),
        "▁",
        "█",
    ]
    assert "The first 1 series" in result.stderr
    assert asked(manager) == [
        {
            "agent": ["web-1"],
            "since": [str(NOW - 3600)],
            "until": [str(NOW)],
            "step": ["1200.0"],
            "limit": ["1"],
        }
    ]


def test_a_metric_as_csv_has_a_line_for_each_value(popham, manager):
    manager.on("GET /metrics/cpu", SERIES)
    assert popham("metrics", "cpu", "-o", "csv").stdout.splitlines() == [
        "time,agent,uid,attributes,unit,value",
        "2027-01-15T07:00:00.000Z,web-1,u-1,state==used,1,1.0",
        "2027-01-15T07:40:00.000Z,web-1,u-1,state==used,1,3.0",
    ]


@pytest.mark.parametrize(
    ("values", "course"), [([], ""), ([None], ""), ([2, 2], "▁▁"), ([0, None, 7, 3.5], "▁ █▅")]
)
def test_a_course_is_drawn_between_its_least_and_its_greatest(values, course):
    assert draw(values) == course


def record(number):
    return {
        "uid": "u",
        "epoch": 1,
        "offset": number,
        "at": number,
        "body": f"line {number}",
        "attributes": {},
    }


@pytest.mark.parametrize(
    ("value", "shown"), [(0.123456, "0.1235"), (9999.4, "9999"), (290_112.5, "290112"), (-3e20, "-3e+20")]
)
def test_a_value_has_as_many_digits_as_say_something(value, shown):
    assert show_value(value) == shown


def test_an_export_that_was_interrupted_goes_on(popham, manager, tmp_path):
    path = tmp_path / "out.jsonl"
    command = ["data", "export", "logs", "--since", "1d", "--to", str(path)]
    manager.on("GET /data/logs", page(record(1), cursor="one"), httpx2.ConnectError("away"))
    assert popham(*command).exit_code != 0
    assert not path.exists()
    manager.answers.clear()
    manager.on("GET /data/logs", page(record(2)))
    result = popham(*command, now=lambda: NOW + 500)
    assert [json.loads(text)["offset"] for text in path.read_text().splitlines()] == [1, 2]
    assert "Going on after 1 record of" in result.stderr
    assert "2 records" in result.stderr
    assert [query.get("cursor") for query in asked(manager)] == [None, ["one"], ["one"]]
    assert len({query["until"][0] for query in asked(manager)}) == 1, (
        "it goes on with the times of its beginning"
    )
    assert list(tmp_path.glob("out*")) == [path]


def test_an_export_of_another_manager_does_not_go_on(popham, manager, tmp_path):
    path = tmp_path / "out.jsonl"
    command = ["data", "export", "logs", "--to", str(path)]
    manager.on("GET /data/logs", page(record(1), cursor="one"), httpx2.ConnectError("away"))
    popham(*command)
    held = tmp_path / "out.jsonl.part.json"
    held.write_text(held.read_text().replace('"manager": "https://', '"manager": "https://not.'))
    manager.answers.clear()
    manager.on("GET /data/logs", page(record(2)))
    popham(*command)
    assert [json.loads(text)["offset"] for text in path.read_text().splitlines()] == [2]


def test_an_export_as_parquet_has_the_columns_of_the_stream(popham, manager, tmp_path):
    import duckdb

    path = tmp_path / "out.parquet"
    manager.on("GET /data/logs", page(record(1)))
    popham("data", "export", "logs", "--to", str(path), "-o", "parquet")
    with duckdb.connect() as connection:
        found = connection.execute('SELECT "offset", body, attributes FROM read_parquet(?)', [str(path)])
        assert found.fetchall() == [(1, "line 1", "{}")]
