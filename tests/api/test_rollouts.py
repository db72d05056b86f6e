"""Rollouts, and the guard against wide reach, over the API in front of a real service."""

import random

import pytest
from tests.api.test_routes import POLICY
from tests.manager.rolling import agent

from popham.api.app import create_app
from popham.manager.links import NoLinks
from popham.manager.service import ManagerService

AGENTS = 20
CANARY = {"rollout": {"waves": [0.1, 0.5], "soak": 60, "halt_on": 0.2}}


@pytest.fixture
async def fleet(rig):
    """Return the rig with 20 agents in group paris, and a service that asks above 5."""
    keys = rig.service._keys
    rig.service = ManagerService(
        rig.store,
        keys=keys,
        clock=rig.clock,
        rng=random.Random(7),
        on_groups_changed=rig.changed.extend,
        links=NoLinks(),
        ask_above=5,
    )

    def fill(tx):
        for number in range(AGENTS):
            tx.put_agent(agent(number))

    assert (await apply(rig, "one")).status_code == 200
    await rig.store.write(fill)
    rig.changed.clear()
    return rig


async def apply(rig, word, *, who="admin", dry_run=False, **terms):
    body = {"files": [{"name": "all.yaml", "text": POLICY % word}], **terms}
    return await rig.client(who).post(f"/api/v1/apply?dry_run={str(dry_run).lower()}", json=body)


async def ask(rig, method, path, *, who="admin", code=200, **body):
    answer = await rig.client(who).request(method, f"/api/v1{path}", json=body or None)
    assert answer.status_code == code, answer.text
    return answer.json()


async def test_f_y17_new_content_for_many_needs_a_decision(fleet):
    answer = await apply(fleet, "two")
    body = answer.json()
    assert (answer.status_code, body["code"]) == (409, "conflict.reach")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "20 agents" in body["detail"]
    assert "--canary" in body["hint"]
    assert "--all" in body["hint"]
    assert fleet.changed == []
    planned = (await apply(fleet, "two", who="viewer", dry_run=True)).json()
    assert (planned["reach"], planned["rollout"]) == (AGENTS, "")
    assert any("20 agents" in warning for warning in planned["warnings"])
    done = await apply(fleet, "two", everyone=True)
    assert (done.status_code, done.json()["reach"], done.json()["rollout"]) == (200, AGENTS, "")
    assert fleet.changed == ["paris"]
    assert (await ask(fleet, "GET", "/rollouts"))["items"] == []


async def test_f_y17_an_apply_begins_a_rollout_and_viewers_look_at_it(fleet):
    begun = (await apply(fleet, "two", message="better", **CANARY)).json()
    assert (begun["rollout"], begun["reach"]) == ("r1", AGENTS)
    (listed,) = (await ask(fleet, "GET", "/rollouts?open=true", who="viewer"))["items"]
    shown = await ask(fleet, "GET", "/rollouts/r1", who="viewer")
    for found in (listed, shown):
        assert (found["id"], found["state"], found["wave"]) == ("r1", "running", 1)
        assert (found["message"], found["changes"], found["groups"]) == ("better", ["policy/motd"], ["paris"])
        assert [wave["share"] for wave in found["waves"]] == [0.1, 0.5, 1.0]
        assert (found["soak"], found["halt_on"]) == (60.0, 0.2)
    answer = await apply(fleet, "three", everyone=True)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict.rollout")


async def test_f_y17_a_rollback_is_guarded_in_the_same_way(fleet):
    await apply(fleet, "two", everyone=True)
    back = {"to_revision": 1, "message": "sorry"}
    refused = await ask(fleet, "POST", "/policies/motd/rollback", code=409, **back)
    assert refused["code"] == "conflict.reach"
    found = await ask(fleet, "POST", "/policies/motd/rollback", **back, **CANARY)
    assert (found["revision"], found["rollout"]) == (3, "r1")
    await ask(fleet, "POST", "/rollouts/r1/promote")
    found = await ask(fleet, "POST", "/policies/motd/rollback", to_revision=2, everyone=True)
    assert (found["revision"], found["rollout"]) == (4, "")


async def test_f_y17_steps_of_a_rollout(fleet):
    await apply(fleet, "two", **CANARY)
    found = await ask(fleet, "POST", "/rollouts/r1/pause", reason="lunch")
    assert (found["state"], found["reason"]) == ("paused", "lunch")
    assert (await ask(fleet, "POST", "/rollouts/r1/resume"))["state"] == "running"
    assert (await ask(fleet, "POST", "/rollouts/r1/halt", reason="smoke"))["state"] == "halted"
    assert (await ask(fleet, "POST", "/rollouts/r1/undo"))["state"] == "undone"
    over = await ask(fleet, "POST", "/rollouts/r1/resume", code=409)
    assert over["code"] == "conflict.over"
    assert (await ask(fleet, "GET", "/rollouts?open=true"))["items"] == []
    assert [one["state"] for one in (await ask(fleet, "GET", "/rollouts"))["items"]] == ["undone"]
    audit = (await ask(fleet, "GET", "/audit?limit=1000"))["items"]
    methods = [entry["method"] for entry in audit if entry["object"] == "rollout/r1"]
    assert methods == [f"rollout.{verb}" for verb in ("begin", "pause", "resume", "halt", "undo")]


async def test_sec_41_one_call_halts_all_rollouts(fleet):
    assert (await ask(fleet, "POST", "/rollouts/halt"))["items"] == []
    await apply(fleet, "two", **CANARY)
    (found,) = (await ask(fleet, "POST", "/rollouts/halt", reason="stop"))["items"]
    assert (found["id"], found["state"], found["reason"]) == ("r1", "halted", "stop")
    assert (await ask(fleet, "POST", "/rollouts/halt"))["items"] == []


async def test_f_y17_a_rollout_that_is_not_there_is_not_found(fleet):
    for method, path in (
        ("GET", "/rollouts/r9"),
        ("POST", "/rollouts/r9/halt"),
        ("POST", "/rollouts/x/undo"),
    ):
        assert (await ask(fleet, method, path, code=404))["code"] == "not_found.rollout"


@pytest.mark.parametrize(
    ("terms", "status", "code"),
    [
        ({"rollout": {"waves": []}}, 400, "wire.request"),
        ({"rollout": {"waves": [0.0]}}, 400, "wire.request"),
        ({"rollout": {"waves": [1.5]}}, 400, "wire.request"),
        ({"rollout": {"waves": [0.1], "soak": -1}}, 400, "wire.request"),
        ({"rollout": {"waves": [0.1], "halt_on": 2}}, 400, "wire.request"),
        ({"rollout": {"waves": [0.1], "speed": 2}}, 400, "wire.request"),
        ({"rollout": {"waves": [0.1]}, "everyone": True}, 400, "wire.request"),
        ({"rollout": {"waves": [0.5, 0.1]}}, 422, "definition.rollout"),
        ({"rollout": {"waves": [1e-9]}}, 422, "definition.rollout"),
    ],
)
async def test_f_y17_terms_that_cannot_be_are_refused(fleet, terms, status, code):
    answer = await apply(fleet, "two", **terms)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert fleet.changed == []


async def test_f_y17_viewers_change_nothing(fleet):
    await apply(fleet, "two", **CANARY)
    for verb in ("pause", "resume", "halt", "promote", "undo"):
        assert (await ask(fleet, "POST", f"/rollouts/r1/{verb}", who="viewer", code=403))["code"]
    await ask(fleet, "POST", "/rollouts/halt", who="viewer", code=403)
    assert (await ask(fleet, "GET", "/rollouts/r1"))["state"] == "running"


def test_where_a_rollout_begins_stands_in_the_document():
    schemas = create_app(None).openapi()["components"]["schemas"]
    assert {"everyone", "rollout"} <= schemas["ApplyRequest"]["properties"].keys()
    assert {"everyone", "rollout"} <= schemas["RollbackRequest"]["properties"].keys()
    assert "rollout" in schemas["ApplyResult"]["properties"]
