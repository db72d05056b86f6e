"""An agent's service by CGI under Debian's Apache: pull only, one process of the bridge for each visit."""

import resource
import subprocess
import sys

import pytest

import popham.downstream.cgi
from popham.testing.ports import free_ports

from .alias import SERVICE, start_alias
from .web_servers import LARGE, Caller, example, refusal, serves, visit_now, why

START_S = 0.080
"""Seconds of CPU that the bridge may take. Source: design, the service by CGI."""


class Behind:
    """A machine whose service is behind CGI."""

    def __init__(self, fleet, apache, sockets):
        self.fleet, self.apache = fleet, apache
        (self.port,) = free_ports(1)
        self.url = f"http://localhost:{self.port}/SQC"
        socket = sockets / "visit.sock"
        self.machine = fleet.machine("web3", "hosted", toml=SERVICE.format(socket=socket, group=apache.group))
        fleet.until(lambda: self.machine.view["applied"], "the agent has joined")
        self.machine.popham("service", "start")
        start_alias(apache, socket, self.port)
        self.caller = Caller(fleet, self.machine)


@pytest.fixture(scope="module")
def behind(fleet, apache, sockets):
    fleet.group("hosted", preset="Pull by visit")
    return Behind(fleet, apache, sockets)


def test_f_l4_a_visit_is_carried_to_the_agent_and_back(behind):
    assert behind.caller.visit(behind.url).instance_uid.hex() == behind.caller.uid.replace("-", "")


def test_f_l4_a_body_of_the_largest_size_is_carried(behind):
    behind.caller.bring(behind.url, LARGE)


def test_f_l4_a_link_through_cgi_is_a_forbidden_pair(behind):
    error = refusal(behind.caller.hold, behind.url)
    assert error.code == "visit.cgi"
    assert "Pull by visit" in error.hint


def test_f_l3_a_service_that_is_stopped_is_told_from_an_alias_that_is_wrong(behind):
    assert refusal(behind.caller.visit, behind.url.replace("/SQC", "/SQ")).code == "visit.not_found"
    behind.machine.popham("service", "stop")
    try:
        error = refusal(behind.caller.visit, behind.url)
        assert error.code == "visit.off"
        assert "popham agent service start" in error.hint
    finally:
        behind.machine.popham("service", "start")
    assert behind.caller.visit(behind.url).instance_uid


def test_f_l4_the_bridge_starts_in_80_ms(tmp_path):
    command = [sys.executable, "-S", "-E", popham.downstream.cgi.__file__, "--socket", str(tmp_path / "none")]
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/v1/visit", "CONTENT_LENGTH": "0"}
    taken = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert b"visit.off" in done.stdout
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # Its own processor time: what else this machine does says nothing of the bridge.
    assert min(taken) <= START_S, taken


def test_f_l4_the_example_brings_a_policy_by_cgi(behind):
    fleet, machine = behind.fleet, behind.machine
    changed = {
        "address: web3.example": "address: localhost",
        "port: 80": f"port: {behind.port}",
        "/etc/popham.d": machine.root,
    }
    fleet.apply(example("agent-by-cgi", "fleet.yaml", **changed))
    visit_now(fleet, machine, behind.url)
    fleet.until(lambda: machine.has("Visited by CGI.\n") and machine.settled(), "the policy came by CGI")
    assert not machine.view["visit"]["code"]


def test_f_l4_an_agent_in_push_is_visited_where_cgi_holds_no_link_and_why_says_so(behind):
    fleet, machine = behind.fleet, behind.machine
    where = f"{{address: localhost, port: {behind.port}, prefix: /SQC, tls: 'off'}}"
    fleet.apply(f"apiVersion: popham/v1\nkind: Agent\nmetadata: {{name: web3}}\nspec: {where}\n")
    fleet.group("hosted", preset="Push over the Manager's connection", heartbeat="2s")
    visit_now(fleet, machine, behind.url)
    fleet.publish("hosted", machine, "pushed")
    fleet.until(lambda: machine.has("pushed") and machine.settled(), "it came by a visit at its interval")
    fleet.until(lambda: "visited every 2s" in why(fleet, machine), "why says so")
    said = why(fleet, machine)
    assert "visit.cgi" in said
    assert "'Pull by visit'" in said
    assert not serves(machine)["held"]
    last = machine.view["visit"]["last"]
    fleet.until(lambda: machine.view["visit"]["last"] > last, "it is visited again")
    assert machine.view["visit"]["code"] == "visit.cgi", "and the link is asked for again"
