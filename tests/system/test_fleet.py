"""What a fleet does for a person at its command line, with one push agent and one pull agent."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from popham.errors import DefinitionError

TRIES = 10
"""How often something quick is tried: this machine may have other things to do meanwhile."""
COMMANDS = '[commands]\nrefuse = ["/bin/sh", "-c", "echo the beams are too short; exit 3"]\n'


@pytest.fixture(scope="module")
def sailing(fleet):
    """Two agents that have joined: web-1 holds a link, till-1 makes a round each second."""
    fleet.group("web")
    fleet.group("tills", preset="Pull by heartbeat", heartbeat="1s")
    web = fleet.machine("web-1", "web", toml=COMMANDS)
    till = fleet.machine("till-1", "tills")
    fleet.publish("web", web, "aweigh")
    fleet.publish("tills", till, "aweigh")
    fleet.until(lambda: web.has("aweigh") and web.settled(), "web-1 is in sync")
    fleet.until(lambda: till.has("aweigh") and till.settled(), "till-1 is in sync")
    return SimpleNamespace(fleet=fleet, web=web, till=till)


def test_f_t1_manager_agent_and_command_line_come_from_one_package(sailing):
    names = sailing.fleet.popham("get", "agents", "-o", "name").stdout.split()
    assert sorted(names) == ["till-1", "web-1"]
    assert "agent:          running" in sailing.web.popham("status").stdout
    version = sailing.fleet.popham("--version").stdout.split()[1]
    assert {item["version"] for item in sailing.fleet.client.agents()} == {version}


def test_f_p1_a_change_is_applied_by_push_in_under_a_second(sailing):
    web, times = sailing.web, []
    while min(times, default=1.0) >= 1.0 and len(times) < TRIES:
        number = len(times)
        begin = time.monotonic()
        sailing.fleet.publish("web", web, f"hoist {number}")
        sailing.fleet.until(lambda n=number: web.has(f"hoist {n}") and web.settled(), "it is applied")
        times.append(time.monotonic() - begin)
    assert min(times) < 1.0, times


def test_f_l1_the_first_round_is_at_the_start_whatever_the_heartbeat(sailing):
    fleet, times = sailing.fleet, []
    fleet.group("remote", preset="Pull by heartbeat", heartbeat="7d")
    buoy = fleet.machine("buoy", "remote", run=False)
    while min(times, default=2.0) >= 2.0 and len(times) < TRIES:
        last, begin = buoy.view["last_contact"] or 0.0, time.monotonic()
        buoy.start()
        fleet.until(lambda last=last: (buoy.view["last_contact"] or 0.0) > last and buoy.settled(), "a round")
        times.append(time.monotonic() - begin)
        assert buoy.end() == 0
    assert min(times) < 2.0, times
    assert buoy.view["heartbeat"] == 7 * 86400


def test_f_l10_a_round_is_asked_for_on_the_machine_and_from_the_manager(sailing):
    fleet, web = sailing.fleet, sailing.web

    def comes(ask):
        last = web.view["last_contact"]
        said = ask()
        fleet.until(lambda: web.view["last_contact"] > last, "the round that was asked for")
        return said

    assert "popham agent status" in comes(lambda: web.popham("check-in")).stderr
    assert "web-1  asked" in comes(lambda: fleet.popham("check-in", "web-1")).stdout
    assert "web-1  asked" in comes(lambda: fleet.popham("check-in", "-g", "web")).stdout
    lines = comes(lambda: fleet.popham("check-in", "--all")).stdout.splitlines()
    states = dict(line.split()[:2] for line in lines)
    assert (states["web-1"], states["till-1"]) == ("asked", "waits")


def test_f_c1_the_mode_of_a_group_changes_without_a_restart(sailing):
    fleet, till = sailing.fleet, sailing.till
    process = till.process
    fleet.group("tills", preset="Push")
    fleet.until(lambda: till.view["mode"] == "push" and till.view["connected"], "till-1 holds a link")
    found = json.loads(fleet.popham("describe", "group", "tills", "-o", "json").stdout)
    assert (found["preset"], found["resolved"]["communication"]["group"]) == ("Push", "tills")
    fleet.group("tills", preset="Pull by heartbeat", heartbeat="1s")
    fleet.until(lambda: till.view["mode"] == "pull" and not till.view["connected"], "till-1 lets it go")
    fleet.until(till.settled, "till-1 is in sync")
    assert process.poll() is None


def test_f_y2_serial_rises_only_when_content_changes(sailing):
    fleet, web = sailing.fleet, sailing.web
    fleet.publish("web", web, "full and by")
    before = fleet.client.group("web")["serial"]
    again = fleet.publish("web", web, "full and by")
    assert {change["action"] for change in again["changes"]} == {"unchanged"}
    assert fleet.client.group("web")["serial"] == before
    fleet.publish("web", web, "by the wind")
    assert fleet.client.group("web")["serial"] == before + 1
    fleet.until(lambda: web.view["applied"] == before + 1, "web-1 applies the next serial")


def test_f_y7_check_names_file_and_line_and_fails(sailing):
    path = sailing.fleet.folder / "wrong.yaml"
    path.write_text("apiVersion: popham/v1\nkind: Group\nmetadata: {name: web}\nspec:\n  heartbeet: 5m\n")
    said = sailing.fleet.popham("check", "-f", str(path), code=1).stderr
    assert said.startswith(f"popham: {path}:5: ")
    assert "(definition.unknown_key)" in said
    assert said.count("\n") == 1


def test_f_y11_a_policy_is_applied_while_the_agent_runs(sailing):
    fleet, web = sailing.fleet, sailing.web
    process = web.process
    fleet.publish("web", web, "ease the sheets")
    fleet.until(lambda: web.has("ease the sheets") and web.settled(), "web-1 is in sync")
    assert process.poll() is None
    assert web.view["connected"]


def test_apply_changes_nothing_where_one_definition_is_wrong(sailing):
    fleet, web = sailing.fleet, sailing.web
    before, last = fleet.client.group("web"), list(fleet.client.audit())[-1]["seq"]
    text = fleet.definitions("web", web, "never seen")
    wrong = "apiVersion: popham/v1\nkind: Group\nmetadata: {name: annex}\nspec: {parent: nowhere}\n"
    said = fleet.apply_file(text + wrong, code=1).stderr
    assert "nowhere" in said
    assert "applied.yaml:" in said
    assert fleet.client.group("web") == before
    assert list(fleet.client.audit())[-1]["seq"] == last
    with pytest.raises(DefinitionError):
        fleet.apply(text + wrong)


def test_a_policy_that_its_validation_refuses_is_shown_with_its_code(sailing):
    fleet, web = sailing.fleet, sailing.web
    fleet.publish("web", web, "well proven")
    fleet.until(lambda: web.has("well proven") and web.settled(), "web-1 is in sync")
    good = web.view["applied"]
    fleet.publish("web", web, "badly built", extra="validate: refuse")
    fleet.until(lambda: web.view["sync"] == "failed", "the refusal is reported")
    said = fleet.popham("describe", "agent", "web-1").stdout
    assert "error code:       policy.validate" in said
    assert "the beams are too short" in said
    assert web.has("well proven")
    assert (web.view["applied"], web.view["wanted"]) == (good, good + 1)
    fleet.publish("web", web, "well built")
    fleet.until(lambda: web.has("well built") and web.settled(), "a good policy is taken again")


def test_a_path_outside_the_allowed_roots_is_shown_with_its_code(sailing):
    fleet, web = sailing.fleet, sailing.web
    fleet.publish("web", web, "on board")
    fleet.until(lambda: web.has("on board") and web.settled(), "web-1 is in sync")
    fleet.publish("web", web, "overboard", path=fleet.folder / "overboard")
    fleet.until(lambda: web.view["sync"] == "failed", "the refusal is reported")
    assert "policy.root" in fleet.popham("describe", "agent", "web-1").stdout
    assert not (fleet.folder / "overboard").exists()
    assert web.has("on board")
    fleet.publish("web", web, "on deck")
    fleet.until(lambda: web.has("on deck") and web.settled(), "a good policy is taken again")


def test_an_idle_agent_stays_within_60_mebibytes(sailing):
    path = Path(f"/proc/{sailing.web.process.pid}/status")
    if not path.exists():
        pytest.skip("this system has no /proc, which says how much memory a process has")
    resident = next(line for line in path.read_text().splitlines() if line.startswith("VmRSS"))
    mebibytes = int(resident.split()[1]) / 1024
    print(f"an idle agent has {mebibytes:.1f} MiB")  # noqa: T201  # the figure itself is of interest
    assert mebibytes <= 60
