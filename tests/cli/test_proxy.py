"""``popham proxy``: the agent's commands in the words of a Proxy Manager, and what its status says."""

import json

import msgspec
import pytest
from click.testing import CliRunner

from popham.cli.main import cli
from popham.cli.proxy import ENTRIES
from popham.cli.proxy_status import describe
from popham.proxy.settings import RelaySettings, load_settings
from popham.statedir import StateDir

NOW = 1_795_337_529.0
FOUND = {
    "listens": "wss://dock.example:4320/v1/opamp",
    "agents": {"on time": 2, "overdue": 0, "missing": 1, "never seen": 0},
    "links": 2,
    "links_most": 18050,
    "spool": {
        "logs": {"records": 20, "bytes": 8192, "oldest": NOW - 200},
        "events": {"records": 0, "bytes": 0, "oldest": None},
        "files": 16384,
        "dropped": {},
        "refused": {},
    },
    "cache": {"files": {"agents": 3, "groups": 1}, "bytes": 40960, "damaged": 0, "problem": ""},
    "visits": {},
    "relay": {"last_exchange": NOW - 3, "exchanges": 7, "problem": ""},
}


@pytest.fixture
def machine(tmp_path):
    """Return a function that runs ``popham proxy …`` on a machine that has not joined."""
    config = tmp_path / "proxy.toml"
    config.write_text(f'state = "{tmp_path / "state"}"\n')

    def run(*words):
        return CliRunner(env={}).invoke(cli, ["proxy", *words, "--config", str(config)], prog_name="popham")

    return run


def test_its_rows_say_what_is_below_and_what_goes_between():
    assert dict(describe(FOUND, NOW)) == {
        "relayed": "3s ago",
        "listens": "wss://dock.example:4320/v1/opamp",
        "agents": "3: 2 on time, 1 missing",
        "links": "2 held, of 18050",
        "to pass on": "logs 20 records (8192 bytes, the oldest of 3m ago)",
        "kept here": "3 agents, 1 group, 40960 bytes of bodies",
    }


def test_what_is_wrong_between_has_rows_of_its_own():
    relay = {"last_exchange": None, "exchanges": 0, "problem": "nobody answers (link.unreachable)"}
    cache = FOUND["cache"] | {"damaged": 2, "problem": "the disk is full"}
    found = dict(describe(FOUND | {"relay": relay, "cache": cache, "spool": {}}, NOW))
    assert found["relayed"] == "never"
    assert found["not relayed"] == "nobody answers (link.unreachable)"
    assert found["kept here"].endswith("2 files damaged; not written: the disk is full")
    assert found["to pass on"] == "nothing"


def test_one_that_does_not_run_has_no_such_rows():
    assert describe({}, NOW) == []


def test_the_room_for_what_waits_is_said_as_it_is_configured_and_why_nobody_is_let_in():
    bounds = msgspec.structs.asdict(RelaySettings())
    found = dict(describe(FOUND | {"bounds": bounds, "ended": "it is none any more"}, NOW))
    assert found["room for that"] == "1024 MiB, 64 MiB of one agent, for 72 h"
    assert found["let in nobody"] == "it is none any more"


def test_a_machine_that_has_not_joined_is_told_the_proxys_command(machine):
    found = machine("status")
    assert found.exit_code in {1, 78}
    assert "popham proxy enroll" in found.stderr
    assert "popham agent" not in found.stderr


def test_one_that_is_stopped_says_what_it_keeps_and_what_to_do(machine, tmp_path):
    StateDir.open(tmp_path / "state", "proxy", create=True).close()
    found = machine("status")
    assert found.exit_code == 1
    assert found.stdout.startswith("proxy:          stopped")
    assert "popham proxy enroll --config" in found.stdout
    assert json.loads(machine("status", "-o", "json").stdout)["running"] is False
    assert "popham agent" not in machine("service", "status").stdout + machine("doctor").stdout


def test_an_agents_state_is_no_proxys(machine, tmp_path):
    StateDir.open(tmp_path / "state", "agent", create=True).close()
    found = machine("status")
    assert "holds the state of a Popham agent, not of a Popham proxy" in found.stderr


@pytest.mark.parametrize("name", ENTRIES)
def test_every_command_names_the_proxys_own_file_in_its_help(name):
    words = [name] if name != "service" else [name, "start"]
    found = CliRunner().invoke(cli, ["proxy", *words, "--help"])
    assert "/etc/popham/proxy.toml" in found.stdout
    assert "agent.toml" not in found.stdout


def test_the_agents_commands_stay_as_they_are():
    found = CliRunner().invoke(cli, ["agent", "check-in", "--help"])
    assert "/etc/popham/agent.toml" in found.stdout
    assert "the running agent" in found.stdout


def test_the_default_file_is_the_proxys():
    assert load_settings.__kwdefaults__["must_exist"] is False
    assert str(load_settings.__defaults__[0]) == "/etc/popham/proxy.toml"
