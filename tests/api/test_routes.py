"""Each route does what the service does, and renders it."""

import pytest

from popham.api.app import create_app

POLICY = """\
apiVersion: popham/v1
kind: Policy
metadata: {name: motd}
spec:
  type: files
  files: [{path: /etc/popham.d/motd, content: "%s"}]
---
apiVersion: popham/v1
kind: Group
metadata: {name: paris}
spec:
  inheritance: {policies: {files: false}}
  policies: {files: motd}
"""
UID = "0191d5a8-0000-7000-8000-000000000001"


async def apply(rig, text=POLICY % "hello", *, who="admin", dry_run=False):
    body = {"files": [{"name": "all.yaml", "text": text}]}
    return await rig.client(who).post(f"/api/v1/apply?dry_run={str(dry_run).lower()}", json=body)


async def test_apply_makes_definitions_hold_and_says_what_it_did(rig):
    answer = await apply(rig)
    assert answer.status_code == 200
    body = answer.json()
    assert [(c["kind"], c["name"], c["action"]) for c in body["changes"]] == [
        ("Policy", "motd", "created"),
        ("Group", "paris", "created"),
    ]
    (effect,) = body["groups"]
    assert [effect[key] for key in ("group", "before", "after", "agents")] == ["paris", 0, 1, 0]
    assert rig.changed == ["paris"]


async def test_a_dry_run_is_for_viewers_too_and_changes_nothing(rig):
    assert (await apply(rig, who="viewer")).status_code == 403
    answer = await apply(rig, who="viewer", dry_run=True)
    assert (answer.status_code, answer.json()["dry_run"]) == (200, True)
    assert [group["name"] for group in (await rig.client().get("/api/v1/groups")).json()["items"]] == [
        "fleet"
    ]


ALONE = """\
apiVersion: popham/v1
kind: Group
metadata: {name: fleet}
spec:
  locations:
    - {name: home, default: true}
    - {name: office, when: {manager: reachable}}
"""


async def test_f_g4_a_location_on_the_manager_alone_needs_force(rig):
    body = {"files": [{"name": "all.yaml", "text": ALONE}]}
    refused = await rig.client().post("/api/v1/apply", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "definition.manager_alone")
    taken = await rig.client().post("/api/v1/apply?force=true", json=body)
    assert taken.status_code == 200
    assert "office" in taken.json()["warnings"][0]
    shown = (await rig.client().get("/api/v1/groups/fleet")).json()
    assert [one["name"] for one in shown["locations"]["locations"]] == ["home", "office"]


async def test_f_y7_every_wrong_definition_is_named_with_file_and_line(rig):
    answer = await apply(
        rig, POLICY.replace("type: files", "typ: files").replace("policies: {files: motd}", "polices: 1")
    )
    body = answer.json()
    assert answer.status_code == 422
    assert len(body["errors"]) >= 2
    assert all(entry["source"] == "all.yaml" and entry["line"] for entry in body["errors"])


async def test_agents_are_listed_in_pages_and_found_by_name_or_uid(rig):
    client = rig.client("viewer")
    page = (await client.get("/api/v1/agents?limit=1&group=fleet")).json()
    assert ([item["name"] for item in page["items"]], page["cursor"]) == (["web-1"], "")
    assert page["items"][0]["connected"]
    for ref in ("web-1", UID):
        assert (await client.get(f"/api/v1/agents/{ref}")).json()["uid"] == UID
    assert (await client.get("/api/v1/agents/web-2")).json()["code"] == "not_found.agent"
    assert (await client.get("/api/v1/agents?group=nowhere")).status_code == 404


async def test_f_o6_an_agent_is_accepted_then_revoked_and_both_are_audited_with_the_address(rig):
    client = rig.client()
    assert (await client.post("/api/v1/agents/web-1/accept")).json()["admission"] == "accepted"
    assert (await client.post("/api/v1/agents/web-1/refuse")).status_code == 409
    assert (await client.post(f"/api/v1/agents/{UID}/revoke")).json()["admission"] == "revoked"
    changes = (await rig.client("viewer").get("/api/v1/audit")).json()["items"]
    assert [(c["actor"], c["source"], c["method"]) for c in changes[-2:]] == [
        ("admin", "192.0.2.9", "agent.accept"),
        ("admin", "192.0.2.9", "agent.revoke"),
    ]


async def test_the_audit_is_read_page_by_page(rig):
    for verb in ("accept", "revoke"):
        await rig.client().post(f"/api/v1/agents/web-1/{verb}")
    first = (await rig.client().get("/api/v1/audit?limit=1")).json()
    second = (await rig.client().get(f"/api/v1/audit?limit=1&cursor={first['cursor']}")).json()
    assert first["items"][0]["seq"] < second["items"][0]["seq"]
    assert (await rig.client().get("/api/v1/audit?cursor=x")).status_code == 400


async def test_f_o6_the_chain_of_the_audit_is_followed_and_a_digest_that_was_kept_is_found(rig):
    await rig.client().post("/api/v1/agents/web-1/accept")
    found = (await rig.client().get("/api/v1/audit/verify")).json()
    last = (await rig.client().get("/api/v1/audit")).json()["items"][-1]
    assert found == {"entries": last["seq"], "head": last["hash"]}
    await rig.client().post("/api/v1/agents/web-1/revoke")
    kept = await rig.client().get(f"/api/v1/audit/verify?head={found['head']}")
    assert kept.json()["entries"] == found["entries"] + 1
    other = await rig.client().get(f"/api/v1/audit/verify?head={'0' * 64}")
    assert other.json()["code"] == "state.audit"
    assert (await rig.client("viewer").get("/api/v1/audit/verify")).status_code == 403
    assert (await rig.client().get("/api/v1/audit/verify?head=x")).status_code == 400


async def test_groups_and_policies_are_read_copied_and_deleted(rig):
    client = rig.client()
    await apply(rig)
    group = (await client.get("/api/v1/groups/paris")).json()
    assert (group["path"], group["resolved"]["files"]["inherited"]) == ("fleet/paris", False)
    policy = (await client.get("/api/v1/policies/motd")).json()
    assert policy["spec"]["files"][0]["content"] == "hello"
    assert (await client.post("/api/v1/policies/motd/copy", json={"to": "motd2"})).status_code == 201
    assert (await client.delete("/api/v1/policies/motd")).status_code == 409
    assert (await client.delete("/api/v1/groups/paris")).status_code == 204
    assert (await client.delete("/api/v1/policies/motd")).status_code == 204
    assert [p["name"] for p in (await client.get("/api/v1/policies")).json()["items"]] == ["motd2"]


@pytest.mark.parametrize(("kind", "prefix"), [("enrollment", "pop1."), ("stock", "pops_")])
async def test_a_token_shows_its_secret_once(rig, kind, prefix):
    made = await rig.client().post("/api/v1/tokens", json={"kind": kind, "accepts": True})
    assert made.status_code == 201
    assert made.json()["secret"].startswith(prefix)
    listed = await rig.client("viewer").get("/api/v1/tokens")
    assert listed.json()["items"] == [made.json()["token"]]
    assert made.json()["secret"] not in listed.text
    assert (await rig.client().delete(f"/api/v1/tokens/{made.json()['token']['id']}")).status_code == 204
    assert (await rig.client().get("/api/v1/tokens")).json()["items"][0]["state"] == "revoked"


async def test_a_check_in_asks_who_holds_a_link(rig):
    for body in ({"agents": ["web-1"]}, {"group": "fleet"}, {"all": True}):
        items = (await rig.client().post("/api/v1/check-ins", json=body)).json()["items"]
        assert [(item["name"], item["state"]) for item in items] == [("web-1", "asked")]


async def test_health_is_open_and_readiness_follows_the_manager(rig):
    assert (await rig.client("none").get("/livez")).json() == {"status": "ok"}
    assert (await rig.client("none").get("/readyz")).json() == {"status": "ok"}
    busy = rig.client("none", app=create_app(rig.service, is_ready=lambda: False))
    answer = await busy.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "state.not_ready")
    assert (await busy.get("/livez")).status_code == 200


async def test_f_y14_a_group_shows_the_serial_that_it_asks_for(rig):
    await apply(rig, POLICY % "hello" + "  minimum_serial: 7\n")
    shown = {
        g["name"]: g["minimum_serial"] for g in (await rig.client().get("/api/v1/groups")).json()["items"]
    }
    assert shown == {"fleet": 0, "paris": 7}
    answer = await apply(rig, POLICY % "hello" + "  minimum_serial: -7\n")
    assert (answer.status_code, answer.json()["code"]) == (422, "definition.minimum_serial")
