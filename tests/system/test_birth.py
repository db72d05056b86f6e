"""Real processes: a machine that dials nobody is born by its Manager's visit, over TLS."""

import ssl

import pytest
from cryptography import x509

from popham.testing.ports import free_ports

HERE = "127.0.0.1"
AGENT = """\
apiVersion: popham/v1
kind: Agent
metadata: {{name: {name}}}
spec: {{address: 127.0.0.1, port: {port}}}
"""


class Waiting:
    """A machine that waits to be born, and where it is."""

    def __init__(self, fleet, name, group, *, accept):
        (self.port,) = free_ports(1, HERE)
        self.fleet = fleet
        self.machine = fleet.unjoined(name)
        service = f'[service]\nhosts = ["{HERE}"]\nport = {self.port}\n'
        self.machine.config.write_text(self.machine.config.read_text() + service)
        self.machine.popham("enroll", "--listen", fleet.join(group, accept=accept))
        self.machine.start()
        fleet.until(lambda: self.status.get("service", {}).get("address"), "it listens")

    @property
    def status(self):
        return self.machine.status

    def define(self):
        """Tell the Manager where it is."""
        self.fleet.apply(AGENT.format(name=self.machine.name, port=self.port))

    def admission(self):
        """Return what the Manager says of it; empty while it does not know it."""
        found = {one["name"]: one["admission"] for one in self.fleet.client.agents()}
        return found.get(self.machine.name, "")

    def shown(self):
        """Return the certificate that its service shows."""
        return x509.load_pem_x509_certificate(ssl.get_server_certificate((HERE, self.port)).encode())


@pytest.fixture(scope="module")
def walled(fleet):
    fleet.group("walled", preset="Pull by visit", heartbeat="2s")
    return fleet


def test_f_l12_who_waits_is_born_once_accepted_and_its_service_changes_over_without_a_restart(walled):
    waiting = Waiting(walled, "first", "walled", accept=False)
    machine = waiting.machine
    walled.publish("walled", machine, "one")
    assert "waits to be visited" in waiting.status["problem"]
    own = waiting.shown()
    assert own.issuer == own.subject
    waiting.define()
    walled.until(lambda: waiting.admission() == "new", "the Manager has visited it")
    walled.until(lambda: "accept" in waiting.status["problem"], "the machine says what it waits for")

    # A process that starts anew goes on waiting.
    machine.end()
    machine.start()
    walled.popham("accept", "agent", "first")
    walled.until(lambda: machine.has("one"), "the policy is applied")
    walled.until(machine.settled, "the Manager knows")
    found = waiting.status
    assert (found["admission"], found["dialer"], found["problem"]) == ("accepted", "manager", "")
    issued = waiting.shown()
    assert issued.issuer != issued.subject
    assert issued.public_key() == own.public_key()
    assert machine.process.poll() is None
    assert machine.end() == 0


def test_f_l12_who_is_refused_is_told_so_on_its_own_machine(walled):
    waiting = Waiting(walled, "second", "walled", accept=False)
    waiting.define()
    walled.until(lambda: waiting.admission() == "new", "the Manager has visited it")
    walled.popham("refuse", "agent", "second")
    walled.until(lambda: "was refused" in waiting.status["problem"], "the machine says so")
    assert waiting.machine.process.poll() is None


def test_f_l12_a_push_group_reaches_it_over_a_link_that_the_manager_holds(walled):
    walled.group("pushed", preset="Push", heartbeat="5m")
    waiting = Waiting(walled, "third", "pushed", accept=True)
    walled.publish("pushed", waiting.machine, "one")
    waiting.define()
    walled.until(lambda: waiting.machine.has("one"), "it is born, and has the policy")
    walled.until(lambda: waiting.machine.view["connected"], "the Manager holds a link")
    walled.publish("pushed", waiting.machine, "two")
    walled.until(lambda: waiting.machine.has("two"), "news come over it")
    assert waiting.status["dialer"] == "manager"
    refused = walled.popham("dial", "third", "--by", "agent", code=None)
    assert "conflict.walled" in refused.stderr
