"""Logs and metrics over the API."""

import pytest
from tests.manager.data.intaking import NOW, RunningData, Segments, gauge, lines

from popham.streams.frame import Stream


@pytest.fixture
async def client(rig, tmp_path):
    segments = Segments()
    segments.take(*lines(["one", "two", "three"], time=NOW - 10, step=1))
    segments.take(*gauge("cpu", 0.5, time=NOW - 30), stream=Stream.METRICS)
    async with RunningData(tmp_path, segments) as data:
        rig.service._data = data
        yield rig.client("viewer")


async def test_logs_come_in_pages_and_go_on(client):
    page = (await client.get("/api/v1/logs", params={"limit": 2})).json()
    assert [item["text"] for item in page["items"]] == ["one", "two"]
    following = (await client.get("/api/v1/logs", params={"cursor": page["cursor"]})).json()
    assert [item["text"] for item in following["items"]] == ["three"]
    assert following["cursor"] == ""
    later = (await client.get("/api/v1/logs", params={"after": page["after"]})).json()
    assert later["items"] == []


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"grep": "("}, 422, "definition.query"),
        ({"cursor": "x"}, 422, "definition.query"),
        ({"after": "x"}, 422, "definition.query"),
        ({"agent": "nobody"}, 404, "not_found.agent"),
        ({"group": "nowhere"}, 404, "not_found.group"),
        ({"severity": "99"}, 400, "wire.request"),
    ],
)
async def test_what_cannot_be_asked_is_said(client, query, status, code):
    answer = await client.get("/api/v1/logs", params=query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_metric_has_a_value_for_each_step(client):
    (item,) = (await client.get("/api/v1/metrics")).json()["items"]
    assert (item["name"], item["kind"], item["agents"]) == ("cpu", "gauge", 1)
    query = {"since": NOW - 60, "until": NOW, "step": 20}
    page = (await client.get("/api/v1/metrics/cpu", params=query)).json()
    assert [one["values"] for one in page["items"]] == [[None, 0.5, None]]
    assert (page["since"], page["step"], page["more"]) == (NOW - 60, 20.0, False)


async def test_records_of_a_stream_are_there_as_they_are_kept(client):
    page = (await client.get("/api/v1/data/logs", params={"limit": 1})).json()
    assert page["items"][0]["body"] == "one"
    assert page["items"][0]["at"] == (NOW - 10) * 10**9
    assert (await client.get("/api/v1/data/nothing")).json()["code"] == "not_found.stream"
