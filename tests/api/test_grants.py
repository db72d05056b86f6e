"""API tokens by REST."""

import pytest

from popham.model.names import canonical


async def make(rig, **body):
    return await rig.client().post("/api/v1/grants", json={"name": "olga", "role": "operator"} | body)


async def test_f_o5_a_token_shows_its_secret_once_and_works_until_it_is_revoked(rig):
    answer = await make(rig, groups=["fleet"], operations=["check-in"], lifetime=60)
    assert answer.status_code == 201
    made = answer.json()
    shown = made["grant"]
    assert made["secret"].startswith(f"pop_{shown['id']}_")
    assert (shown["groups"], shown["operations"], shown["state"]) == (["fleet"], ["check-in"], "usable")
    listed = (await rig.client().get("/api/v1/grants")).json()["items"]
    assert shown in listed
    assert made["secret"].split("_")[2] not in str(listed)
    rig.tokens["olga"] = made["secret"]
    assert (await rig.client("olga").get("/api/v1/agents")).status_code == 200
    assert (await rig.client().delete(f"/api/v1/grants/{shown['id']}")).status_code == 204
    assert (await rig.client("olga").get("/api/v1/agents")).status_code == 401


async def test_f_o5_an_operator_orders_within_the_scope_and_changes_nothing(rig):
    rig.tokens["olga"] = (await make(rig, operations=["restart"])).json()["secret"]
    olga = rig.client("olga")
    for method, path in (("POST", "/tokens"), ("GET", "/grants"), ("POST", "/agents/web-1/accept")):
        answer = await olga.request(method, f"/api/v1{path}", json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "grant.not_permitted")
    answer = await olga.post("/api/v1/check-ins", json={"agents": ["web-1"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "grant.not_permitted")
    assert answer.json()["detail"] == "olga may not order check-in, only restart"
    asked = await rig.client("operator").post("/api/v1/check-ins", json={"agents": ["web-1"]})
    assert (asked.status_code, asked.json()["items"][0]["state"]) == (200, "asked")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"role": "root"}, 422, "grant.role"),
        ({"role": "admin", "groups": ["fleet"]}, 422, "grant.scope"),
        ({"groups": ["paris"]}, 404, "not_found.group"),
        ({"lifetime": 1e9}, 422, "definition.grant"),
        ({"lifetime": 0}, 400, "wire.request"),
        ({"groups": ["fleet"] * 101}, 400, "wire.request"),
        ({"scope": {}}, 400, "wire.request"),
    ],
)
async def test_f_o5_a_request_that_makes_no_sense_is_refused(rig, body, status, code):
    answer = await make(rig, **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_f_o5_the_last_admin_cannot_be_revoked(rig):
    listed = (await rig.client().get("/api/v1/grants")).json()["items"]
    (admin,) = [item["id"] for item in listed if item["role"] == "admin"]
    answer = await rig.client().delete(f"/api/v1/grants/{admin}")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict.last_admin")


async def test_sec_16_nothing_that_is_stored_has_the_secret(rig):
    secret = (await make(rig)).json()["secret"].split("_")[2]
    kept = await rig.store.read(lambda tx: [str(row) for row in (*tx.admins(), *tx.audit())])
    assert secret not in canonical(kept).decode()
