"""Agents are moved, labelled and placed through the API: bounds, errors, audit."""

import pytest
from tests.api.test_routes import UID, apply

GROUPS = """\
apiVersion: popham/v1
kind: Group
metadata: {name: paris}
---
apiVersion: popham/v1
kind: Placement
metadata: {name: laptops}
spec: {order: 10, selector: kind=laptop, address: [10.0.0.0/8, "fd00::/8"], group: paris, labels: {site: paris}}
"""
LABELS = f"/api/v1/agents/{UID}/labels"


async def test_f_o18_an_agent_is_moved_by_name_or_uid_and_that_is_audited(rig):
    client = rig.client()
    await apply(rig, GROUPS)
    answer = await client.post("/api/v1/agents/web-1/move", json={"group": "paris"})
    assert (answer.status_code, answer.json()["group"]) == (200, "paris")
    await client.post(f"/api/v1/agents/{UID}/move", json={"group": "paris"})
    changes = (await client.get("/api/v1/audit")).json()["items"]
    moves = [change for change in changes if change["method"] == "agent.move"]
    assert [(one["actor"], one["source"], one["object"]) for one in moves] == [
        ("admin", "192.0.2.9", f"agent/{UID}")
    ]


@pytest.mark.parametrize(
    ("ref", "body", "status", "code"),
    [
        ("web-1", {"group": "pariss"}, 404, "not_found.group"),
        ("web-9", {"group": "paris"}, 404, "not_found.agent"),
        ("web-1", {}, 400, "wire.request"),
        ("web-1", {"group": "p" * 257}, 400, "wire.request"),
        ("web-1", {"group": "paris", "force": True}, 400, "wire.request"),
        ("web-1", {"group": "../paris"}, 404, "not_found.group"),
    ],
)
async def test_a_wrong_move_is_one_problem_and_changes_nothing(rig, ref, body, status, code):
    await apply(rig, GROUPS)
    answer = await rig.client().post(f"/api/v1/agents/{ref}/move", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await rig.client().get("/api/v1/agents/web-1")).json()["group"] == "fleet"


async def test_f_g5_labels_are_set_selected_and_taken_away(rig):
    client = rig.client()
    answer = await client.patch(LABELS, json={"labels": {"env": "prod", "site": ""}})
    assert answer.json()["labels"] == {"env": "prod", "site": ""}
    found = (await client.get("/api/v1/agents", params={"selector": "env=prod,!gpu"})).json()
    assert [one["name"] for one in found["items"]] == ["web-1"]
    assert (await client.get("/api/v1/agents", params={"selector": "env!=prod"})).json()["items"] == []
    wrong = await client.get("/api/v1/agents", params={"selector": "env within (prod)"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "definition.selector")
    answer = await client.patch(LABELS, json={"labels": {"env": None}})
    assert answer.json()["labels"] == {"site": ""}


@pytest.mark.parametrize(
    "labels",
    [
        {"two words": "x"},
        {"": "x"},
        {"k" * 64: "x"},
        {"a=b": "x"},
        {"env": "a\nb"},
        {"env": "\x1b[2J"},
        {"env": "x" * 257},
        {"env": 7},
        {f"l{n}": "x" for n in range(65)},
    ],
)
async def test_labels_that_cannot_be_written_are_refused_with_all_others(rig, labels):
    answer = await rig.client().patch(LABELS, json={"labels": {"good": "x"} | labels})
    assert (answer.status_code, answer.json()["code"]) in {(422, "definition.labels"), (400, "wire.request")}
    assert (await rig.client().get(f"/api/v1/agents/{UID}")).json()["labels"] == {}


async def test_a_viewer_changes_nothing(rig):
    await apply(rig, GROUPS)
    client = rig.client("viewer")
    answers = [
        await client.post("/api/v1/agents/web-1/move", json={"group": "paris"}),
        await client.patch(LABELS, json={"labels": {"env": "prod"}}),
        await client.delete("/api/v1/placements/laptops"),
    ]
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert (await client.get("/api/v1/placements")).json()["items"] == [
        {
            "name": "laptops",
            "order": 10,
            "token": "",
            "selector": "kind=laptop",
            "address": ["10.0.0.0/8", "fd00::/8"],
            "group": "paris",
            "labels": {"site": "paris"},
            "names": [],
        }
    ]


async def test_a_group_in_which_a_placement_has_agents_begin_is_not_deleted(rig):
    client = rig.client()
    await apply(rig, GROUPS)
    refused = await client.delete("/api/v1/groups/paris")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict.placed")
    assert (await client.delete("/api/v1/placements/laptops")).status_code == 204
    assert (await client.delete("/api/v1/placements/laptops")).status_code == 404
    assert (await client.delete("/api/v1/groups/paris")).status_code == 204


@pytest.mark.parametrize("selector", ["", " "])
async def test_a_selector_that_means_everybody_asks_nobody_by_itself(rig, selector):
    answer = await rig.client().post("/api/v1/check-ins", json={"selector": selector})
    assert (answer.status_code, answer.json()["items"]) == (200, [])
