"""``popham agent doctor``: lines for people, JSON for programs, and the exit code."""

import json

import pytest
from click.testing import CliRunner

from popham.agent.doctor.finding import Finding, Outcome, fail, ok, skip, warn
from popham.cli.agent_doctor import render
from popham.cli.main import cli

URL = "https://manager:4320"


@pytest.fixture
def doctor(tmp_path):
    """Return a function that runs the command on a machine that has joined nothing."""
    config = tmp_path / "agent.toml"

    def run(*words, toml=""):
        config.write_text(f'state = "{tmp_path / "state"}"\n{toml}')
        return CliRunner().invoke(cli, ["agent", "doctor", "--config", str(config), *words])

    return run


def test_f_o17_each_line_says_how_it_stands_what_was_tried_and_what_to_do():
    found = [
        ok("disk", "/var takes what is written"),
        warn("agent", "no agent runs here", "popham agent run"),
        fail("port", "it is \x1b[31mrefused", "Start it", server=URL),
        skip("tls", "not tried, since there is no connection", server=URL),
        skip("pin", "not tried, since there is no connection", server=URL),
    ]
    assert render(found) == [
        "ok       disk:             /var takes what is written",
        "warning  agent:            no agent runs here",
        "         next:             popham agent run",
        URL,
        "failed   port:             it is \\x1b[31mrefused",
        "         next:             Start it",
        "skipped  tls, pin:         not tried, since there is no connection",
        "1 ok, 1 warning, 1 failed, 2 skipped",
    ]


def test_f_o17_something_that_failed_is_exit_code_1(doctor):
    done = doctor()
    assert done.exit_code == 1
    assert "popham agent enroll" in done.stdout
    done = doctor("-o", "json", "--timeout", "2")
    data = json.loads(done.stdout)
    assert (done.exit_code, data["ok"]) == (1, False)
    assert {"check", "outcome", "text", "next", "server"} == set(data["findings"][0])
    assert {one["outcome"] for one in data["findings"]} <= set(Outcome)


def test_f_o17_a_configuration_that_cannot_be_read_is_a_finding_and_not_the_end(doctor):
    done = doctor("-o", "json", toml='secret = "hunter2"\n')
    data = json.loads(done.stdout)
    assert done.exit_code == 1
    assert [(one["check"], one["outcome"]) for one in data["findings"]] == [
        ("configuration", "failed"),
        ("all else", "skipped"),
    ]
    assert "(config.unknown_key)" in data["findings"][0]["text"]
    assert "hunter2" not in done.stdout


@pytest.mark.parametrize("seconds", ["0", "61", "soon"])
def test_a_timeout_that_is_none_is_a_wrong_command_line(doctor, seconds):
    done = doctor("--timeout", seconds)
    assert done.exit_code == 64


def test_warnings_alone_are_exit_code_0(doctor, monkeypatch):
    async def examine(*_):
        return [Finding("disk", Outcome.WARNING, "nearly full", "Make room")]

    monkeypatch.setattr("popham.agent.doctor.examination.examine", examine)
    assert doctor().exit_code == 0
