"""The intake over the API."""

from popham.manager.intake.views import IntakeView, ReaderView

VIEW = IntakeView(
    name="logs",
    queued=1,
    queued_bytes=500,
    oldest=0.5,
    appended=3.0,
    refused={"queue": 2},
    stored=10,
    lost={"age": 3},
    damaged=0,
    segments=1,
    bytes=5000,
    readers=(ReaderView(name="tables", bytes=100, records=2, seconds=1.0),),
)


async def test_f_d6_the_intake_is_shown_to_readers(rig):
    rig.service._intake = lambda: (VIEW,)
    answer = await rig.client("viewer").get("/api/v1/intake")
    assert answer.status_code == 200
    (found,) = answer.json()["items"]
    assert (found["queued"], found["queued_bytes"], found["oldest"]) == (1, 500, 0.5)
    assert found["refused"] == {"queue": 2}
    assert found["readers"] == [{"name": "tables", "bytes": 100, "records": 2, "seconds": 1.0}]


async def test_a_manager_that_serves_no_agents_has_no_intake(rig):
    assert (await rig.client("viewer").get("/api/v1/intake")).json() == {"items": []}
