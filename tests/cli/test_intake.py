"""``popham get intake``: what waits, what was refused, and who is behind."""

import json

import pytest

from popham.cli.data_columns import size

LOGS = {
    "name": "logs", "queued": 120, "queued_bytes": 2048, "oldest": 3.2, "appended": 812.4,
    "refused": {"queue": 2, "quota": 1}, "stored": 9000, "lost": {"age": 7}, "damaged": 0, "segments": 3,
    "bytes": 150 * 1024**2,
    "readers": [{"name": "tables", "bytes": 700, "records": 40, "seconds": 65.0}],
}  # fmt: skip
EVENTS = LOGS | {
    "name": "events", "queued": 0, "queued_bytes": 0, "oldest": 0.0, "refused": {}, "lost": {}, "appended": 0.0,
    "readers": [{"name": "events", "bytes": 0, "records": 0, "seconds": 0.0}],
}  # fmt: skip


def cells(line):
    return [cell for cell in line.split("  ") if cell]


def test_f_d6_the_intake_is_shown_by_stream_with_its_depth(popham, manager):
    manager.on("GET /intake", {"items": [EVENTS, LOGS]})
    lines = popham("get", "intake").stdout.splitlines()
    rows = [[cell.strip() for cell in cells(line)] for line in lines]
    assert rows[0] == [
        *(
            "STREAM",
            "STORED",
            "LOST",
            "QUEUED",
            "OLDEST",
            "PER SECOND",
            "REFUSED",
            "SEGMENTS",
            "SIZE",
            "BEHIND",
        )
    ]
    assert rows[1] == ["events", "9000", "-", "0", "-", "0", "-", "3", "150 MiB", "events none"]
    assert rows[2] == [
        *("logs", "9000", "7 age", "120", "3s", "812", "2 queue, 1 quota", "3", "150 MiB"),
        "tables 40 records, 1m",
    ]


def test_f_d6_programs_get_one_stream_whole(popham, manager):
    manager.on("GET /intake", {"items": [EVENTS, LOGS]})
    assert json.loads(popham("get", "intake", "logs", "-o", "json").stdout) == LOGS
    assert json.loads(popham("get", "intake", "-o", "json").stdout) == {"items": [EVENTS, LOGS]}


def test_a_stream_that_does_not_exist_is_named(popham, manager):
    manager.on("GET /intake", {"items": [EVENTS, LOGS]})
    result = popham("get", "intake", "log")
    assert result.exit_code == 1
    assert "there is no stream 'log'" in result.stderr
    assert "logs" in result.stderr


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (64 * 1024**2, "64 MiB"), (1 << 40, "1 TiB")],
)
def test_sizes_are_shown_in_three_digits(count, text):
    assert size(count) == text
