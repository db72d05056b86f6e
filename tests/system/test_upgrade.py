"""A fleet of an earlier release comes up to this one: state, agents of both ages, backups, and no way back by accident.

The earlier programs are exported from the repository's own history and run on this interpreter, as real processes.
"""

import shutil
import ssl
import urllib.request
import uuid
from types import SimpleNamespace

import pytest

from popham import __version__
from popham.cli.contexts import Contexts
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer, ServerToAgent

from .aged import REPOSITORY, Aged, export, facts, form, program, publish, tree
from .conftest import policy_of

pytestmark = pytest.mark.soak

RELEASE = "0.1.0"
UID = uuid.UUID("0191d5a8-0000-7000-8000-0000000000aa")
PUSH, PULL = {"preset": "Push", "heartbeat": "1h"}, {"preset": "Pull by heartbeat", "heartbeat": "1s"}
STAYING, TURNING = {"deck-old": PUSH, "hold-old": PULL}, {"deck-new": PUSH, "hold-new": PULL}
"""Machines, each with a group of its name; the first keep their program, the others get this one."""
LOCATED = """\
apiVersion: popham/v1
kind: Group
metadata: {{name: {group}}}
spec:
  inheritance: {{communication: false, locations: false, policies: {{files: false}}}}
  communication: {settings}
  policies: {{files: motd-{group}}}
  location_check: 10s
  locations:
    - {{name: home, default: true}}
    - name: docked
      weight: 10
      when: {{file: "{file}"}}
      policies: {{files: dock-{group}}}
---
"""


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """The folder with the sources of the earlier release."""
    return export(RELEASE, tmp_path_factory.mktemp("earlier"))


def speak(fleet, secret):
    """Make one round as a stock agent, and return the answer."""
    context = Contexts.load(fleet.contexts).chosen("", {})
    trusted = ssl.create_default_context(cadata=context.ca)
    message = AgentToServer(instance_uid=UID.bytes, sequence_num=speak.said, capabilities=0x1)
    message.agent_description.identifying_attributes.add(key="service.name").value.string_value = "till"
    speak.said += 1
    asked = urllib.request.Request(
        f"https://{fleet.host}:{fleet.agents_port}/v1/opamp",
        data=message.SerializeToString(),
        headers={"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {secret}"},
    )
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
    )
    with opener.open(asked, timeout=60) as answer:
        return ServerToAgent.FromString(answer.read())


speak.said = 1


@pytest.fixture(scope="module")
def upgraded(founding, earlier):
    """A fleet that was founded and used by the earlier programs; its Manager is of this release since a moment."""
    fleet = founding()
    # Both programs are named; else the one that is installed would serve as either.
    present = fleet.env | {"PYTHONPATH": str(REPOSITORY / "src")}
    past = fleet.env = fleet.env | {"PYTHONPATH": str(earlier)}
    assert fleet.popham("--version").stdout.split()[1] == RELEASE
    fleet.found()
    old, new = ([Aged(fleet, name) for name in names] for names in (STAYING, TURNING))
    fleet.aged = [*old, *new]
    for name, settings in (STAYING | TURNING).items():
        fleet.group(name, **settings)
    for machine in fleet.aged:
        machine.enroll(machine.name)
        machine.start()
    publish(fleet, "old orders")
    fleet.until(lambda: all(one.has_all("old orders") for one in fleet.aged), "the fleet has its orders")
    asked = {"kind": "stock", "group": "hold-old", "uses": None, "lifetime": None, "cidr": ""}
    stock = fleet.client.create_token(**asked, accepts=True)["secret"]
    speak(fleet, stock)
    saved = fleet.folder / "saved.backup"
    fleet.popham("backup", str(saved), "--state", str(fleet.state))
    before = facts(fleet)
    for machine in new:
        machine.end()
    assert fleet.end_manager() == 0
    assert form(fleet.state) == "0001"
    fleet.env = present
    assert fleet.popham("--version").stdout.split()[1] == __version__
    fleet.start_manager()
    return SimpleNamespace(fleet=fleet, before=before, stock=stock, saved=saved, past=past, old=old, new=new)


def test_state_of_0_1_0_opens_and_is_migrated_and_no_serial_rises(upgraded):
    fleet = upgraded.fleet
    assert form(fleet.state) > "0001"
    assert facts(fleet) == upgraded.before
    assert fleet.client.placements() == []
    fleet.popham("label", "agent", "deck-old", "age=old")
    assert fleet.client.agent("deck-old")["labels"] == {"age": "old"}
    assert facts(fleet) == upgraded.before


def test_agents_of_0_1_0_keep_working_by_push_and_by_pull(upgraded):
    fleet = upgraded.fleet
    publish(fleet, "new Manager, old agents")
    fleet.until(
        lambda: all(one.has_all("new Manager, old agents") for one in upgraded.old), "old agents follow"
    )
    assert [one.view["mode"] for one in upgraded.old] == ["push", "pull"]
    assert {one.view["version"] for one in upgraded.old} == {RELEASE}
    fleet.until(lambda: upgraded.old[0].view["connected"], "the old agent of deck holds its link")


def test_this_agent_goes_on_with_the_state_of_0_1_0(upgraded):
    fleet = upgraded.fleet
    uids = [one.view["uid"] for one in upgraded.new]
    for machine in upgraded.new:
        machine.renew()
    fleet.until(
        lambda: all(one.has_all("new Manager, old agents") for one in upgraded.new), "new agents follow"
    )
    assert [one.view["uid"] for one in upgraded.new] == uids
    assert {one.view["version"] for one in upgraded.new} == {__version__}
    assert len(fleet.client.agents()) == len(upgraded.before["agents"])


def test_a_stock_agents_token_of_0_1_0_serves_on(upgraded):
    fleet = upgraded.fleet
    before = fleet.client.agent(str(UID))["last_contact"]
    assert not speak(fleet, upgraded.stock).HasField("error_response")
    fleet.until(lambda: fleet.client.agent(str(UID))["last_contact"] > before, "its round counts")


def locate(upgraded, download="on"):
    """Give every group a location at the dock, with a policy of its own there."""
    fleet = upgraded.fleet
    for machine in fleet.aged:
        policy = policy_of(f"dock-{machine.name}", machine.root / "motd", "docked")
        settings = f"{fleet.settings[machine.name][:-1]}, download: {download}}}"
        file = fleet.folder / "dock"
        fleet.apply(policy + LOCATED.format(group=machine.name, settings=settings, file=file))


def test_f_g3_locations_reach_this_agent_while_the_old_one_stays_in_the_default(upgraded):
    fleet = upgraded.fleet
    locate(upgraded)
    (fleet.folder / "dock").touch()
    fleet.until(lambda: all(one.has_all("docked") for one in upgraded.new), "new agents are docked")
    fleet.until(lambda: all(one.view["location"] == "docked" for one in upgraded.new), "the Manager knows it")
    fleet.until(lambda: all(one.settled() for one in upgraded.old), "old agents took the same bundle")
    assert all(one.has("new Manager, old agents") for one in upgraded.old)


def test_f_c1_download_off_is_refused_by_the_old_agent_without_taking_its_files_away(upgraded):
    fleet = upgraded.fleet
    locate(upgraded, download="off")
    fleet.until(
        lambda: all("download is off" in one.view["reason"] for one in upgraded.new), "new agents say it"
    )
    for machine in upgraded.old:
        fleet.until(lambda m=machine: "trust.crit" in m.view["reason"], f"{machine.name} says why")
        assert machine.view["applied"] == machine.view["wanted"] - 1
        assert machine.view["sync"] == "pending"
        assert "Upgrade the agent on the machine" in fleet.popham("why", "agent", machine.name).stdout
    assert all(one.has("new Manager, old agents") for one in upgraded.old)
    assert all(one.has("docked") for one in upgraded.new)
    locate(upgraded)
    fleet.until(lambda: all(one.settled() for one in fleet.aged), "download is on again")
    assert all(one.has("new Manager, old agents") for one in upgraded.old)


def test_0_1_0_refuses_newer_state_in_one_sentence_and_changes_nothing(upgraded):
    fleet = upgraded.fleet
    assert fleet.end_manager() == 0
    before = tree(fleet.state)
    with program(fleet, upgraded.past):
        said = fleet.popham("manager", "--state", str(fleet.state), code=1).stderr
    assert "(state.newer)" in said
    assert said.count("\n") == 1
    assert tree(fleet.state) == before
    fleet.start_manager()


def test_f_o19_a_backup_of_0_1_0_is_restored_by_this_program_and_both_kinds_of_agents_follow(upgraded):
    fleet = upgraded.fleet
    agents = {one["uid"] for one in fleet.client.agents()}
    assert fleet.end_manager() == 0
    shutil.rmtree(fleet.state)
    fleet.popham("restore", str(upgraded.saved), "--state", str(fleet.state))
    fleet.start_manager()
    assert form(fleet.state) > "0001"
    assert {one["uid"] for one in fleet.client.agents()} == agents
    publish(fleet, "after the restore")
    fleet.until(lambda: all(one.has_all("after the restore") for one in fleet.aged), "the fleet follows")
