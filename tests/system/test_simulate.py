"""``popham simulate`` against a Manager: agents that are enrolled for real, in processes of their own."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from popham.trust.join import EnrollmentKey, JoinString

AGENTS = 4


@pytest.mark.parametrize(("mode", "held"), [("push", AGENTS), ("pull", 0)])
def test_simulated_agents_join_and_say_what_they_saw(fleet, mode, held):
    known = {view["uid"] for view in fleet.client.agents()}
    join = fleet.join(uses=AGENTS)
    words = ("--agents", str(AGENTS), "--mode", mode, "--heartbeat", "1s", "--for", "5s", "--processes", "2")

    def on_time():
        new = [view for view in fleet.client.agents() if view["uid"] not in known]
        return len(new) == AGENTS and all((one["kind"], one["presence"]) == ("own", "on time") for one in new)

    with ThreadPoolExecutor() as pool:
        running = pool.submit(fleet.popham, "simulate", join, *words)
        fleet.until(on_time, "all of them keep their promise")
        done = running.result()
    assert f"{AGENTS} of {AGENTS} enrolled" in done.stderr
    spans, *rest = done.stdout.splitlines()[1:]
    lines = {line.split()[0]: line.split()[1:] for line in (spans, *rest)}
    assert int(lines["heartbeat"][0]) >= AGENTS
    assert f"links held {held}," in done.stdout
    assert "failed" not in done.stdout
    assert len(fleet.client.agents()) == len(known) + AGENTS


def test_a_simulated_fleet_needs_a_token_that_accepts(fleet):
    words = ("--agents", "1", "--for", "1s")
    said = fleet.popham("simulate", fleet.join(accept=False), *words, code=1).stderr
    assert "(enrollment.waiting). Use a token that accepts: popham token create --accept" in said


def test_simulated_agents_dial_this_machine_only(fleet):
    far = JoinString(("https://192.0.2.7:4320",), "00" * 32, "00" * 32, EnrollmentKey.create().seed)
    said = fleet.popham("simulate", far.encode(), code=78).stderr
    assert "(config.loopback)" in said
