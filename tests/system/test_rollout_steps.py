"""A rollout of a real Manager and a real agent: halted and killed on the way, it ends as it should."""

import signal

import pytest

from .conftest import group_of


@pytest.fixture(scope="module")
def canary(fleet):
    """A machine in sync in a group of its own."""
    fleet.group("mine")
    machine = fleet.machine("canary-1", "mine")
    fleet.publish("mine", machine, "one")
    fleet.until(lambda: machine.has("one") and machine.settled(), "canary-1 is in sync")
    return machine


def test_sec_41_a_halt_takes_back_and_a_killed_manager_goes_on_from_its_state(canary):
    fleet, client = canary.fleet, canary.fleet.client
    policy, _ = fleet.definitions("mine", canary, "two").split("---", 1)
    text = f"{policy}---\n{group_of('mine', fleet.settings['mine'], 'motd-mine')}"
    result = client.apply([("two.yaml", text)], rollout={"waves": [0.5], "soak": 600, "halt_on": 0.05})
    name = result["rollout"]
    fleet.until(lambda: canary.has("two"), "the first has it")
    fleet.until(lambda: client.rollout(name)["applied"] == 1, "the Manager counts it")
    client.halt_rollouts(reason="enough")
    fleet.until(lambda: canary.has("one") and canary.settled(), "it goes back")
    fleet.end_manager(signal.SIGKILL)
    fleet.start_manager()
    found = client.rollout(name)
    assert (found["state"], found["reason"], found["applied"]) == ("halted", "enough", 1)
    client.steer_rollout(name, "resume")
    fleet.until(lambda: canary.has("two"), "it has it again")
    fleet.end_manager(signal.SIGKILL)
    fleet.start_manager()
    fleet.until(lambda: client.rollout(name)["applied"] == 1, "it is counted after the restart")
    assert client.rollout(name)["wave"] == 1
    client.steer_rollout(name, "undo")
    fleet.until(lambda: canary.has("one") and canary.settled(), "what held before holds again")
    assert canary.view["applied"] == canary.view["wanted"]
