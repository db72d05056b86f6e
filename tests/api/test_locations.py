"""Groups, locations and their settings through the API, as an administrator sets them."""

TREE = """\
apiVersion: popham/v1
kind: Policy
metadata: {name: motd}
spec: {type: files, files: [{path: /etc/popham.d/motd, content: hello}]}
---
apiVersion: popham/v1
kind: Group
metadata: {name: fleet}
spec:
  communication:
    heartbeat: 30m
    times:
      - {from: 22:00, to: 06:00, days: mon-fri, mode: pull}
    metered: {mode: pull, heartbeat: 6h}
    servers:
      - https://paris.example:4320
      - {url: https://reserve.example:4320, priority: 2}
    hold: 10m
  locations:
    - {name: home, default: true}
    - name: office
      weight: 1
      when: {address: 10.0.0.0/8}
      policies: {files: motd}
      communication: {heartbeat: 1m}
---
apiVersion: popham/v1
kind: Group
metadata: {name: paris}
spec: {}
"""


def group(spec):
    return f"apiVersion: popham/v1\nkind: Group\nmetadata: {{name: paris}}\nspec: {spec}\n"


async def apply(rig, text, words=""):
    body = {"files": [{"name": "all.yaml", "text": text}]}
    return await rig.client().post(f"/api/v1/apply{words}", json=body)


async def shown(rig, name="paris"):
    return (await rig.client().get(f"/api/v1/groups/{name}")).json()


async def test_f_g1_everything_that_the_root_says_holds_below_and_says_so(rig):
    assert (await apply(rig, TREE)).status_code == 200
    for item in ("files", "communication", "locations"):
        held = (await shown(rig))["resolved"][item]
        assert (held["group"], held["inherited"]) == ("fleet", True)


async def test_f_c2_a_location_has_its_own_settings_for_all_below(rig):
    await apply(rig, TREE)
    found = await shown(rig)
    assert found["resolved"]["communication"]["value"]["heartbeat"] == 1800.0
    assert found["within"]["office"]["communication"]["value"]["heartbeat"] == 60.0
    assert found["within"]["office"]["files"]["value"] == "motd"
    assert "home" not in found["within"]


async def test_f_c7_times_and_metered_links_are_set_with_the_rest(rig):
    await apply(rig, TREE)
    held = (await shown(rig))["resolved"]["communication"]["value"]
    assert held["times"] == [{"days": [0, 1, 2, 3, 4], "begin": 1320, "end": 360, "mode": "pull"}]
    assert held["metered"] == {"mode": "pull", "heartbeat": 21600.0}


async def test_f_c8_a_server_list_is_set_with_priorities_and_a_hold(rig):
    await apply(rig, TREE)
    held = (await shown(rig))["resolved"]["communication"]["value"]
    assert held["servers"] == [
        {"priority": 1, "url": "https://paris.example:4320"},
        {"priority": 2, "url": "https://reserve.example:4320"},
    ]
    assert held["hold"] == 600.0
    refused = await apply(rig, TREE.replace("https://paris.example:4320", "paris"))
    assert (refused.status_code, refused.json()["code"]) == (422, "definition.servers")
    assert refused.json()["line"] > 0


async def test_f_g3_an_inherited_location_is_used_and_not_edited(rig):
    await apply(rig, TREE)
    use = "{inheritance: {policies: {files: false}}, locations: [{name: home, policies: {files: motd}}]}"
    assert (await apply(rig, group(use))).status_code == 200
    assert (await shown(rig))["within"]["home"]["files"]["group"] == "paris"
    refused = await apply(rig, group("{locations: [{name: home, default: true}]}"))
    assert refused.json()["code"] == "definition.inherited"
    assert "inheritance.locations: false" in refused.json()["hint"]


async def test_f_g2_the_box_copies_and_lists_what_it_discards(rig):
    await apply(rig, TREE)
    assert (await apply(rig, group("{inherits: false}"))).json()["groups"] == []
    assert (await shown(rig))["values"]["office"]["policies"] == {"files": "motd"}
    await apply(rig, group("{inherits: false, communication: {heartbeat: 5m}}"))
    planned = (await apply(rig, group("{}"), "?dry_run=true")).json()
    (lost,) = planned["changes"][0]["discarded"]
    assert lost.startswith("communication: Push, heartbeat 5m")
