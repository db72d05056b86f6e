"""What may go wrong between a Manager that dials and an agent: each is a state of that agent, with a next step."""

import socket
import time

import pytest

from popham.testing.ports import free_ports

from .strange import HttpProxy, Loop, Strangers
from .walled import days_ahead, find_faketime
from .web_servers import serves, visit_now

SERVICE = "[service]\nport = {port}\n"
START = "popham agent service start"


class Visited:
    """Two machines that are visited, strangers in their places, and web proxies on the way."""

    def __init__(self, fleet, loop):
        self.fleet = fleet
        self.loop = loop
        self.strangers = Strangers()
        self.strange = loop.serve(self.strangers.talk)
        self.ports = dict(zip(("till1", "till2"), free_ports(2), strict=True))
        fleet.group("tills", preset="Pull by visit", heartbeat="1h")
        self.machines = {}
        for name, port in self.ports.items():
            self.machines[name] = fleet.machine(name, "tills", toml=SERVICE.format(port=port))
        for name, machine in self.machines.items():
            fleet.until(lambda machine=machine: machine.view["applied"], f"{name} has joined")
            machine.popham("service", "start")
        self.machine = self.machines["till1"]

    def define(self, **spec):
        """Say where till1 is, and have it visited there."""
        found = {"address": "127.0.0.1", "port": self.ports["till1"]} | spec
        text = "".join(
            f"  {key}: '{value}'\n" if key != "port" else f"  port: {value}\n" for key, value in found.items()
        )
        self.fleet.apply(f"apiVersion: popham/v1\nkind: Agent\nmetadata: {{name: till1}}\nspec:\n{text}")
        scheme = "http" if found.get("tls") == "off" else "https"
        visit_now(
            self.fleet,
            self.machine,
            f"{scheme}://{found['address']}:{found['port']}{found.get('prefix', '')}",
        )

    def is_reached(self):
        """Have till1 visited where it is, and wait until it was."""
        self.define()
        self.fleet.until(
            lambda: (visit := self.machine.view["visit"])["last"] and not visit["code"], "it is visited"
        )

    def failing(self, code, **spec):
        """Return what ``popham why agent`` says once visits fail with ``code``."""
        self.define(**spec)
        self.fleet.until(lambda: self.machine.view["visit"]["code"] == code, f"visits fail with {code}")
        said = self.fleet.client.why("till1")
        assert code in said["sentence"], said
        assert said["step"], said
        return said


@pytest.fixture(scope="module")
def loop():
    found = Loop()
    yield found
    found.close()


@pytest.fixture(scope="module")
def visited(fleet, loop):
    found = Visited(fleet, loop)
    found.is_reached()
    return found


STRANGE = [
    ("wrong", "visit.not_found", "404", "prefix"),
    ("gone", "visit.off", "the agent's service behind it does not", START),
    ("shut", "visit.password", "wants another user or password", "realm"),
    ("portal", "visit.not_agent", "page of HTML", "login page"),
    ("garbage", "visit.not_agent", "no HTTP", "another program"),
    ("endless", "visit.too_large", "larger than", "limit"),
    ("elsewhere", "visit.redirect", "127.0.0.1", "login page"),
    ("trickle", "visit.slow", "bytes of its answer", "overloaded"),
]


@pytest.mark.parametrize(("prefix", "code", "words", "step"), STRANGE, ids=[row[0] for row in STRANGE])
def test_f_l2_whatever_answers_is_a_state_of_the_agent_with_a_next_step(visited, prefix, code, words, step):
    visited.strangers.target = f"http://127.0.0.1:{visited.strange}/portal/v1/visit"
    asked = len(visited.strangers.paths)
    said = visited.failing(code, port=visited.strange, prefix=f"/{prefix}", tls="off")
    assert words in said["sentence"], said
    assert step in said["step"], said
    paths = visited.strangers.paths[asked:]
    assert set(paths) == {f"/{prefix}/v1/visit"}, "a redirect is never followed"
    assert visited.strangers.sent < 64 * 1024 * 1024


def test_f_l3_a_service_that_is_off_is_told_with_port_and_command(visited):
    fleet, machine = visited.fleet, visited.machine
    machine.popham("service", "stop")
    visited.define()
    fleet.until(lambda: machine.view["visit"]["code"] == "visit.refused", "it is not reached there")
    visit = machine.view["visit"]
    assert f"nothing listens on port {visited.ports['till1']}" in visit["problem"]
    assert START in visit["hint"]
    # It dials by itself meanwhile, and says what is missing.
    fleet.until(lambda: "its service is off" in fleet.client.why("till1")["sentence"], "why says so")
    assert START in " ".join(fleet.popham("why", "agent", "till1").stdout.split())
    machine.popham("service", "start")
    visited.is_reached()
    fleet.until(lambda: "dial" not in fleet.client.why("till1")["sentence"], "it is visited again")


def test_f_l3_a_port_that_is_taken_is_said_on_the_machine_and_at_the_manager(visited):
    machine, port = visited.machine, visited.ports["till1"]
    machine.popham("service", "stop")
    with socket.create_server(("127.0.0.1", port)):
        failed = machine.popham("service", "start", code=None)
        assert failed.returncode != 0
        assert f"port {port} is taken by" in failed.stderr
        assert "config.listen" in failed.stderr
        status = serves(machine)
        assert not status["on"]
        assert f"port {port} is taken" in status["problem"]["problem"]
        assert START in status["next"]
    machine.popham("service", "start")
    visited.is_reached()


def test_another_agent_behind_the_alias_is_named_and_not_believed(visited):
    said = visited.failing("visit.identity", port=visited.ports["till2"])
    assert "the agent till2 answers instead" in said["sentence"]
    assert "address of one of the two" in said["step"]
    assert visited.fleet.client.agent("till2")["presence"] == "on time"


def test_f_l6_a_web_proxy_that_refuses_or_wants_a_password_is_named(visited):
    refusing, asking = HttpProxy(refuses=True), HttpProxy("sqc:p:w")
    ways = [
        ("visit.http_proxy", refusing, {}, "(HTTP 403)"),
        ("visit.proxy_password", asking, {}, "wants another user or password"),
        (
            "visit.proxy_password",
            asking,
            {"http_proxy_password": "sqc:wrong"},
            "wants another user or password",
        ),
    ]
    for code, proxy, more, words in ways:
        port = visited.loop.serve(proxy.talk)
        said = visited.failing(code, http_proxy=f"http://127.0.0.1:{port}", **more)
        assert f"The web proxy 127.0.0.1:{port}" in said["sentence"]
        assert words in said["sentence"]
        assert "wrong" not in str(said)
        # Another code has to come before the same is believed again.
        visited.failing("visit.not_found", port=visited.strange, prefix="/wrong", tls="off")


def test_f_p4_f_l6_orders_come_through_a_web_proxy_with_a_password(visited):
    fleet, machine = visited.fleet, visited.machine
    proxy = HttpProxy("sqc:p:w")
    way = {
        "http_proxy": f"http://127.0.0.1:{visited.loop.serve(proxy.talk)}",
        "http_proxy_password": "sqc:p:w",
    }
    visited.define(**way)
    fleet.until(lambda: not machine.view["visit"]["code"] and proxy.asked, "it is visited through the proxy")
    fleet.publish("tills", machine, "pulled")
    fleet.client.check_in(["till1"])
    fleet.until(lambda: machine.has("pulled") and machine.settled(), "a visit brought it")
    fleet.group("tills", preset="Push over the Manager's connection", heartbeat="1h")
    fleet.until(lambda: machine.view["visit"]["mode"] == "push", "the Manager is to hold a link")
    fleet.client.check_in(["till1"])
    fleet.until(lambda: machine.view["connected"], "the link is held")
    fleet.publish("tills", machine, "pushed")
    fleet.until(lambda: machine.has("pushed") and machine.settled(), "it came over the link")
    assert set(proxy.asked) == {f"CONNECT 127.0.0.1:{visited.ports['till1']} HTTP/1.1"}
    assert machine.view["visit"]["http_proxy"] == way["http_proxy"], "shown without its password"


@pytest.mark.parametrize("days", [400, -400])
def test_f_l2_a_clock_that_is_wrong_by_a_year_blocks_no_visit(visited, days):
    if not find_faketime():
        pytest.skip("NOT TESTED: a wrong clock: there is no libfaketime on this machine")
    fleet, machine = visited.fleet, visited.machines["till2"]
    machine.popham("service", "enable")
    machine.end()
    right = dict(fleet.env)
    try:
        fleet.env |= days_ahead(days) | {"FAKETIME": f"{days:+d}d"}
        machine.start()
    finally:
        fleet.env = right
    before = time.time()
    where = f"{{address: 127.0.0.1, port: {visited.ports['till2']}}}"
    fleet.apply(f"apiVersion: popham/v1\nkind: Agent\nmetadata: {{name: till2}}\nspec: {where}\n")
    fleet.until(lambda: (machine.status.get("service") or {}).get("address"), "its service is on")
    assert machine.popham("service", "status").stdout
    visit_now(fleet, machine, f"https://127.0.0.1:{visited.ports['till2']}")
    fleet.until(lambda: (machine.view["visit"]["last"] or 0) > before, "it was visited")
    fleet.publish("tills", machine, f"{days} days")
    fleet.client.check_in(["till2"])
    fleet.until(lambda: machine.has(f"{days} days") and machine.settled(), "a visit brought it")
