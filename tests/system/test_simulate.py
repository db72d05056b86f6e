"""``popham simulate`` against a Manager: agents that are enrolled for real, in processes of their own."""

import pytest

from popham.trust.join import EnrollmentKey, JoinString

AGENTS = 4


@pytest.mark.parametrize(("mode", "held"), [("push", AGENTS), ("pull", 0)])
def test_simulated_agents_join_and_say_what_they_saw(fleet, mode, held):
    known = len(fleet.client.agents())
    join = fleet.join(uses=AGENTS)
    words = ("--agents", str(AGENTS), "--mode", mode, "--heartbeat", "1s", "--for", "5s", "--processes", "2")
    done = fleet.popham("simulate", join, *words)
    assert f"{AGENTS} of {AGENTS} enrolled" in done.stderr
    spans, *rest = done.stdout.splitlines()[1:]
    lines = {line.split()[0]: line.split()[1:] for line in (spans, *rest)}
    assert int(lines["heartbeat"][0]) >= AGENTS
    assert f"links held {held}," in done.stdout
    assert "failed" not in done.stdout
    agents = fleet.client.agents()
    assert len(agents) == known + AGENTS
    assert all(view["kind"] == "own" and view["presence"] == "on time" for view in agents[known:])


def test_a_simulated_fleet_needs_a_token_that_accepts(fleet):
    words = ("--agents", "1", "--for", "1s")
    said = fleet.popham("simulate", fleet.join(accept=False), *words, code=1).stderr
    assert "(enrollment.waiting). Use a token that accepts: popham token create --accept" in said


def test_simulated_agents_dial_this_machine_only(fleet):
    far = JoinString(("https://192.0.2.7:4320",), "00" * 32, "00" * 32, EnrollmentKey.create().seed)
    said = fleet.popham("simulate", far.encode(), code=78).stderr
    assert "(config.loopback)" in said
