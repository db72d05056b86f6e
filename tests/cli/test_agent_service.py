"""``popham agent service``: what it asks of the running agent, and what people read."""

import json
import socket
import threading

import pytest

from popham.statedir import StateDir

OFF = {
    "on": False,
    "enabled": False,
    "address": "",
    "path": "/v1/visit",
    "since": None,
    "held": False,
    "visitor": None,
    "refused": None,
    "problem": None,
    "port": 23440,
    "hosts": ["0.0.0.0", "::"],
    "socket": None,
    "tls": True,
    "next": "Start it now",
}
ON = OFF | {"on": True, "address": "https://*:23440", "since": 1_799_999_000.0, "next": ""}
VISITOR = {"keyid": "ab" * 32, "address": "192.0.2.7", "operation": "visit", "at": 1_799_999_940.0}
REFUSED = {
    "code": "visit.stranger",
    "text": "it is signed by nobody\x1b[31m",
    "address": "192.0.2.9",
    "at": 1_799_999_000.0,
    "count": 7,
}


class Door:
    """An agent's local socket with canned answers by word; it keeps what was asked."""

    def __init__(self, path):
        self.answers, self.asked = {}, []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            try:
                taken, _ = self.socket.accept()
            except OSError:
                return
            with taken, taken.makefile("rw") as file:
                word = json.loads(file.readline())["do"]
                self.asked.append(word)
                file.write(json.dumps(self.answers[word]) + "\n")

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


@pytest.fixture
def machine(tmp_path):
    """The configuration of an agent that does not run."""
    StateDir.open(tmp_path / "state", "agent", create=True).close()
    path = tmp_path / "agent.toml"
    path.write_text(f'state = "{tmp_path / "state"}"\n[service]\nport = 8440\n')
    return path


@pytest.fixture
def door(machine, tmp_path):
    """The local socket of an agent that runs."""
    found = Door(tmp_path / "state" / "agent.sock")
    yield found
    found.close()


@pytest.fixture
def service(popham, machine):
    def run(*words, **options):
        return popham("agent", "service", *words, "--config", str(machine), environ={}, **options)

    return run


def test_f_l3_status_says_where_it_listens_who_came_and_who_was_refused(door, service):
    door.answers["service"] = ON | {"enabled": True, "held": True, "visitor": VISITOR, "refused": REFUSED}
    found = service("status")
    assert found.exit_code == 0
    assert found.stdout.splitlines() == [
        "service:        on since 2027-01-15T07:43:20Z",
        "enabled:        yes",
        "address:        https://*:23440",
        "path:           /v1/visit",
        "last visitor:   2027-01-15T07:59:00Z from 192.0.2.7, visit, key abababababababab",
        "held link:      yes",
        "last refusal:   visit.stranger from 192.0.2.9 2027-01-15T07:43:20Z: it is signed by nobody\\x1b[31m (7 in all)",
    ]


def test_f_l3_status_of_a_service_that_is_off_says_what_to_do_next(door, service):
    door.answers["service"] = OFF | {
        "problem": {"code": "config.listen", "problem": "port 23440 is taken", "hint": ""},
        "socket": "/run/popham/visit.sock",
    }
    found = service("status")
    assert found.exit_code == 1
    for line in (
        "service:        off",
        "address:        none; it would be port 23440",
        "socket:         /run/popham/visit.sock",
        "problem:        port 23440 is taken (config.listen)",
        "next:           Start it now",
    ):
        assert line in found.stdout.splitlines()
    assert json.loads(service("status", "--json").stdout)["problem"]["code"] == "config.listen"


@pytest.mark.parametrize(
    ("words", "asked", "answer", "said"),
    [
        (
            ["start"],
            ["service-start"],
            ON | {"next": "Do that"},
            "listens at https://*:23440.\nNext: Do that",
        ),
        (["stop"], ["service-stop"], OFF, "The service is off.\n"),
        (["stop"], ["service-stop"], OFF | {"enabled": True}, "off, and starts with the agent again."),
        (
            ["enable"],
            ["service-enable"],
            OFF | {"enabled": True},
            "starts with the agent from now on.\nNext: Start",
        ),
        (["enable", "--now"], ["service-enable", "service-start"], ON, "from now on."),
        (["disable"], ["service-disable"], ON, "it is on until it is stopped."),
        (
            ["disable", "--now"],
            ["service-disable", "service-stop"],
            OFF,
            "no longer starts with the agent.\n",
        ),
    ],
)
def test_f_l3_each_word_is_asked_of_the_running_agent(door, service, words, asked, answer, said):
    door.answers = dict.fromkeys(asked, answer)
    found = service(*words)
    assert found.exit_code == 0
    assert said in found.stderr
    assert found.stdout == ""
    assert door.asked == asked
    assert json.loads(service(*words, "--json").stdout)["address"] == answer["address"]


def test_f_l3_what_the_agent_cannot_do_is_its_sentence_and_exit_code(door, service):
    failure = {
        "code": "config.listen",
        "problem": "port 23440 is taken by 'nginx' (process 7)",
        "hint": "Stop that",
    }
    door.answers["service-start"] = {"failure": failure}
    found = service("start")
    assert found.exit_code == 78
    assert "port 23440 is taken by 'nginx' (process 7) (config.listen)" in found.stderr
    assert "Stop that" in found.stderr


def test_an_older_agent_is_told_from_one_that_does_not_run(door, service):
    door.answers["service-start"] = {"error": "the agent knows 'status' and 'check-in'"}
    found = service("start")
    assert found.exit_code == 1
    assert "older" in found.stderr


def test_f_l3_without_a_running_agent_it_can_be_enabled_and_not_started(service):
    found = service("start")
    assert (found.exit_code, "(link.no_agent)" in found.stderr) == (1, True)
    assert service("enable").exit_code == 0
    status = service("status", "--json")
    kept = json.loads(status.stdout)
    assert (status.exit_code, kept["enabled"], kept["running"], kept["port"]) == (1, True, False, 8440)
    assert "off, as the agent does not run" in service("status").stdout
    assert service("disable").exit_code == 0
    assert not json.loads(service("status", "--json").stdout)["enabled"]


def test_the_next_command_names_the_configuration_that_was_given(service, machine):
    found = service("enable")
    assert f"Next: Start it first: popham agent run --config {machine}\n" in found.stderr


def test_a_running_agents_next_step_names_the_configuration_that_was_given(door, service, machine):
    door.answers["service-enable"] = OFF | {"enabled": True, "next": "Now: 'popham agent service start'"}
    assert f"Next: Now: 'popham agent service start --config {machine}'\n" in service("enable").stderr


def test_the_service_of_a_proxy_is_said_in_its_words(popham, tmp_path):
    StateDir.open(tmp_path / "state", "proxy", create=True).close()
    path = tmp_path / "proxy.toml"
    path.write_text(f'state = "{tmp_path / "state"}"\n')
    found = popham("proxy", "service", "enable", "--config", str(path), environ={})
    assert found.stderr == (
        "The service starts with the proxy from now on.\n"
        f"Next: Start it first: popham proxy run --config {path}\n"
    )
    found = popham("proxy", "service", "status", "--config", str(path), environ={})
    assert "off, as the proxy does not run" in found.stdout
