"""An agent whose machine opens nothing outward, ever: born by a visit, kept by visits, renewed by visits.

The test runs itself once more inside a namespace, where the Manager is; the agent is behind a wall that counts and
drops what it would open.
"""

import json
import os
import subprocess

import pytest

from .conftest import POPHAM
from .walled import DAY, INSIDE, MANAGER, days_ahead, run_inside, stand_wall

WEEK = 7 * DAY
SERVICE = '[service]\nhosts = ["{address}"]\ntls = false\nplain = true\n'
AGENT = """\
apiVersion: popham/v1
kind: Agent
metadata: {{name: {name}}}
spec: {{address: {address}, tls: off}}
"""


@pytest.fixture
def wall(tmp_path):
    """A machine behind a wall."""
    with stand_wall(tmp_path) as found:
        yield found


def start_behind(fleet, wall, machine, **environ):
    """Start a machine's agent behind the wall."""
    with (fleet.folder / machine.log).open("ab") as log:
        words = [*wall.inside, *POPHAM, "agent", "run", "--config", str(machine.config)]
        machine.process = subprocess.Popen(words, stdout=log, stderr=log, env=fleet.env | environ)
    fleet.processes.append(machine.process)


def status(machine):
    """Return what the machine says of itself."""
    return json.loads(machine.popham("status", "-o", "json", code=None).stdout)


def until_of(machine):
    """Return when the machine's certificate ends."""
    return status(machine).get("certificate_until") or 0.0


def test_f_l12_inside(founding, wall):
    fleet = founding(MANAGER).found()
    fleet.group("web", preset="Pull by visit", heartbeat="2s")
    machine = fleet.unjoined("walled")
    machine.config.write_text(machine.config.read_text() + SERVICE.format(address=wall.address))
    words = [*wall.inside, *POPHAM, "agent", "enroll", "--listen", "-", "--config", str(machine.config)]
    done = subprocess.run(
        words, input=fleet.join("web"), env=fleet.env, capture_output=True, text=True, check=True
    )
    assert "it dials nobody" in done.stderr
    start_behind(fleet, wall, machine)
    fleet.apply(AGENT.format(name="walled", address=wall.address))
    fleet.publish("web", machine, "one")
    fleet.until(lambda: machine.has("one"), "the policy is applied")
    fleet.until(machine.settled, "the Manager knows")
    view = machine.view
    assert (view["name"], view["group"], view["admission"]) == ("walled", "web", "accepted")
    first = until_of(machine)

    # Eight days later: the certificate has ended a day ago.
    machine.end()
    fleet.end_manager()
    later = days_ahead(8)
    fleet.env |= later
    fleet.manager = fleet.start("manager", "--state", str(fleet.state), log="manager.log")
    start_behind(fleet, wall, machine)
    for name in later:
        del fleet.env[name]
    fleet.until(fleet.answers, "the Manager answers")
    fleet.until(lambda: until_of(machine) > first, "the certificate is renewed")
    assert until_of(machine) - first >= WEEK
    fleet.publish("web", machine, "two")
    fleet.until(lambda: machine.has("two"), "another policy is applied")
    fleet.until(machine.settled, "the Manager knows that, too")

    assert (wall.tried(), wall.tried("U")) == (0, 0)
    wall.try_out()
    assert wall.tried() > 0, "the wall counts"


@pytest.mark.timeout(300)
def test_f_l12_an_agent_behind_a_wall_is_born_kept_and_renewed_and_opens_nothing_outward():
    run_inside(__file__, "an agent that may not dial out")


if INSIDE in os.environ:
    del test_f_l12_an_agent_behind_a_wall_is_born_kept_and_renewed_and_opens_nothing_outward
else:
    del test_f_l12_inside
