"""Drafts over REST."""

import pytest

MOTD = """apiVersion: popham/v1
kind: Policy
metadata: {name: motd}
spec: {type: files, files: [{path: /etc/popham.d/motd, secret: true, content: %s}]}
"""
GROUP = """apiVersion: popham/v1
kind: Group
metadata: {name: paris}
spec: {inheritance: {policies: {files: false}}, policies: {files: motd}}
"""


def files(*texts):
    return [{"name": f"{number}.yaml", "text": text} for number, text in enumerate(texts)]


async def put(rig, *texts, who="admin", **more):
    return await rig.client(who).put("/api/v1/drafts/spring", json={"files": files(*texts), **more})


@pytest.fixture
async def drafted(rig):
    """Return the rig with a draft of two documents, and its edition."""
    answer = await put(rig, MOTD % "hi", GROUP, message="why")
    assert answer.status_code == 200, answer.text
    return rig, answer.json()["edition"]


async def test_f_y1_a_draft_is_saved_looked_at_planned_and_published(drafted):
    rig, edition = drafted
    (listed,) = (await rig.client("viewer").get("/api/v1/drafts")).json()["items"]
    assert (listed["name"], listed["author"], listed["message"]) == ("spring", "admin", "why")
    assert [(one["document"], one["moved"], one["text"]) for one in listed["documents"]] == [
        ("group/paris", False, ""),
        ("policy/motd", False, ""),
    ]
    found = (await rig.client("viewer").post("/api/v1/drafts/spring/plan")).json()
    same = await rig.client("viewer").post(
        "/api/v1/apply?dry_run=true", json={"files": files(MOTD % "hi", GROUP)}
    )
    assert found == {"edition": edition, "moved": [], "plan": same.json()}
    body = {"seen": edition, "base": found["plan"]["base"], "message": "OPS-7"}
    answer = await rig.client().post("/api/v1/drafts/spring/publish", json=body)
    assert [change["action"] for change in answer.json()["changes"]] == ["created", "created"]
    revisions = (await rig.client().get("/api/v1/policies/motd/revisions")).json()["items"]
    assert [revision["message"] for revision in revisions] == ["OPS-7"]
    assert rig.changed == ["paris"]
    answer = await rig.client().get("/api/v1/drafts/spring")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found.draft")


async def test_a_viewer_reads_a_draft_without_its_secrets(drafted):
    rig, _ = drafted
    shown = {
        who: {
            one["document"]: one["text"]
            for one in (await rig.client(who).get("/api/v1/drafts/spring")).json()["documents"]
        }
        for who in ("admin", "viewer")
    }
    assert "content: hi" in shown["admin"]["policy/motd"]
    assert "content: hi" not in shown["viewer"]["policy/motd"]
    assert shown["admin"]["group/paris"] == shown["viewer"]["group/paris"]


async def test_f_y10_a_conflict_is_a_problem_that_names_who_and_what_to_do(drafted):
    rig, edition = drafted
    await put(rig, MOTD % "two", seen=edition)
    answer = await put(rig, MOTD % "three", seen=edition)
    assert answer.status_code == 409
    problem = answer.json()
    assert problem["code"] == "conflict.draft"
    assert f"which came after edition {edition}: policy/motd (by admin at 2027-01-15" in problem["detail"]
    assert "popham draft show spring" in problem["hint"]
    for call in (
        rig.client().post("/api/v1/drafts/spring/publish", json={"seen": edition}),
        rig.client().delete(f"/api/v1/drafts/spring?seen={edition}"),
        rig.client().post(
            "/api/v1/drafts/spring/remove", json={"documents": ["policy/motd"], "seen": edition}
        ),
    ):
        answer = await call
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict.draft")
    answer = await put(rig, MOTD % "three", seen=edition, theirs=True, only=True)
    assert {one["document"]: one["action"] for one in answer.json()["changes"]} == {
        "group/paris": "removed",
        "policy/motd": "replaced",
    }


async def test_f_y10_what_changed_under_a_draft_is_a_conflict_until_it_is_rebased(drafted):
    rig, _ = drafted
    await rig.client().post("/api/v1/apply", json={"files": files(MOTD % "other")})
    answer = await rig.client().post("/api/v1/drafts/spring/publish")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict.base")
    moved = (await rig.client("viewer").post("/api/v1/drafts/spring/plan", json={})).json()["moved"]
    assert [one.partition(" ")[0] for one in moved] == ["policy/motd"]
    assert (await rig.client().post("/api/v1/drafts/spring/rebase")).json()["moved"] == moved
    assert (await rig.client().post("/api/v1/drafts/spring/publish")).status_code == 200


async def test_documents_are_taken_out_and_a_draft_is_discarded(drafted):
    rig, _ = drafted
    answer = await rig.client().post("/api/v1/drafts/spring/remove", json={"documents": ["policy/motd"]})
    assert [one["document"] for one in answer.json()["documents"]] == ["group/paris"]
    answer = await rig.client().post("/api/v1/drafts/spring/remove", json={"documents": ["policy/motd"]})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found.document")
    assert (await rig.client().delete("/api/v1/drafts/spring")).status_code == 204
    assert (await rig.client().get("/api/v1/drafts")).json() == {"items": []}


async def test_a_wrong_definition_is_told_with_its_line_and_a_wrong_body_is_refused(rig):
    answer = await put(rig, (MOTD % "hi").replace("content", "contant"))
    assert (answer.status_code, answer.json()["source"], answer.json()["line"]) == (422, "0.yaml", 4)
    answer = await put(rig, MOTD % "hi", sen=1)
    assert answer.json()["code"] == "wire.request"
    answer = await rig.client("viewer").put("/api/v1/drafts/spring", json={"files": files(GROUP)})
    assert answer.status_code == 403
