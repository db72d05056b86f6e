"""Where agents are visited and who dials them, through the API: bounds, errors, audit, passwords."""

import pytest
from tests.api.test_routes import UID, apply

AGENTS = """\
apiVersion: popham/v1
kind: Agent
metadata: {name: web-1}
spec: {address: web1.example, port: 443, prefix: /SQC, tls: web, password: 'ada:geheim'}
---
apiVersion: popham/v1
kind: Agent
metadata: {name: v6}
spec: {address: '[2001:db8::7]'}
"""


async def test_definitions_are_listed_and_shown_to_viewers_without_passwords(rig):
    await apply(rig, AGENTS)
    for who in ("admin", "viewer"):
        client = rig.client(who)
        listed = await client.get("/api/v1/agent-definitions")
        one = await client.get("/api/v1/agent-definitions/web-1")
        audit = await client.get("/api/v1/audit")
        assert "geheim" not in listed.text + one.text + audit.text
        assert [item["url"] for item in listed.json()["items"]] == [
            "https://[2001:db8::7]:23440",
            "https://web1.example:443/SQC",
        ]
        assert (one.json()["agent"], one.json()["secrets"]) == ("web-1", ["password"])
    assert "geheim" in (await rig.client().get("/api/v1/export")).text


async def test_a_list_of_definitions_has_pages(rig):
    await apply(rig, AGENTS)
    client = rig.client()
    first = (await client.get("/api/v1/agent-definitions", params={"limit": 1})).json()
    assert ([item["name"] for item in first["items"]], first["cursor"]) == (["v6"], "v6")
    rest = (await client.get("/api/v1/agent-definitions", params={"cursor": "v6"})).json()
    assert ([item["name"] for item in rest["items"]], rest["cursor"]) == (["web-1"], "")


async def test_a_definition_is_deleted(rig):
    await apply(rig, AGENTS)
    client = rig.client()
    assert (await client.delete("/api/v1/agent-definitions/v6")).status_code == 204
    again = await client.delete("/api/v1/agent-definitions/v6")
    assert (again.status_code, again.json()["code"]) == (404, "not_found.agent_definition")


async def test_f_o15_a_list_is_imported_and_its_wrong_lines_are_told(rig):
    client = rig.client()
    body = {"text": "a/SQC,80\nb\n", "name": "list.cfg"}
    planned = await rig.client("viewer").post(
        "/api/v1/agent-definitions/import", params={"dry_run": "true"}, json=body
    )
    assert (planned.status_code, planned.json()["created"]) == (200, 1)
    done = (await client.post("/api/v1/agent-definitions/import", json=body)).json()
    assert (done["created"], done["wrong"], done["findings"][0][:11]) == (1, 1, "list.cfg:2:")
    assert [item["name"] for item in (await client.get("/api/v1/agent-definitions")).json()["items"]] == ["a"]


async def test_f_o15_distribute_ini_is_imported_and_what_is_left_is_told(rig):
    await rig.store.write(lambda tx: tx.put_agent(_own(tx.agent(UID))))
    text = "[POLICY_DEF]\nDISTHOST = web-1,web-9\n"
    body = {
        "files": [{"folder": "Web", "name": "Web/Distribute.ini", "text": text, "beside": ["template.dat"]}]
    }
    planned = await rig.client("viewer").post("/api/v1/groups/import", params={"dry_run": "true"}, json=body)
    assert (planned.status_code, planned.json()["dry_run"]) == (200, True)
    assert (await rig.client("viewer").post("/api/v1/groups/import", json=body)).status_code == 403
    done = (await rig.client().post("/api/v1/groups/import", json=body)).json()
    assert done["groups"] == [
        {"group": "web", "folder": "Web", "source": "Web/Distribute.ini", "moved": 1, "here": 0, "awaited": 1}
    ]
    assert [one["text"] for one in done["left"]] == ["template.dat"]
    assert (await rig.client().get("/api/v1/agents/web-1")).json()["group"] == "web"
    (rule,) = (await rig.client().get("/api/v1/placements")).json()["items"]
    assert (rule["name"], rule["names"]) == ("distribute-1-web", ["web-1", "web-9"])
    refused = await rig.client().post("/api/v1/groups/import", json=body | {"under": "rome"})
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found.group")


async def test_f_c3_the_dialer_of_an_agent_is_switched_and_that_is_audited(rig):
    client = rig.client()
    await rig.store.write(lambda tx: tx.put_agent(_own(tx.agent(UID))))
    answer = await client.patch("/api/v1/agents/web-1/dial", json={"by": "manager", "may_dial": True})
    assert (answer.status_code, answer.json()["detail"]["overrides"]) == (
        200,
        {"dialer": "manager", "may_dial": True},
    )
    answer = await client.patch(f"/api/v1/agents/{UID}/dial", json={"by": "group"})
    assert answer.json()["detail"]["overrides"] == {"may_dial": True}
    changes = (await client.get("/api/v1/audit")).json()["items"]
    assert [one["object"] for one in changes if one["method"] == "agent.dial"] == [f"agent/{UID}"] * 2


def _own(row):
    import dataclasses

    return dataclasses.replace(row, kind="own")


@pytest.mark.parametrize(
    ("ref", "body", "status", "code"),
    [
        ("web-1", {"by": "proxy"}, 400, "wire.request"),
        ("web-1", {}, 400, "wire.request"),
        ("web-1", {"by": "manager", "force": True}, 400, "wire.request"),
        ("web-9", {"by": "manager"}, 404, "not_found.agent"),
    ],
)
async def test_a_wrong_switch_is_one_problem(rig, ref, body, status, code):
    answer = await rig.client().patch(f"/api/v1/agents/{ref}/dial", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_viewer_changes_nothing(rig):
    await apply(rig, AGENTS)
    client = rig.client("viewer")
    answers = [
        await client.delete("/api/v1/agent-definitions/v6"),
        await client.patch("/api/v1/agents/web-1/dial", json={"by": "manager"}),
        await client.post("/api/v1/agent-definitions/import", json={"text": "a,1"}),
    ]
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert len((await client.get("/api/v1/agent-definitions")).json()["items"]) == 2
