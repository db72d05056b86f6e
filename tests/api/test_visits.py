"""Visits through the API: how an agent is dialled, and how old what is shown may be."""

from dataclasses import asdict

import pytest
from tests.api.conftest import UID, OneLink

from popham.manager.visit_views import VisitView

VISIT = VisitView(
    url="https://192.0.2.9:23440",
    http_proxy="http://proxy:3128",
    definition="web-1",
    mode="push",
    interval=600.0,
    since=1.0,
    failures=2,
    code="visit.off",
    problem="The web server answers, and the service behind it does not",
    hint="popham agent service start",
)


class Dialled(OneLink):
    def visit(self, uid):
        return VISIT if uid == UID else None


@pytest.mark.parametrize("who", ["viewer", "admin"])
async def test_an_agent_is_shown_with_its_visits(rig, who):
    rig.service._links = Dialled()
    found = (await rig.client(who).get("/api/v1/agents/web-1")).json()
    assert found["visit"] == asdict(VISIT)
    listed = (await rig.client(who).get("/api/v1/agents")).json()["items"]
    assert [item["visit"] for item in listed] == [asdict(VISIT)]


async def test_f_l8_an_agent_is_shown_with_the_age_of_what_it_says_and_its_bound(rig):
    now = rig.clock.now()

    def seen(tx):
        row = tx.agent(UID)
        tx.put_agent(type(row)(**asdict(row) | {"last_contact": now - 100, "promise": 300.0}))

    await rig.store.write(seen)
    found = (await rig.client().get("/api/v1/agents/web-1")).json()
    assert (found["age"], found["age_bound"], found["visit"]) == (100.0, 450.0, None)
    rig.clock.time = now + 400
    found = (await rig.client().get("/api/v1/agents/web-1")).json()
    assert (found["age"], found["age_bound"], found["presence"]) == (500.0, None, "overdue")
