"""The summary window over REST."""

import pytest
from tests.api.conftest import NOW, UID

from popham.store.data_rows import AlertRow


async def test_f_o1_the_window_has_a_row_for_each_agent_with_its_alerts(rig):
    alert = AlertRow(
        uid=UID, item="system.cpu.utilization", resource="", state="error", since=NOW, number=1, body="{}"
    )
    await rig.store.write(lambda tx: tx.put_alert(alert))
    answer = await rig.client("viewer").get("/api/v1/summary")
    page = answer.json()
    (row,) = page["items"]
    assert (answer.status_code, page["cursor"]) == (200, "")
    assert (row["name"], row["connected"], row["flow"], row["age"], row["bound"]) == (
        "web-1", True, "none", None, None,
    )  # fmt: skip
    assert row["states"] == {"system.cpu.utilization": "error"}


async def test_f_o1_the_window_is_limited_to_groups_and_labels_and_comes_in_pages(rig):
    client = rig.client()
    assert (await client.get("/api/v1/summary", params={"selector": "env=prod"})).json()["items"] == []
    assert len((await client.get("/api/v1/summary", params={"group": "fleet"})).json()["items"]) == 1
    answer = await client.get("/api/v1/summary", params={"group": "paris"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found.group")


async def test_f_o1_one_agent_is_shown_with_all_its_values(rig):
    answer = await rig.client("viewer").get("/api/v1/summary/web-1")
    assert (answer.status_code, answer.json()["uid"], answer.json()["values"]) == (200, UID, [])
    assert (await rig.client().get("/api/v1/summary/web-9")).status_code == 404


@pytest.mark.parametrize("level", ["10m", "1h", "1d"])
async def test_f_d7_what_was_rolled_up_is_asked_for_by_level(rig, level):
    answer = await rig.client("viewer").get("/api/v1/summary/web-1/rollups", params={"level": level})
    assert (answer.status_code, answer.json()) == (200, {"items": []})


async def test_f_d7_a_level_that_there_is_not_is_refused(rig):
    answer = await rig.client().get("/api/v1/summary/web-1/rollups", params={"level": "1w"})
    assert (answer.status_code, answer.json()["code"]) == (400, "wire.request")


async def test_f_o1_groups_have_rows_of_their_own(rig):
    answer = await rig.client("viewer").get("/api/v1/group-summaries")
    assert (answer.status_code, answer.json()) == (200, {"items": []})


async def test_the_window_is_for_those_who_may_read(rig):
    for path in ("summary", "summary/web-1", "summary/web-1/rollups", "group-summaries"):
        assert (await rig.client("none").get(f"/api/v1/{path}")).status_code == 401


async def test_f_d12_an_agent_is_described_with_its_clock_skew(rig):
    found = (await rig.client("viewer").get("/api/v1/agents/web-1")).json()
    assert found["detail"]["clock_skew"] is None
