"""An agent whose machine opens nothing outward, ever: born by a visit, kept by visits, renewed by visits.

The test runs itself once more inside a namespace, where the Manager is; the agent and Apache, by whose alias ``/SQC``
it is reached by CGI, are behind a wall that counts and drops what they would open.
"""

import os
import subprocess

import pytest

from . import alias
from .conftest import POPHAM
from .walled import DAY, INSIDE, MANAGER, days_ahead, run_inside, stand_wall
from .web_servers import Caller

WEEK = 7 * DAY
PORT, DIRECT = 8080, 23440
"""Apache's, and the service's own; nobody else is in the namespace."""
SERVICE = alias.SERVICE + 'hosts = ["{address}"]\nport = {port}\ntls = false\nplain = true\n'
AGENT = """\
apiVersion: popham/v1
kind: Agent
metadata: {{name: {name}}}
spec: {{address: {address}, port: {port}, prefix: /SQC, tls: off}}
"""


@pytest.fixture
def wall(tmp_path):
    """A machine behind a wall."""
    with stand_wall(tmp_path / "outward") as found:
        yield found


def reached(apache, status=200):
    """Return how many requests came through the alias and were answered so."""
    text = (apache.folder / "access.log").read_text()
    return text.count(f' {status} "POST /SQC/v1/visit HTTP/1.1"')


def until_of(machine):
    """Return when the machine's certificate ends."""
    return machine.status.get("certificate_until") or 0.0


def test_f_l12_inside(founding, wall, apache, sockets):
    fleet = founding(MANAGER).found()
    fleet.group("web", preset="Pull by visit", heartbeat="2s")
    machine = fleet.unjoined("walled")
    socket = sockets / "visit.sock"
    service = SERVICE.format(address=wall.address, port=DIRECT, socket=socket, group=apache.group)
    machine.config.write_text(machine.config.read_text() + service)
    alias.start_alias(apache, socket, PORT, host=wall.address, inside=wall.inside)
    words = [*wall.inside, *POPHAM, "agent", "enroll", "--listen", "-", "--config", str(machine.config)]
    done = subprocess.run(
        words, input=fleet.join("web"), env=fleet.env, capture_output=True, text=True, check=True
    )
    assert "it dials nobody" in done.stderr
    machine.start(inside=wall.inside)
    fleet.until(socket.exists, "it listens")
    fleet.apply(AGENT.format(name="walled", address=wall.address, port=PORT))
    fleet.publish("web", machine, "one")
    fleet.until(lambda: machine.has("one"), "the policy is applied")
    fleet.until(machine.settled, "the Manager knows")
    view = machine.view
    assert (view["name"], view["group"], view["admission"]) == ("walled", "web", "accepted")
    assert view["visit"]["url"] == f"http://{wall.address}:{PORT}/SQC"
    fleet.until(lambda: not machine.view["visit"]["code"], "a visit came to its end")
    assert reached(apache) > 1, "its birth, and what came with it"
    first = until_of(machine)

    # One visitor after the other: both would sign with one key, and take each other's nonces.
    fleet.end_manager()
    assert Caller(fleet, machine).visit(f"http://{wall.address}:{DIRECT}").instance_uid, "over plain TCP, too"
    machine.end()

    # Eight days later: the certificate has ended a day ago.
    before = reached(apache)
    later = days_ahead(8)
    fleet.manager = fleet.start("manager", "--state", str(fleet.state), log="manager.log", **later)
    machine.start(inside=wall.inside, **later)
    fleet.until(fleet.answers, "the Manager answers")
    fleet.until(lambda: until_of(machine) > first, "the certificate is renewed")
    assert until_of(machine) - first >= WEEK
    fleet.publish("web", machine, "two")
    fleet.until(lambda: machine.has("two"), "another policy is applied")
    fleet.until(machine.settled, "the Manager knows that, too")

    assert reached(apache) > before + 1
    assert apache.process.poll() is None

    assert (wall.tried(), wall.tried("U")) == (0, 0)
    wall.try_out()
    assert wall.tried() > 0, "the wall counts"


@pytest.mark.timeout(300)
def test_f_l12_a_walled_agent_is_born_kept_and_renewed_by_cgi_and_opens_nothing_outward():
    run_inside(__file__, "an agent that may not dial out", later=True)


if INSIDE in os.environ:
    del test_f_l12_a_walled_agent_is_born_kept_and_renewed_by_cgi_and_opens_nothing_outward
else:
    del test_f_l12_inside
