"""The advice of both founding documents, with the user's own numbers."""

import re
from pathlib import Path

import pytest

from popham.model.advice import Bounds, advise, bearable, capacity, show_bytes, show_rate
from popham.model.cell import Dialer, Mode
from popham.model.cost import Load, cost
from popham.model.measured import BUILT_IN

BOUNDS = Bounds(connections=19_000)


def pull(agents, heartbeat, dialer=Dialer.AGENT):
    return Load(
        agents=agents, mode=Mode.PULL, dialer=dialer, heartbeat=heartbeat, longest=heartbeat, pulls=True
    )


def push(agents, heartbeat=300.0):
    return Load(agents=agents, heartbeat=heartbeat, longest=heartbeat)


def said(before, after, bounds=BOUNDS):
    return {one.code: one for one in advise(before, after, BUILT_IN, bounds)}


SEPM = "Symantec Endpoint Protection Manager"
SQC = "Systemwalker Service Quality Coordinator"
TABLE = [
    # document, what it says, before, after, code, what the sentence names
    (
        SEPM,
        "If you set a heartbeat frequency to 30 minutes or less, it limits the total number of clients",
        [push(500)],
        [pull(500, 1800.0)],
        "short_heartbeat",
        "500 agents pull every 30m: a heartbeat of 30m or less limits how many agents a Manager bears",
    ),
    (
        SEPM,
        "For deployments of 1,000 clients or more, set the heartbeat frequency to the maximum length of time",
        [push(1000)],
        [pull(1000, 3600.0)],
        "longest_heartbeat",
        "1,000 agents: from 1,000 on, take the longest heartbeat that still meets your need",
    ),
    (
        SEPM,
        "to update policies and gather logs on a daily basis, set the heartbeat frequency to 24 hours",
        [push(2000)],
        [pull(2000, 300.0)],
        "daily_heartbeat",
        "update policies and gather logs once a day, a heartbeat of 24h makes 0.023 rounds a second instead of 6.7",
    ),
    (
        SEPM,
        "Because it requires a constant connection, push mode requires a large amount of network bandwidth",
        [pull(400, 300.0)],
        [push(400)],
        "held_links",
        "Push holds a constant connection: 400 more, for 15 MB of memory and 2 kB/s of keepalives",
    ),
    (
        SEPM,
        "a limited number of concurrent connections; push mode can quickly overwhelm those available",
        [push(100)],
        [push(19_500)],
        "open_files",
        "19,500 connections would be open at a time; the limit of open files and the configuration of",
    ),
    (
        SQC,
        "driven by the Manager at regular intervals of approximately 10 minutes; up to 20 minutes until it appears",
        [push(7)],
        [pull(7, 600.0, Dialer.MANAGER)],
        "visits",
        "visits 7 agents at regular intervals: it can take 10m until information is shown, and twice that, 20m",
    ),
]


def test_f_c11_every_advice_stands_on_the_page_that_says_how_to_choose():
    page = Path(__file__).parents[2] / "docs/reference/communication.md"
    text = page.read_text(encoding="utf-8").partition("## How to choose")[2]
    assert {code for *_, code, _ in TABLE} | {"too_many_rounds"} == set(
        re.findall(r"^\| `(\w+)`:", text, re.MULTILINE)
    )


@pytest.mark.parametrize(("document", "says", "before", "after", "code", "sentence"), TABLE)
def test_f_c11_the_advice_of_the_founding_documents_appears_with_the_users_numbers(
    document, says, before, after, code, sentence
):
    assert sentence in said(before, after)[code].sentence, f"{document}: {says}"
    assert said(before, after)[code].hint


def test_f_c11_the_service_that_does_not_start_by_default_is_named():
    assert "does not start by default" in said([], [pull(1, 600.0, Dialer.MANAGER)])["visits"].hint


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ([push(5)], [pull(5, 1801.0)], "short_heartbeat"),
        ([push(5)], [pull(999, 300.0)], "longest_heartbeat"),
        ([push(5)], [pull(999, 300.0)], "daily_heartbeat"),
        ([push(5)], [pull(5000, 86400.0)], "longest_heartbeat"),
        ([push(5)], [push(5)], "held_links"),
        ([push(5)], [push(15_000)], "open_files"),
        ([push(5)], [pull(500_000, 3600.0)], "open_files"),
        ([push(5)], [pull(1000, 300.0)], "too_many_rounds"),
    ],
)
def test_f_c11_advice_stays_away_where_it_does_not_apply(before, after, code):
    assert code not in said(before, after)


def test_f_c11_more_rounds_than_were_measured_to_be_borne_are_warned_of_with_a_heartbeat_that_is():
    found = said([push(10)], [pull(200_000, 60.0 * 5)])["too_many_rounds"]
    assert found.warns
    assert "200,000 agents at these heartbeats are 667 rounds a second" in found.sentence
    assert "With a heartbeat of 11m where agents pull it would be borne" in found.hint


@pytest.mark.parametrize("agents", [120_000, 200_000, 1_000_000, 5_000_000])
def test_f_c11_the_heartbeat_that_is_proposed_is_borne_and_a_minute_less_is_not(agents):
    beat = bearable([pull(agents, 60.0), push(100)], BUILT_IN, BOUNDS)
    assert cost([pull(agents, beat), push(100)], BUILT_IN).cpu_cores <= BOUNDS.cores
    assert cost([pull(agents, beat - 60), push(100)], BUILT_IN).cpu_cores > BOUNDS.cores


def test_f_c11_where_no_heartbeat_helps_none_is_proposed():
    dear = push(100_000_000, 60.0)
    assert bearable([pull(10, 300.0), dear], BUILT_IN, BOUNDS) == 0
    assert said([], [dear])["too_many_rounds"].hint == "Use several Managers"


def test_capacity_is_where_rounds_take_what_they_may():
    agents = int(capacity(300.0, BUILT_IN, BOUNDS))
    assert cost([pull(agents, 300.0)], BUILT_IN).cpu_cores == pytest.approx(BOUNDS.cores, rel=0.01)


def test_only_what_is_new_is_spoken_of():
    assert "short_heartbeat" not in said([pull(500, 300.0), push(9)], [pull(500, 300.0), pull(9, 7200.0)])


@pytest.mark.parametrize(
    ("number", "text"), [(0.0139, "0.014"), (3.333, "3.3"), (333.3, "333"), (0, "0"), (12345.0, "12,345")]
)
def test_rates_have_the_digits_that_say_something(number, text):
    assert show_rate(number) == text


def test_bytes_have_a_unit():
    assert [show_bytes(n) for n in (12, 4900, 2.5e7, 3e9)] == ["12 B", "4.9 kB", "25 MB", "3 GB"]
