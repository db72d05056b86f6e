"""A policy that removes a machine's default route, in network namespaces of its own; its machine undoes it.

The test runs itself once more inside a namespace, where the Manager is; the agent is in another, and reaches
it by its default route only.  Nothing of this machine's own network is touched.
"""

import os

import pytest

from .conftest import POPHAM
from .walled import INSIDE, MANAGER, NEAR, run, run_inside, stand_wall

KNOWN = 30.0
"""Seconds in which it is undone once it is known. Source: guarantees, REL-11."""
ROUTE = f"""\
#!/bin/sh
case "$(cat $1)" in
up) exec ip route replace default via {NEAR} ;;
*) exec ip route del default ;;
esac
"""


@pytest.fixture
def beside():
    """A machine that reaches this one by its default route."""
    with stand_wall() as found:
        yield found


def test_rel_11_inside(founding, beside):
    fleet = founding(MANAGER).found()
    fleet.group("web", preset="Pull by heartbeat", heartbeat="2s")
    machine = fleet.unjoined("first")
    script = fleet.folder / "route"
    script.write_text(ROUTE)
    script.chmod(0o755)
    file = machine.root / "motd"
    toml = f'[commands]\nroute = ["{script}", "{file}"]\n[health]\nwindow = 3\n'
    machine.config.write_text(machine.config.read_text() + toml)
    own = ("--config", str(machine.config))
    run(*beside.inside, *POPHAM, "agent", "enroll", fleet.join("web"), *own)
    machine.start(inside=beside.inside)
    fleet.until(machine.settled, "it has joined")
    # Placed files that the command names as an argument are data; the script itself is out of reach.
    fleet.publish("web", machine, "up", extra="reload: route")
    fleet.until(machine.settled, "it has the policy")
    fleet.until(lambda: machine.status["watched_until"] is None, "it has proven itself")
    fleet.publish("web", machine, "down", extra="reload: route")
    fleet.until(lambda: machine.has("down"), "the route is gone")
    took = fleet.until(lambda: machine.has("up"), "it is undone", patience=KNOWN + 30)
    assert took <= KNOWN
    (undone,) = machine.status["undone"]
    assert undone["error_code"] == "policy.undone_contact"


@pytest.mark.soak
def test_rel_11_a_policy_that_removes_the_default_route_is_undone_by_its_machine():
    run_inside(__file__, "removing a default route")


if INSIDE in os.environ:
    del test_rel_11_a_policy_that_removes_the_default_route_is_undone_by_its_machine
else:
    del test_rel_11_inside
