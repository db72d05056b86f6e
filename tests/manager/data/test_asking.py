"""What people ask of rows: the same answer from memory and from files."""

import pytest
from tests.manager.data.intaking import (
    ALICE,
    BOB,
    NOW,
    SECOND,
    Clock,
    Running,
    Segments,
    attribute,
    counter,
    gauge,
    line,
    lines,
    logs,
    make_follower,
)

from popham.errors import DefinitionError
from popham.manager.data.asking import Wanted
from popham.manager.data.engine import EngineError, check_grep
from popham.manager.data.series import find_names, find_series
from popham.streams.frame import Stream

ATTACKS = (
    "'; DROP TABLE tail; --",
    '" OR 1=1 --',
    "%s %(x)s {0} $1 ?",
    "\x1b[2J\x1b]0;owned\x07",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "(a+)+$",
    "\u202eevil",
)


@pytest.fixture(params=["memory", "files"])
async def running(request, tmp_path):
    """Two agents' lines, in memory or in files."""
    segments = Segments()
    errors = logs(
        line("disk full", NOW - 5, severity_number=17, attributes=[attribute("log.file.path", "/var/log/a")]),
        line("fine", NOW - 4, severity_number=9, attributes=[attribute("popham.source", "web")]),
    )
    segments.take(*lines(["one", "two", "three"], time=NOW - 100, step=10))
    segments.take(errors, 2, uid=BOB)
    async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
        if request.param == "files":
            await running.follower.write()
        yield running


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["one", "two", "three", "disk full", "fine"]),
        ({"uids": [str(BOB)]}, ["disk full", "fine"]),
        ({"uids": []}, []),
        ({"uids": [str(BOB), *map(str, range(100))]}, ["disk full", "fine"]),
        ({"grep": "^t"}, ["two", "three"]),
        ({"grep": "(?i)DISK"}, ["disk full"]),
        ({"severity": 13}, ["disk full"]),
        ({"source": "web"}, ["fine"]),
        ({"source": "/var/log/a"}, ["disk full"]),
        ({"since": (NOW - 90) * SECOND, "until": (NOW - 80) * SECOND}, ["two"]),
    ],
)
async def test_filters_mean_the_same_in_memory_and_in_files(running, wanted, expected):
    assert running.bodies(**wanted) == expected


async def test_pages_by_time_neither_miss_nor_repeat_a_row(running):
    found, cursor = [], ""
    while True:
        page = running.find(limit=2, cursor=cursor)
        found += [row[page.names.index("body")] for row in page.rows]
        cursor = page.cursor
        if not cursor:
            break
    assert found == ["one", "two", "three", "disk full", "fine"]


async def test_the_newest_rows_stand_in_the_order_of_their_times(running):
    page = running.find(limit=2, newest=True)
    assert [row[page.names.index("body")] for row in page.rows] == ["disk full", "fine"]


async def test_what_comes_later_is_found_in_the_order_in_which_it_came(running):
    segments, seen = running._segments, running.find(newest=True).after
    segments.take(*lines(["late"], time=NOW - 5000))
    segments.take(*lines(["now", "then"]), uid=BOB)
    await running.read_all()
    page = running.find(limit=2, after=seen)
    assert [row[page.names.index("body")] for row in page.rows] == ["late", "now"]
    await running.follower.write()
    page = running.find(limit=2, after=page.after)
    assert [row[page.names.index("body")] for row in page.rows] == ["then"]
    assert running.find(limit=2, after=page.after).rows == []


@pytest.mark.parametrize("cursor", ["x", "1.2", "1.2.3.4", "'; --", "1." * 3 + "1", "9" * 30])
async def test_a_cursor_that_is_none_is_refused(running, cursor):
    with pytest.raises(DefinitionError) as caught:
        running.find(cursor=cursor)
    assert caught.value.code == "definition.query"


@pytest.mark.parametrize("attack", ATTACKS)
async def test_sec_13_what_agents_and_people_write_is_data(tmp_path, attack):
    segments = Segments()
    segments.take(logs(line(attack, attributes=[attribute("popham.source", attack)]), line("other")), 2)
    async with Running(make_follower(tmp_path, segments, Clock()), segments) as running:
        assert running.bodies(source=attack) == [attack]
        assert running.bodies(uids=[attack]) == []
        assert running.bodies(name="") == [attack, "other"]
        await running.follower.write()
        assert running.bodies(source=attack) == [attack]


async def test_sec_13_an_expression_that_is_none_is_said(running):
    with running.follower._engine.open() as connection:
        check_grep(connection, "(a+)+$")
        with pytest.raises(DefinitionError, match="regular expression"):
            check_grep(connection, "(")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/stolen.csv'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SELECT * FROM 'https://192.0.2.1/x.parquet'",
        "ATTACH '/tmp/other.db'",
    ],
)
async def test_sec_13_no_statement_reaches_beyond_the_data(running, statement):
    with pytest.raises(EngineError), running.follower._engine.open() as connection:
        connection.execute(statement).fetchall()


async def test_a_question_that_takes_too_long_is_given_up(running, monkeypatch):
    monkeypatch.setattr("popham.manager.data.engine.SECONDS", 0.05)
    with pytest.raises(DefinitionError, match="more than can be found"):
        await running.follower._engine.ask(
            lambda connection: connection.execute(
                "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3"
            ).fetchall()
        )


async def measured(folder, *payloads):
    segments = Segments()
    for payload, count in payloads:
        segments.take(payload, count, stream=Stream.METRICS)
    return Running(make_follower(folder, segments, Clock(), stream=Stream.METRICS), segments)


def series(running, name, *, limit=10):
    wanted = Wanted(since=(NOW - 100) * SECOND, until=NOW * SECOND, name=name)
    with running.follower.look() as snapshot, running.follower._engine.open() as connection:
        parts = [(running.follower, snapshot)]
        return find_series(connection, parts, wanted, step=20 * SECOND, limit=limit)


async def test_f_o13_metrics_have_names_kinds_and_units(tmp_path):
    payloads = (gauge("cpu", 0.5, 1.5, time=NOW - 100), counter("bytes", 1, time=NOW - 50))
    async with await measured(tmp_path, *payloads) as running:
        with running.follower.look() as snapshot, running.follower._engine.open() as connection:
            wanted = Wanted(since=0, until=1 << 62)
            found = find_names(connection, [(running.follower, snapshot)], wanted)
    assert [(one.name, one.kind, one.unit, one.agents, one.points) for one in found] == [
        ("bytes", "counter", "By", 1, 1),
        ("cpu", "gauge", "1", 1, 2),
    ]


async def test_a_gauge_is_the_mean_of_each_step(tmp_path):
    async with await measured(tmp_path, gauge("cpu", 1.0, 3.0, 5.0, time=NOW - 100)) as running:
        (found,), more = series(running, "cpu")
        assert (found.uid, found.values, found.unit, more) == (
            str(ALICE),
            [2.0, 5.0, None, None, None],
            "1",
            False,
        )


async def test_a_counter_is_what_it_grew_in_a_second_also_where_it_began_anew(tmp_path):
    payload = counter("bytes", 100, 120, 160, 200, 40, 60, time=NOW - 100)
    async with await measured(tmp_path, payload) as running:
        (found,), _ = series(running, "bytes")
        assert (found.unit, found.values) == ("By/s", [2.0, 4.0, 3.0, None, None])


async def test_a_counter_that_is_seen_less_often_than_each_step_is_no_higher_by_that(tmp_path):
    payload = counter("bytes", 100, 140, 180, time=NOW - 100, step=40.0)
    async with await measured(tmp_path, payload) as running:
        (found,), _ = series(running, "bytes")
        assert found.values == [None, None, 1.0, None, 1.0]


async def test_more_series_than_were_asked_for_are_left_out_and_it_is_said(tmp_path):
    async with await measured(tmp_path) as running:
        for uid in (ALICE, BOB):
            running._segments.take(*gauge("cpu", 1.0, time=NOW - 50), uid=uid, stream=Stream.METRICS)
        await running.read_all()
        found, more = series(running, "cpu", limit=1)
        assert ([one.uid for one in found], more) == ([str(ALICE)], True)
