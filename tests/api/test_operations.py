"""Operations over REST."""

from tests.api.conftest import UID

from popham.store.rows import OutputRow

OPERATIONS = "/api/v1/operations"


async def order(rig, who="admin", **body):
    await rig.client().post("/api/v1/agents/web-1/accept")
    return await rig.client(who).post(OPERATIONS, json={"kind": "collect", "agents": ["web-1"]} | body)


async def test_f_o4_an_operation_is_ordered_looked_at_cancelled_and_retried(rig):
    made = await order(rig, agents=["web-1", "nobody"], message="look", expires=900)
    assert made.status_code == 201
    found = made.json()
    assert (found["name"], found["state"], found["counts"]) == ("op1", "open", {"queued": 1})
    assert (found["unknown"], found["message"], found["asked"]["expires"]) == (["nobody"], "look", 900.0)
    client = rig.client("viewer")
    assert (await client.get(f"{OPERATIONS}/op1")).json() == found
    assert (await client.get(OPERATIONS, params={"open": "true", "kind": "collect"})).json()["items"] == [
        found
    ]
    (target,) = (await client.get(f"{OPERATIONS}/op1/targets", params={"state": "queued,sent"})).json()[
        "items"
    ]
    assert (target["uid"], target["way"], target["output"]) == (UID, "held link", None)
    assert target["until"] == rig.clock.now()
    cancelled = await rig.client().post(f"{OPERATIONS}/op1/cancel")
    assert cancelled.json()["counts"] == {"cancelled": 1}
    again = await rig.client().post(f"{OPERATIONS}/op1/retry", json={"states": ["cancelled"]})
    assert (again.status_code, again.json()["retry_of"]) == (201, "op1")


async def test_f_y8_a_dry_run_lists_the_targets_and_orders_nothing(rig):
    planned = await order(rig, kind="send", agents=[], groups=["fleet"], dry_run=True)
    assert planned.status_code == 200
    (target,) = planned.json()["targets"]
    assert (target["name"], target["why"], target["refusal"]) == ("web-1", "in group fleet", None)
    assert (await rig.client().get(OPERATIONS)).json() == {"items": [], "cursor": ""}


async def test_f_y8_a_target_that_cannot_be_served_is_refused_with_the_next_step(rig):
    body = {"kind": "send", "all": True, "dry_run": True}
    (target,) = (await rig.client().post(OPERATIONS, json=body)).json()["targets"]
    assert target["refusal"]["code"] == "operation.admission"
    assert "popham accept agent" in target["refusal"]["hint"]


async def test_errors_of_operations_have_their_status_and_code(rig):
    async def code(answer):
        found = await answer
        return found.status_code, found.json()["code"]

    assert await code(order(rig, kind="dance")) == (422, "definition.operation")
    assert await code(order(rig, agents=["nobody"])) == (409, "operation.nobody")
    assert await code(order(rig, agents=[], groups=["lyon"])) == (404, "not_found.group")
    assert await code(order(rig, kind="apply")) == (409, "conflict.no_candidate")
    assert await code(order(rig, expires=0)) == (400, "wire.request")
    assert await code(order(rig, "viewer")) == (403, "grant.not_permitted")
    client = rig.client()
    assert await code(client.get(f"{OPERATIONS}/op7")) == (404, "not_found.operation")
    await order(rig)
    assert await code(client.get(f"{OPERATIONS}/op1/targets?state=lost")) == (422, "definition.operation")
    assert await code(client.get(f"{OPERATIONS}/op1/targets/web-1/output")) == (404, "not_found.output")


async def test_f_o4_an_output_comes_as_it_was_printed(rig):
    await order(rig)
    row = OutputRow(operation=1, uid=UID, at=rig.clock.now(), length=3, data=b"\x00ok")
    await rig.store.write(lambda tx: tx.put_output(row))
    found = await rig.client().get(f"{OPERATIONS}/op1/targets/web-1/output")
    assert (found.content, found.headers["content-type"]) == (b"\x00ok", "application/octet-stream")
    assert (await rig.client("viewer").get(f"{OPERATIONS}/op1/targets/web-1/output")).status_code == 403
