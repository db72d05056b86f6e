"""A file that somebody changes on a machine: the Manager hears of it, and the agent puts it back."""

import json
import os

import pytest

from .conftest import group_of, policy_of


@pytest.fixture(scope="module")
def moored(fleet):
    """A machine in sync whose reload waits while there is a pipe named gate."""
    fleet.group("web")
    gate = fleet.folder / "gate"
    line = f"[ -p {gate} ] && read word < {gate}; exit 0"
    web = fleet.machine("web-1", "web", toml=f'[commands]\nslow = ["/bin/sh", "-c", "{line}"]\n')
    web.gate = gate
    fleet.publish("web", web, "aweigh", extra="reload: slow")
    fleet.until(lambda: web.has("aweigh") and web.settled(), "web-1 is in sync")
    return web


def detail(web):
    """Return what the command line shows of the machine."""
    found = json.loads(web.fleet.popham("describe", "agent", web.name, "-o", "json").stdout)
    return found["detail"]


def test_f_y3_the_manager_shows_drifted_then_in_sync_and_how_often_it_was_put_back(moored):
    web, file = moored, moored.root / "motd"
    os.mkfifo(web.gate)
    file.write_text("mine")
    web.fleet.until(lambda: web.view["sync"] == "drifted", "the Manager hears of it")
    assert detail(web)["drifted"] == [str(file)]
    assert detail(web)["put_back"] == 0
    with web.gate.open("w") as gate:
        gate.write("go\n")
    web.gate.unlink()
    web.fleet.until(lambda: detail(web)["put_back"] == 1 and web.settled(), "it is put back")
    assert web.has("aweigh")
    found = detail(web)
    assert (found["drifted"], found["drift_path"], found["put_back"]) == ([], str(file), 1)
    log = (web.fleet.folder / web.log).read_text()
    assert f"not as it was placed: {file}" in log
    assert f"put back: {file}" in log


def test_f_y3_what_was_changed_while_the_agent_was_down_is_put_back_and_counted(moored):
    web, file = moored, moored.root / "motd"
    before = detail(web)["put_back"]
    web.end()
    file.unlink()
    web.start()
    web.fleet.until(lambda: detail(web)["put_back"] == before + 1 and web.settled(), "it is put back")
    assert web.has("aweigh")


def test_f_y4_an_unlocked_file_may_be_changed_on_the_machine_and_a_locked_one_not(moored):
    web, fleet = moored, moored.fleet
    free = web.root / "free"
    policy = policy_of("motd-web", web.root / "motd", "locked", "reload: slow").rstrip("-\n")
    policy += f'\n    - {{path: {free}, content: "free", locked: false}}\n---\n'
    fleet.apply(policy + group_of("web", fleet.settings["web"], "motd-web"))
    fleet.until(lambda: free.exists() and web.has("locked") and web.settled(), "it is applied")
    before = detail(web)["put_back"]
    free.write_text("mine")
    (web.root / "motd").write_text("mine")
    fleet.until(lambda: detail(web)["put_back"] == before + 1 and web.settled(), "the locked one is put back")
    assert web.has("locked")
    assert free.read_text() == "mine"
