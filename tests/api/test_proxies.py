"""Proxy Managers through the API: listed, shown, deleted, and the token that one joins by."""

from tests.api.test_routes import apply

DOCK = """\
apiVersion: popham/v1
kind: Proxy
metadata: {name: dock}
spec: {groups: [fleet], names: [dock.example], custody: {events: end to end}}
"""
WEB = """\
apiVersion: popham/v1
kind: Agent
metadata: {name: web1}
spec: {address: 10.1.0.1, proxy: dock}
"""


async def test_f_t3_proxies_are_listed_and_shown(rig):
    await apply(rig, DOCK)
    client = rig.client("viewer")
    (listed,) = (await client.get("/api/v1/proxies")).json()["items"]
    assert (listed["name"], listed["state"], listed["groups"]) == ("dock", "not enrolled", ["fleet"])
    assert listed["custody"]["events"] == "end to end"
    one = await client.get("/api/v1/proxies/dock")
    assert one.json()["names"] == ["dock.example"]
    missing = await client.get("/api/v1/proxies/dok")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found.proxy")


async def test_one_is_deleted_once_it_visits_nobody(rig):
    await apply(rig, f"{DOCK}---\n{WEB}")
    client = rig.client()
    refused = await client.delete("/api/v1/proxies/dock")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict.visited")
    await client.delete("/api/v1/agent-definitions/web1")
    assert (await client.delete("/api/v1/proxies/dock")).status_code == 204
    assert (await client.get("/api/v1/proxies")).json() == {"items": []}


async def test_a_token_for_a_proxy_is_made_for_its_definition_only(rig):
    await apply(rig, DOCK)
    client = rig.client()
    made = await client.post("/api/v1/tokens", json={"kind": "proxy", "proxy": "dock"})
    assert made.status_code == 201
    token = made.json()["token"]
    assert (token["kind"], token["proxy"], token["uses_left"], token["accepts"]) == (
        "proxy",
        "dock",
        1,
        False,
    )
    wrong = await client.post("/api/v1/tokens", json={"kind": "proxy", "proxy": "dock", "accepts": True})
    assert wrong.json()["code"] == "definition.token"
    missing = await client.post("/api/v1/tokens", json={"kind": "proxy"})
    assert missing.json()["code"] == "not_found.proxy"


async def test_agents_say_by_which_proxies_they_come(rig):
    (agent,) = (await rig.client().get("/api/v1/agents")).json()["items"]
    assert (agent["via"], agent["behind"]) == ([], "")
