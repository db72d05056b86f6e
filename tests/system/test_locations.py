"""A machine with two locations, by a real Manager and a real agent: a file says where it is."""

import re

POLICIES = """apiVersion: popham/v1
kind: Policy
metadata: {{name: {name}}}
spec: {{type: files, files: [{{path: "{path}", content: "{name}"}}]}}
---
"""
GROUP = """apiVersion: popham/v1
kind: Group
metadata: {{name: desks}}
spec:
  parent: fleet
  inherits: true
  inheritance: {{communication: false, locations: false, policies: {{files: false}}}}
  communication: {{preset: Push, heartbeat: 1h, spread: off, download: {download}}}
  policies: {{files: away}}
  location_check: 10s
  locations:
    - {{name: default, default: true}}
    - name: docked
      weight: 10
      when: {{file: "{file}"}}
      policies: {{files: work}}
      communication: {{preset: Push, heartbeat: 30m, spread: off}}
"""


def test_f_g3_touching_a_file_moves_the_agent_changes_its_policy_and_is_seen_at_both_ends(fleet):
    fleet.group("desks")
    file = fleet.folder / "docked"
    desk = fleet.machine("desk-1", "desks", toml=f'[location]\nfiles = ["{file}"]\n')

    def order(download="on"):
        policies = "".join(POLICIES.format(name=name, path=desk.root / "motd") for name in ("away", "work"))
        fleet.apply(policies + GROUP.format(file=file, download=download))

    order()
    fleet.until(lambda: desk.has("away") and desk.settled(), "desk-1 has what holds away")
    file.touch()
    fleet.until(lambda: desk.has("work") and desk.settled(), "desk-1 has what holds at the dock")
    there = {"location": "docked", "location_rules": [f"file {file}"], "promise": 1800}
    fleet.until(lambda: there.items() <= desk.status.items(), "it says where it is")
    lines = desk.popham("status").stdout
    assert re.search(rf"location: +docked since 20\S+Z, because file {re.escape(str(file))}\n", lines), lines
    order(download="off")
    fleet.until(lambda: desk.view["reason"] == "download is off for group desks", "the Manager says why")
    file.unlink()
    fleet.until(lambda: desk.has("away"), "it still follows, by what it has")
    assert not desk.settled()
    assert desk.end() == 0
    assert desk.status["location"] == "default"
    file.touch()
    desk.start()
    fleet.until(lambda: desk.has("work"), "it looks again when it starts")
    order()
    fleet.until(desk.settled, "download is on again, and nobody did anything on the machine")


def test_sec_6_a_machine_that_permits_no_look_stays_and_says_so(fleet):
    fleet.group("blind")
    blind = fleet.machine("blind-1", "blind")
    file = fleet.folder / "seen"
    policies = "".join(POLICIES.format(name=f"blind-{one}", path=blind.root / "motd") for one in ("a", "w"))
    group = GROUP.format(file=file, download="on").replace("desks", "blind")
    group = group.replace("files: away", "files: blind-a").replace("files: work", "files: blind-w")
    file.touch()
    fleet.apply(policies + group)
    fleet.until(lambda: blind.has("blind-a") and blind.settled(), "it has what holds where nothing is known")
    said = blind.status
    assert (said["location"], said["location_unseen"]) == ("default", [f"file {file}"])
    assert f"not looked at:  file {file}\n" in blind.popham("status").stdout
