"""Changes that are held, over the API in front of a real service."""

import pytest
from tests.api.test_rollouts import AGENTS, CANARY, ask, fleet
from tests.api.test_routes import POLICY

__all__ = ["fleet"]


async def apply(rig, word, **terms):
    body = {"files": [{"name": "all.yaml", "text": POLICY % word}], **terms}
    return await rig.client("admin").post("/api/v1/apply?hold=true", json=body)


async def test_f_y9_a_change_is_held_whatever_it_would_reach(fleet):
    begun = (await apply(fleet, "two", message="tonight")).json()
    assert (begun["rollout"], begun["reach"]) == ("r1", AGENTS)
    shown = await ask(fleet, "GET", "/rollouts/r1", who="viewer")
    assert (shown["state"], shown["named"], shown["cohort"], shown["message"]) == ("held", 0, 0, "tonight")
    assert "popham rollout resume r1" in shown["next"]


@pytest.mark.parametrize("terms", [CANARY, {"everyone": True}], ids=["canary", "all"])
async def test_f_y9_a_change_is_not_held_and_given_to_some(fleet, terms):
    answer = await apply(fleet, "two", **terms)
    assert (answer.status_code, answer.json()["code"]) == (400, "wire.request")
    assert fleet.changed == []


async def test_f_y9_one_that_is_held_begins_on_the_terms_of_whoever_resumes_it(fleet):
    await apply(fleet, "two")
    begun = await ask(fleet, "POST", "/rollouts/r1/resume", **CANARY)
    assert (begun["state"], begun["soak"]) == ("running", 60.0)
    assert [wave["share"] for wave in begun["waves"]] == [0.1, 0.5, 1.0]
    assert (await ask(fleet, "POST", "/rollouts/r1/resume", code=409, **CANARY))["code"] == "conflict.begun"


async def test_f_y9_a_draft_is_published_as_held(fleet):
    body = {"files": [{"name": "all.yaml", "text": POLICY % "two"}]}
    await ask(fleet, "PUT", "/drafts/tonight", **body)
    await ask(fleet, "POST", "/drafts/tonight/plan", hold=True)
    assert (await ask(fleet, "POST", "/drafts/tonight/publish", hold=True))["rollout"] == "r1"
    assert (await ask(fleet, "GET", "/rollouts/r1"))["state"] == "held"
