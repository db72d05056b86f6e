"""What happens to a fleet when its Manager is killed, stopped, or brought back from a backup."""

import random
import shutil
import signal
import threading
import time

import pytest

from popham.errors import LinkError

PUBLISHES = 60
KILLS = 2
TRIES = 3
"""How often a presence of 1.5 s has to be seen: this machine may have other things to do meanwhile."""


@pytest.fixture(scope="module")
def sailing(fleet):
    """web-1 holds a link, till-1 makes a round each second."""
    fleet.group("web")
    fleet.group("tills", preset="Pull by heartbeat", heartbeat="1s")
    for name, group in (("web-1", "web"), ("till-1", "tills")):
        # Agents are killed here, which is no fault of what they applied last.
        machine = fleet.machine(name, group, toml="[health]\nwindow = 0\n")
        fleet.publish(group, machine, "moored")
        fleet.until(lambda m=machine: m.has("moored") and m.settled(), f"{name} is in sync")
        setattr(fleet, name.partition("-")[0], machine)
    return fleet


def body_of(fleet):
    """Return what the newest revision of the policy of group web says."""
    return fleet.client.policy("motd-web")["spec"]["files"][0]["content"]


def test_rel_1_no_acknowledged_publish_is_lost_by_kill_9_of_the_manager(sailing):
    fleet, rng = sailing, random.Random(7)
    fatal = set(rng.sample(range(10, PUBLISHES - 10), KILLS))
    acknowledged, cut = "moored", 0
    for number in range(PUBLISHES):
        text = f"cable {number}"
        killer = threading.Timer(rng.random() * 0.03, fleet.manager.kill)
        if number in fatal:
            killer.start()
        try:
            fleet.publish("web", fleet.web, text)
            acknowledged = text
        except LinkError:
            cut += 1
        if number in fatal:
            killer.join()
            assert fleet.manager.wait(60) == -signal.SIGKILL
            fleet.start_manager()
            assert body_of(fleet) in {acknowledged, text}
            fleet.publish("web", fleet.web, text)
            acknowledged = text
    assert body_of(fleet) == acknowledged == f"cable {PUBLISHES - 1}"
    fleet.until(lambda: fleet.web.has(acknowledged) and fleet.web.settled(), "web-1 is in sync")
    fleet.until(fleet.till.settled, "till-1 is in sync")


def test_an_agent_that_was_killed_goes_on_where_it_was(sailing):
    fleet, web = sailing, sailing.web
    web.end(signal.SIGKILL)
    fleet.publish("web", web, "under way")
    web.start()
    fleet.until(lambda: web.has("under way") and web.settled(), "web-1 is in sync again")
    assert len(fleet.client.agents()) == 2


def test_rel_20_agents_return_by_themselves_after_a_planned_stop(sailing):
    fleet, web = sailing, sailing.web
    fleet.until(lambda: web.view["connected"], "web-1 holds a link")
    assert fleet.end_manager() == 0
    fleet.start_manager()
    fleet.until(lambda: web.view["connected"], "web-1 is back")
    assert web.process.poll() is None


def goes_missing(fleet):
    """Wait until till-1 is missing, start it again, and return whether it was seen overdue on the way."""
    till, seen = fleet.till, []
    fleet.until(lambda: seen.append(till.view["presence"]) or seen[-1] == "missing", "nobody hears of till-1")
    assert "missing" in fleet.popham("get", "agents").stdout
    till.start()
    fleet.until(lambda: till.view["presence"] == "on time", "till-1 is back")
    return "overdue" in seen


def test_f_o2_the_managers_own_downtime_does_not_count(sailing):
    fleet, till = sailing, sailing.till

    def is_overdue_before_it_is_missing():
        till.end(signal.SIGKILL)
        assert fleet.end_manager() == 0
        stopped = time.monotonic()
        fleet.until(lambda: time.monotonic() > stopped + 4, "four heartbeats have passed")
        fleet.start_manager()
        return goes_missing(fleet)

    assert any(is_overdue_before_it_is_missing() for _ in range(TRIES))


def test_f_o2_an_agent_that_stops_is_overdue_and_then_missing(sailing):
    fleet, till = sailing, sailing.till

    def is_overdue_before_it_is_missing():
        till.end(signal.SIGKILL)
        return goes_missing(fleet)

    assert any(is_overdue_before_it_is_missing() for _ in range(TRIES))


def test_f_o19_rel_17_the_fleet_follows_a_manager_restored_from_an_older_backup(sailing):
    fleet, web, till = sailing, sailing.web, sailing.till
    fleet.publish("web", web, "before")
    fleet.until(lambda: web.has("before") and web.settled(), "web-1 has what is in the backup")
    fleet.group("later", preset="Pull by heartbeat", heartbeat="1s")
    saved = fleet.folder / "saved.backup"
    fleet.popham("backup", str(saved), "--state", str(fleet.state))
    fleet.publish("web", web, "after the backup")
    fleet.publish("tills", till, "after the backup")
    fleet.until(lambda: web.has("after the backup") and web.settled(), "web-1 is ahead of the backup")
    fleet.until(lambda: till.has("after the backup") and till.settled(), "till-1 is ahead of the backup")
    late = fleet.machine("late-1", "later")
    fleet.until(late.settled, "late-1 joined after the backup")
    uids = {item["uid"] for item in fleet.client.agents()}

    assert fleet.end_manager() == 0
    shutil.rmtree(fleet.state)
    fleet.popham("restore", str(saved), "--state", str(fleet.state))
    fleet.start_manager()

    fleet.until(lambda: web.settled() and till.settled(), "the fleet follows")
    fleet.publish("web", web, "restored")
    fleet.publish("tills", till, "restored")
    fleet.until(lambda: web.has("restored") and web.settled(), "web-1 takes orders again")
    fleet.until(lambda: till.has("restored") and till.settled(), "till-1 takes orders again")
    fleet.until(
        lambda: {item["uid"] for item in fleet.client.agents()} == uids, "late-1 is back, as a stranger"
    )
    (stray,) = [item["uid"] for item in fleet.client.agents() if item["admission"] == "new"]
    fleet.popham("accept", "agent", stray)
    fleet.until(lambda: fleet.client.agent(stray)["sync"] == "in sync", "late-1 belongs to it again")
