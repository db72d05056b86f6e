"""What a process says when it cannot begin, and with which code it ends; and the demo as a whole."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = (sys.executable, "-m", "popham.testing.demo")


@pytest.fixture(scope="module")
def moored(fleet):
    """A Manager that runs, and a machine that has joined but whose agent does not run; commands are processes."""
    fleet.apart = True
    fleet.moored = fleet.machine("moored-1", run=False)
    return fleet


def test_a_second_process_on_a_state_directory_is_told_which_one_has_it(moored):
    said = moored.popham("manager", "--state", str(moored.state), code=1).stderr
    assert f"is in use by process {moored.manager.pid} (state.locked)" in said
    machine = moored.moored.start()
    moored.until(machine.settled, "the agent is in sync")
    said = machine.popham("run", code=1).stderr
    assert f"is in use by process {machine.process.pid} (state.locked)" in said
    assert machine.end() == 0


@pytest.mark.parametrize(("role", "known"), [("manager", 1), ("agent", 2), ("proxy", 1)])
def test_rel_15_state_of_a_newer_version_is_refused_and_left_alone(moored, tmp_path, role, known):
    state = tmp_path / "state"
    state.mkdir()
    (state / "FORMAT").write_text(f"popham-{role} {known + 1}\n")
    words = ("manager",) if role == "manager" else (role, "run")
    said = moored.popham(*words, "--state", str(state), code=1).stderr
    assert said.startswith(
        f"popham: {state} was written by a newer Popham (format {known + 1}, known here: {known}) (state.newer)"
    )
    assert [path.name for path in state.iterdir()] == ["FORMAT"]


def test_a_wrong_command_line_ends_with_64(moored):
    for words in (("get", "agnets"), ("apply",), ("check-in",), ("agent", "enroll")):
        said = moored.popham(*words, code=64).stderr
        assert said.startswith("popham: ")
        assert "(usage)" in said


def test_a_wrong_configuration_ends_with_78_and_names_the_nearest_key(moored, tmp_path):
    path = tmp_path / "agent.toml"
    path.write_text('[files]\nrots = ["/srv"]\n')
    said = moored.popham("agent", "run", "--config", str(path), code=78).stderr
    assert "rots" in said
    assert "roots" in said
    assert (
        "(config."
        in moored.popham("get", "agents", "--", code=78, POPHAM_CONFIG=str(tmp_path / "none")).stderr
    )


def test_an_address_that_is_taken_ends_with_78(moored, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        doors = ("--agents", f"127.0.0.1:{taken.getsockname()[1]}", "--people", "127.0.0.1:0")
        state = ("--state", str(tmp_path / "other"))
        moored.popham("init", *state, "--name", "localhost", *doors, "--context", "other")
        said = moored.popham("manager", *state, code=78).stderr
    assert "(config.listen)" in said
    moored.popham("context", "use", "default")


def test_a_signal_ends_manager_and_agent_with_0(moored):
    machine = moored.moored.start()
    moored.until(lambda: machine.status, "the agent answers")
    moored.until(lambda: machine.popham("status", code=None).returncode == 0, "the agent is in touch")
    assert machine.end(signal.SIGINT) == 0
    assert moored.end_manager() == 0
    moored.start_manager()


def test_the_demo_ends_with_one_json_object(tmp_path):
    state = tmp_path / "state"
    done = subprocess.run(
        [*DEMO, "--once", "--state", str(state)], capture_output=True, check=False, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["ok"], found["state"]) == (True, str(state))
    assert {agent["mode"] for agent in found["agents"]} == {"push", "pull"}
    keys = {"name", "mode", "dialer", "wanted", "applied", "presence", "seconds_to_apply"}
    for agent in found["agents"]:
        assert keys <= agent.keys()
        assert agent["applied"] == agent["wanted"]
        assert agent["seconds_to_apply"] > 0
    assert not processes_with(str(tmp_path))


def test_sigterm_ends_the_demo_and_every_process_of_it(fleet, tmp_path):
    demo = subprocess.Popen(
        [*DEMO, "--state", str(tmp_path / "state")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        fleet.until(lambda: processes_with(str(tmp_path / "state" / "till-1.toml")), "its second agent joins")
        assert len(processes_with(str(tmp_path))) > 2, "its Manager and its first agent run"
        demo.terminate()
        assert demo.wait(60) == 130
        fleet.until(lambda: not processes_with(str(tmp_path)), "nothing of it is left")
    finally:
        demo.kill()
        demo.wait()


def processes_with(text):
    """Return the numbers of the processes whose command line has ``text``."""
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("this system has no /proc, which says which processes there are")
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found
