"""Groups, labels and placements of a running fleet, by commands."""

import json

import pytest

POLICY = """apiVersion: popham/v1
kind: Policy
metadata: {{name: {name}}}
spec: {{type: files, files: [{{path: "{path}", content: "{name}"}}]}}
---
"""
GROUP = """apiVersion: popham/v1
kind: Group
metadata: {{name: {name}}}
spec: {spec}
---
"""
PLACEMENT = """apiVersion: popham/v1
kind: Placement
metadata: {name: web}
spec: {order: 10, selector: kind=web, group: quay, labels: {placed: 'yes'}}
---
"""
LABELS = '[labels]\nkind = "web"\nenv = "test"\n'


@pytest.fixture(scope="module")
def harbour(fleet):
    """A fleet with a tree of groups, and a machine that a rule has placed into one of them."""
    root = fleet.folder / "web-1.d"
    fleet.apply_file(
        POLICY.format(name="low", path=root / "motd")
        + POLICY.format(name="high", path=root / "motd")
        + GROUP.format(
            name="fleet",
            spec="""
  policies: {files: low}
  communication: {preset: Push, heartbeat: 1h, spread: off}
  locations:
    - {name: home, default: true}
    - {name: office, weight: 5, when: {dns_suffix: corp.example}, communication: {heartbeat: 10m}}""",
        )
        + GROUP.format(name="quay", spec="{}")
        + GROUP.format(name="pier", spec="{inheritance: {policies: {files: false}}, policies: {files: high}}")
        + PLACEMENT
    )
    fleet.web = fleet.machine("web-1", "fleet", toml=LABELS)
    return fleet


def lines(fleet, *words):
    return [" ".join(line.split()) for line in fleet.popham(*words).stdout.splitlines()]


def test_f_o18_a_rule_places_an_agent_by_its_label_and_a_move_gives_it_the_policies_there(harbour):
    web = harbour.web
    harbour.until(lambda: web.has("low") and web.settled(), "it has what its group inherits")
    assert (web.view["group"], web.view["labels"]["placed"]) == ("quay", "yes")
    assert lines(harbour, "get", "placements")[1].split() == [
        "10",
        "web",
        "-",
        "kind=web",
        "-",
        "-",
        "quay",
        "placed=yes",
    ]
    assert harbour.popham("move", "agent", "web-1", "--to", "pier").stdout == "agent web-1 belongs to pier\n"
    harbour.until(lambda: web.has("high") and web.settled(), "it has what holds there")
    harbour.popham("move", "agent", "web-1", "--to", "quay")
    harbour.until(lambda: web.has("low") and web.settled(), "and back")
    refused = harbour.popham("move", "agent", "web-1", "--to", "quai", code=1).stderr
    assert "there is no group 'quai' (not_found.group). Did you mean 'quay'?" in refused


def test_f_g5_an_operators_label_wins_over_the_machines_own_and_selects(harbour):
    assert lines(harbour, "get", "agents", "-l", "env=test", "-o", "name") == ["web-1"]
    harbour.popham("label", "agent", "web-1", "env=prod", "role=web")
    wanted = "env=prod,role in (web,db)"
    assert lines(harbour, "get", "agents", "-l", wanted, "-o", "name") == ["web-1"]
    assert lines(harbour, "get", "agents", "-l", "env=test", "-o", "name") == []
    assert "web-1 asked -" in lines(harbour, "check-in", "-l", wanted)
    shown = harbour.popham("describe", "agent", "web-1", "-o", "json").stdout
    detail = json.loads(shown)["detail"]
    assert detail["labels_of_agent"] == {"env": "test", "kind": "web"}
    assert detail["labels_of_operators"] == {"env": "prod", "placed": "yes", "role": "web"}
    harbour.popham("label", "agent", "web-1", "env-", "role-")
    assert lines(harbour, "get", "agents", "-l", "env=test,!role", "-o", "name") == ["web-1"]
    refused = harbour.popham("get", "agents", "-l", "role within (web)", code=1).stderr
    assert "a selector has no operator 'within' (definition.selector)" in refused


def test_f_g6_explain_names_the_group_and_the_location_of_every_value(harbour):
    found = lines(harbour, "explain", "agent", "web-1")
    assert found[0] == "agent web-1, group quay, location home"
    assert "files low fleet yes -" in found
    assert "heartbeat 1h fleet yes -" in found
    there = lines(harbour, "explain", "agent", "web-1", "heartbeat", "--location", "office")
    assert "heartbeat 10m fleet/office yes 1h of fleet" in there
    assert there[-3:] == [
        "quay inherits",
        "fleet/office Push, heartbeat 10m, spread off holds",
        "fleet Push, heartbeat 1h, spread off",
    ]


def test_f_g1_f_g2_the_box_is_unchecked_copies_and_lists_what_checking_it_again_discards(harbour):
    serial = harbour.client.group("quay")["serial"]
    out = harbour.apply_file(GROUP.format(name="quay", spec="{inherits: false}")).stdout
    assert "serial" not in out, "nothing changes on any machine"
    assert harbour.client.group("quay")["serial"] == serial
    assert "files: low (set on quay)" in lines(harbour, "describe", "group", "quay")
    harbour.apply_file(GROUP.format(name="quay", spec="{inherits: false, policies: {files: high}}"))
    harbour.until(lambda: harbour.web.has("high"), "the machine has the group's own policy")
    back = GROUP.format(name="quay", spec="{inherits: true}")
    discarded = harbour.apply_file(back).stdout
    assert "policies.files: high" in discarded, discarded
    harbour.until(lambda: harbour.web.has("low") and harbour.web.settled(), "what the root says holds again")
    root = harbour.apply_file(GROUP.format(name="fleet", spec="{inherits: true}"), code=1).stderr
    assert "definition.root" in root


def test_f_g4_a_location_on_the_managers_reachability_alone_needs_force(harbour):
    path = harbour.folder / "alone.yaml"
    rules = "[{name: home, default: true}, {name: cut-off, weight: 1, when: {manager: unreachable}}]"
    path.write_text(
        GROUP.format(name="pier", spec=f"{{inheritance: {{locations: false}}, locations: {rules}}}")
    )
    refused = harbour.popham("apply", "-f", str(path), code=1).stderr
    assert "definition.manager_alone" in refused, refused
    warned = harbour.popham("apply", "-f", str(path), "--force").stderr
    assert "Warning: " in warned
    assert "cut-off" in warned


def test_f_c1_download_off_is_told_beside_presence_link_and_place(harbour):
    title, row = lines(harbour, "get", "agents", "-o", "wide")
    assert "PRESENCE LINK SYNC" in title
    assert "on time connected in sync" in row
    assert " home " in row
    shown = lines(harbour, "describe", "agent", "web-1")
    assert "link: connected" in shown
    assert "location: home" in shown
    harbour.apply_file(
        GROUP.format(
            name="quay",
            spec="{inheritance: {communication: false},"
            " communication: {preset: Pull by heartbeat, heartbeat: 24h, download: off}}",
        )
    )
    harbour.until(
        lambda: harbour.web.view["mode"] == "pull" and not harbour.web.view["connected"], "it pulls"
    )
    said = lines(harbour, "why", "agent", "web-1")
    assert said[0] == "web-1: download is off for group quay; in location home."
    assert said[1] == "presence: on time, link: none, sync: pending"


DOCK = """
  inheritance: {communication: false, locations: false, policies: {files: false}}
  policies: {files: null}
  communication: {preset: Pull by heartbeat, heartbeat: 24h}
  location_check: 10s
  locations:
    - {name: sea, default: true}
    - {name: dock, weight: 1, when: {file: FILE}, communication: {preset: Push, heartbeat: 5m}}"""


def test_f_c2_a_location_pushes_while_its_group_pulls(harbour):
    file = harbour.folder / "docked"
    harbour.apply_file(GROUP.format(name="dock", spec=DOCK.replace("FILE", str(file))))
    boat = harbour.machine("boat-1", "dock", toml=f'[location]\nfiles = ["{file}"]\n')
    at_sea = {"location": "sea", "sync": "in sync", "mode": "pull", "connected": False, "heartbeat": 86400.0}
    harbour.until(lambda: at_sea.items() <= boat.view.items(), "it is at sea")
    file.touch()
    docked = {"location": "dock", "sync": "in sync", "mode": "push", "connected": True, "heartbeat": 300.0}
    harbour.until(lambda: docked.items() <= boat.view.items(), "it holds a link at the dock")
    assert (boat.view["rules"], boat.view["detail"]["ordered"]) == ([f"file {file}"], "")
    found = lines(harbour, "explain", "agent", "boat-1", "preset")
    assert found[0] == f"agent boat-1, group dock, location dock because file {file}"
    assert "preset Push dock/dock no Pull by heartbeat of dock" in found
    file.unlink()
    harbour.until(lambda: boat.view["mode"] == "pull" and not boat.view["connected"], "it let the link go")
    assert lines(harbour, "why", "agent", "boat-1")[0].endswith("; in location sea.")
