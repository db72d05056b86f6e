"""A fleet of 0.4.0 comes up to this release: what was under way goes on, and its agents are visited once upgraded."""

import json
from types import SimpleNamespace

import pytest

from popham import __version__
from popham.errors import ConflictError
from popham.testing.ports import free_ports

from .aged import REPOSITORY, Aged, export, facts, form, program, tree
from .conftest import group_of, policy_of
from .web_servers import visit_now, why

pytestmark = pytest.mark.soak

RELEASE = "0.4.0"
TERMS = {"waves": [0.5], "soak": 3600.0, "halt_on": 0.05}
PLACE = """\
apiVersion: popham/v1
kind: Agent
metadata: {{name: new}}
spec: {{address: 127.0.0.1, port: {port}}}
"""


def definitions(fleet, text):
    """Return the policy of each machine, saying ``text``, and its group."""
    return "".join(
        policy_of(f"motd-{one.name}", one.root / "motd", text)
        + group_of(one.name, fleet.settings[one.name], f"motd-{one.name}")
        for one in fleet.aged
    )


def under_way(fleet):
    """Return what an upgrade may not change beside the facts: rollouts and drafts."""
    kept = ("id", "state", "reason", "wave", "changes")
    rollouts = [{key: one[key] for key in kept} for one in fleet.client.rollouts()]
    return {
        "rollouts": rollouts,
        "drafts": [fleet.client.draft(one["name"]) for one in fleet.client.drafts()],
    }


def trial(machine):
    """Return what the machine keeps of the set that it watches."""
    return json.loads((machine.state / "probation.json").read_text())["trial"]


def refuse(upgraded, state, *words):
    """Have 0.4.0 refuse a state directory in one sentence, and change nothing there."""
    before = tree(state)
    with program(upgraded.fleet, upgraded.past):
        said = upgraded.fleet.popham(*words, code=1).stderr
    assert "(state.newer)" in said
    assert said.count("\n") == 1
    assert tree(state) == before


@pytest.fixture(scope="module")
def upgraded(founding, tmp_path_factory):
    """A fleet of 0.4.0 with two machines, a rollout halted and a draft; its Manager is of this release since a moment."""
    fleet = founding()
    present = fleet.env | {"PYTHONPATH": str(REPOSITORY / "src")}
    past = fleet.env = fleet.env | {"PYTHONPATH": str(export(RELEASE, tmp_path_factory.mktemp("earlier")))}
    fleet.found()
    fleet.aged = [Aged(fleet, name) for name in ("old", "new")]
    old, new = fleet.aged
    for machine in fleet.aged:
        fleet.group(machine.name)
        machine.enroll(machine.name)
        machine.start()
    fleet.until(lambda: all(one.settled() for one in fleet.aged), "both have joined")
    fleet.apply(definitions(fleet, "first"))
    fleet.until(lambda: all(one.has_all("first") for one in fleet.aged), "both have their orders")
    assert {one.view["version"] for one in fleet.aged} == {RELEASE}
    name = fleet.client.apply([("second.yaml", definitions(fleet, "second"))], rollout=TERMS)["rollout"]
    fleet.until(lambda: any(one.has_all("second") for one in fleet.aged), "one has it first")
    fleet.client.steer_rollout(name, "halt", reason="wait for the upgrade")
    fleet.until(lambda: all(one.has_all("first") for one in fleet.aged), "it goes back")
    fleet.client.save_draft("later", [("later.yaml", definitions(fleet, "third"))])
    saved = fleet.folder / "saved.backup"
    fleet.popham("backup", str(saved), "--state", str(fleet.state))
    before = facts(fleet) | under_way(fleet)
    assert fleet.end_manager() == 0
    assert form(fleet.state) == "0003"
    fleet.env = present
    fleet.start_manager()
    (port,) = free_ports(1)
    return SimpleNamespace(
        fleet=fleet,
        before=before,
        saved=saved,
        past=past,
        old=old,
        new=new,
        rollout=name,
        port=port,
        service=f"[service]\nport = {port}\n",
    )


def test_state_of_0_4_0_is_migrated_with_its_rollout_and_draft_and_no_serial_rises(upgraded):
    fleet = upgraded.fleet
    assert form(fleet.state) > "0003"
    assert facts(fleet) | under_way(fleet) == upgraded.before
    (rollout,) = upgraded.before["rollouts"]
    assert (rollout["state"], rollout["reason"]) == ("halted", "wait for the upgrade")


def test_f_o19_a_backup_of_0_4_0_is_restored_by_this_program(upgraded):
    restored = upgraded.fleet.folder / "restored"
    upgraded.fleet.popham("restore", str(upgraded.saved), "--state", str(restored))
    assert form(restored) == form(upgraded.fleet.state)


def test_f_y17_agents_of_0_4_0_go_on_with_the_rollout_and_take_the_draft(upgraded):
    fleet = upgraded.fleet
    fleet.client.steer_rollout(upgraded.rollout, "resume")
    fleet.until(lambda: any(one.has_all("second") for one in fleet.aged), "one has it again")
    assert any(one.has("first") for one in fleet.aged)
    fleet.client.steer_rollout(upgraded.rollout, "promote")
    fleet.until(lambda: all(one.has_all("second") for one in fleet.aged), "promoted, both have it")
    fleet.client.publish_draft("later")
    fleet.until(lambda: all(one.has_all("third") for one in fleet.aged), "the draft is published")
    assert {one.view["version"] for one in fleet.aged} == {RELEASE}


def test_f_c3_an_agent_of_0_4_0_refuses_to_be_visited_and_stays_as_it_is_and_reachable(upgraded):
    fleet, new = upgraded.fleet, upgraded.new
    held = new.view["applied"]
    fleet.settings["new"] = "{preset: Pull by visit, heartbeat: 1h, spread: off}"
    fleet.apply(definitions(fleet, "fourth") + PLACE.format(port=upgraded.port))
    fleet.until(lambda: "trust.crit" in new.view["reason"], "it says why")
    view = new.view
    assert (view["sync"], view["mode"], view["dialer"], view["applied"]) == ("pending", "push", "agent", held)
    assert view["wanted"] == held + 1
    said = why(fleet, new)
    assert "needs visits" in said
    assert "Upgrade the agent on the machine" in said
    fleet.client.check_in(["new"])
    fleet.until(lambda: new.view["last_contact"] > view["last_contact"], "it answers over its link")
    assert (new.has("third"), new.view["visit"]) == (True, None)
    fleet.until(lambda: upgraded.old.has_all("fourth"), "the other follows")
    with pytest.raises(ConflictError, match=r"conflict\.generation"):
        fleet.client.dial("old", "manager")


def test_0_4_0_refuses_newer_state_and_the_agent_is_upgraded_in_place_meanwhile(upgraded):
    fleet, new = upgraded.fleet, upgraded.new
    assert fleet.end_manager() == 0
    refuse(upgraded, fleet.state, "manager", "--state", str(fleet.state))
    assert new.end() == 0
    held = trial(new)
    assert held["running"] is False
    new.renew(upgraded.service)
    fleet.until(lambda: trial(new)["running"], "it goes on")
    found = trial(new)
    kept = ("resolved", "serial", "until", "proven", "contact", "former", "starts")
    assert {key: found[key] for key in kept} == {key: held[key] for key in kept}
    assert new.has("third")
    fleet.start_manager()


def test_f_l3_upgraded_it_takes_the_bundle_and_is_visited_once_its_service_is_on(upgraded):
    fleet, new = upgraded.fleet, upgraded.new
    fleet.until(lambda: new.has("fourth"), "it takes what it refused")
    fleet.until(lambda: new.view["fallback"] == "visit.off", "its service is off")
    assert "popham agent service" in why(fleet, new)
    new.popham("service", "enable", "--now")
    visit_now(fleet, new, f"https://127.0.0.1:{upgraded.port}")
    fleet.until(lambda: new.settled() and new.view["visit"]["last"], "it is visited")
    fleet.apply(definitions(fleet, "fifth"))
    fleet.until(lambda: upgraded.old.has_all("fifth"), "the old one follows over its link")
    fleet.client.check_in(["new"])
    fleet.until(lambda: new.has_all("fifth"), "a visit brings it")
    assert [one.view["dialer"] for one in fleet.aged] == ["agent", "manager"]
    assert [one.view["connected"] for one in fleet.aged] == [True, False]
    assert [one.view["version"] for one in fleet.aged] == [RELEASE, __version__]
    assert {one.view["uid"] for one in fleet.aged} == set(upgraded.before["agents"])


def test_0_4_0_on_the_state_of_an_agent_that_is_visited_dials_and_leaves_the_machine_as_it_is(upgraded):
    fleet, new = upgraded.fleet, upgraded.new
    assert new.end() == 0
    new.config.write_text(new.config.read_text().replace(upgraded.service, ""))
    new.env = upgraded.past
    new.start()
    fleet.until(lambda: "trust.crit" in new.view["reason"], "it says what it lacks")
    fleet.until(lambda: new.view["visit"] is None, "nobody visits it")
    assert (new.view["version"], new.view["dialer"]) == (RELEASE, "agent")
    assert new.has("fifth")


def test_f_l12_0_4_0_which_would_dial_refuses_the_state_of_a_machine_that_waits_for_a_visit(upgraded):
    machine = upgraded.fleet.unjoined("walled")
    machine.popham("enroll", "--listen", upgraded.fleet.join("new"))
    refuse(upgraded, machine.state, "agent", "run", "--config", str(machine.config))
