"""Whose logs and metrics somebody is shown."""

import pytest
from tests.manager.data.intaking import ALICE, BOB, NOW, RunningData, Segments, counter, gauge, lines

from popham.errors import DefinitionError, GrantError, NotFoundError
from popham.manager.data.asking import PageOf
from popham.manager.data.service import Of
from popham.manager.grant import Grant, Role, Scope
from popham.manager.intake.views import IntakeView
from popham.store.rows import AgentRow
from popham.streams.frame import Stream

INTAKE = IntakeView(
    name="logs",
    queued=0,
    queued_bytes=0,
    oldest=0.0,
    appended=0.0,
    refused={},
    stored=2,
    lost={},
    damaged=0,
    segments=1,
    bytes=100,
    readers=(),
)
VIEWER = Grant(actor="vic", role=Role.VIEWER, source="192.0.2.8")
PARIS = Grant(actor="oscar", role=Role.OPERATOR, source="192.0.2.9", scope=Scope(groups=("paris",)))


def group(name, parent="fleet"):
    return f"apiVersion: popham/v1\nkind: Group\nmetadata: {{name: {name}}}\nspec: {{parent: {parent}}}\n"


@pytest.fixture
async def service(bench, tmp_path):
    """A service with two agents' data, of which one is in a group below paris."""
    await bench.apply(group("paris"), group("web", "paris"), group("rome"))

    def fill(tx):
        for uid, name, place in ((ALICE, "alice", "web"), (BOB, "bob", "rome")):
            row = AgentRow(
                uid=str(uid), name=name, group=place, kind="own", admission="accepted", first_seen=NOW
            )
            tx.put_agent(row)

    await bench.store.write(fill)
    segments = Segments()
    segments.take(*lines(["from alice"], time=NOW - 9))
    segments.take(*lines(["from bob"], time=NOW - 8), uid=BOB)
    segments.take(*gauge("cpu", 0.5, time=NOW - 30), stream=Stream.SUMMARY)
    segments.take(*counter("bytes", 10, 20, time=NOW - 50), stream=Stream.METRICS, uid=BOB)
    async with RunningData(tmp_path, segments) as data:
        bench.service._data = data
        yield bench.service


async def texts(service, grant, **of):
    return [item.text for item in (await service.logs(grant, Of(**of), PageOf(limit=10))).items]


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ({}, ["from alice", "from bob"]),
        ({"agents": ["bob"]}, ["from bob"]),
        ({"agents": [str(ALICE), "bob"]}, ["from alice", "from bob"]),
        ({"groups": ["paris"]}, ["from alice"]),
        ({"groups": ["paris"], "agents": ["bob"]}, ["from alice", "from bob"]),
        ({"selector": "env=prod"}, []),
        ({"selector": "env!=prod", "groups": ["rome"]}, ["from bob"]),
        ({"since": NOW - 8.5}, ["from bob"]),
        ({"until": NOW - 8.5}, ["from alice"]),
    ],
)
async def test_agents_are_named_by_name_group_and_labels(service, of, expected):
    assert await texts(service, VIEWER, **of) == expected


async def test_a_line_names_its_agent(service):
    (item, _) = (await service.logs(VIEWER, Of(), PageOf(limit=10))).items
    assert (item.agent, item.uid, item.at, item.time) == ("alice", str(ALICE), NOW - 9.0, NOW - 9.0)


async def test_an_operator_that_is_limited_to_groups_sees_only_these(service):
    assert await texts(service, PARIS) == ["from alice"]
    assert await texts(service, PARIS, selector="env!=prod") == ["from alice"]
    for of in ({"agents": ["bob"]}, {"groups": ["rome"]}):
        with pytest.raises(GrantError, match="may see nothing of the group rome"):
            await texts(service, PARIS, **of)
    assert [one.name for one in await service.metrics(PARIS, Of())] == ["cpu"]
    assert not (await service.records(PARIS, "metrics", Of(), PageOf(limit=10))).items


async def test_metrics_are_those_of_the_summary_too(service):
    assert [one.name for one in await service.metrics(VIEWER, Of())] == ["bytes", "cpu"]
    page = await service.metric(VIEWER, Of(since=NOW - 60, until=NOW), name="cpu", step=30)
    assert [(one.agent, one.values) for one in page.items] == [("alice", (None, 0.5))]


async def test_a_metric_that_is_not_there_is_said_with_the_nearest(service):
    with pytest.raises(NotFoundError, match="no metric 'cpuu'") as caught:
        await service.metric(VIEWER, Of(since=NOW - 60, until=NOW), name="cpuu", step=30)
    assert "cpu" in caught.value.hint


@pytest.mark.parametrize(("since", "step"), [(0, 60), (NOW, 60), (NOW - 60, 0)])
async def test_too_many_steps_or_none_are_refused(service, since, step):
    with pytest.raises(DefinitionError, match="steps"):
        await service.metric(VIEWER, Of(since=since, until=NOW), name="cpu", step=step)


async def test_records_have_all_that_is_kept(service):
    page = await service.records(VIEWER, "logs", Of(), PageOf(limit=1))
    (item,) = page.items
    assert item["body"] == "from alice"
    assert item["resource"] == {"host.name": "web-1"}
    (item,) = (await service.records(VIEWER, "logs", Of(), PageOf(limit=9, cursor=page.cursor))).items
    assert item["body"] == "from bob"
    with pytest.raises(NotFoundError):
        await service.records(VIEWER, "nothing", Of(), PageOf(limit=1))


async def test_a_manager_without_agents_says_so(bench):
    with pytest.raises(NotFoundError, match="serves no agents"):
        await texts(bench.service, VIEWER)


async def test_what_is_kept_stands_beside_the_intake(service):
    service._intake = lambda: (INTAKE,)
    await service._data._followers[Stream.LOGS].write()
    (view,) = service.intake(VIEWER)
    assert (view.kept.records, view.kept.files, view.kept.oldest) == (2, 1, "2027-01-15")
