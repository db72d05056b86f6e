from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN, NOW, group, otelcol, policy

from popham.manager.stock import stock_config
from popham.model.policy import Policy
from popham.model.status import Downtime, Outcome, StateRecord
from popham.store.rows import AgentRow
from popham.trust.keys import IdentityKey
from popham.trust.verify import seal_state

OWN = "{inheritance: {policies: {files: false}, communication: false}, policies: {files: motd}, communication: {heartbeat: 1m}}"
ROW = AgentRow(
    uid="0190a0b1-0000-7000-8000-000000000001",
    name="web",
    group="paris",
    kind="own",
    admission="accepted",
    first_seen=NOW - 100,
    last_contact=NOW - 20,
    promise=60.0,
    address="192.0.2.9",
    labels='{"site":"fr"}',
    description='{"host.name":"web"}',
)


async def put(bench, row):
    await bench.store.write(lambda tx: tx.put_agent(row))


async def with_record(bench, **more):
    """Return the row of an agent that applied its group's bundle."""
    bundle = await bench.bundle("paris")
    record = StateRecord(
        uid=ROW.uid,
        revision=1,
        group="paris",
        promise=60.0,
        mode="push",
        dialer="agent",
        serial=bundle.serial,
        version=bundle.version,
        content_digest=bundle.content_digest,
        resolved="r",
        applied_serial=bundle.serial,
        applied_resolved="r",
        outcome=Outcome.APPLIED,
        since=NOW - 10,
        agent_version="0.1.0",
        unsupported=("collect",),
        facts={"os": "linux"},
    )
    return replace(ROW, state=seal_state(replace(record, **more), IdentityKey.create()))


async def test_a_view_is_computed_from_row_record_bundle_and_links(bench):
    await bench.apply(policy(), group("paris", OWN))
    await put(bench, await with_record(bench))
    bench.links.held.add(ROW.uid)
    (view,) = (await bench.service.agents(ADMIN)).items
    assert (view.name, view.group, view.kind, view.admission) == ("web", "paris", "own", "accepted")
    assert (view.presence, view.connected, view.sync, view.reason) == ("on time", True, "in sync", "")
    assert (view.mode, view.dialer, view.heartbeat) == ("push", "agent", 60.0)
    assert (view.wanted, view.applied, view.since, view.version) == (1, 1, NOW - 10, "0.1.0")
    assert (view.last_contact, view.age, view.next_contact) == (NOW - 20, 20.0, NOW + 40)
    assert (view.labels, view.certificate_until, view.detail) == ({"site": "fr"}, None, {})


async def test_a_view_says_where_the_agent_is_and_whose_its_labels_are(bench):
    await bench.apply(policy(), group("paris", OWN))
    row = await with_record(bench, location="office", rules=("interface ethernet",), location_since=NOW - 5)
    await put(bench, replace(row, operator_labels='{"site":"de"}'))
    view = await bench.service.agent(ADMIN, "web")
    assert (view.location, view.rules, view.location_since) == ("office", ("interface ethernet",), NOW - 5)
    assert view.labels == {"site": "de"}
    assert (view.detail["labels_of_agent"], view.detail["labels_of_operators"]) == (
        {"site": "fr"},
        {"site": "de"},
    )


@pytest.mark.parametrize(
    ("settings", "said", "ordered"),
    [
        ("heartbeat: 1m", {}, ""),
        (
            "heartbeat: 1m",
            {"mode": "pull", "fallback": "link.full"},
            "push: the Manager's links are all taken",
        ),
        ("heartbeat: 1m", {"mode": "pull", "fallback": "link.odd"}, "push: link.odd"),
        ("heartbeat: 1m", {"mode": "pull"}, "push: the agent has not changed over yet"),
        ("metered: {mode: pull}", {"mode": "pull"}, "push: the settings name another for this time of day"),
    ],
)
async def test_a_mode_that_is_not_the_ordered_one_is_explained(bench, settings, said, ordered):
    await bench.apply(policy(), group("paris", OWN.replace("heartbeat: 1m", settings)))
    await put(bench, await with_record(bench, **said))
    found = (await bench.service.agent(ADMIN, "web")).detail["ordered"]
    assert found.startswith(ordered)
    assert bool(found) is bool(ordered)


async def test_the_newer_last_contact_counts(bench):
    await bench.apply(group("paris"))
    await put(bench, replace(ROW, last_contact=NOW - 1000))
    assert (await bench.service.agent(ADMIN, "web")).presence == "missing"
    bench.links.seen[ROW.uid] = NOW - 5
    view = await bench.service.agent(ADMIN, "web")
    assert (view.presence, view.age) == ("on time", 5.0)


async def test_the_managers_own_downtime_does_not_count(bench):
    await bench.apply(group("paris"))
    await put(bench, replace(ROW, last_contact=NOW - 1000))
    bench.links.down = [Downtime(NOW - 990, NOW - 20)]
    assert (await bench.service.agent(ADMIN, "web")).presence == "on time"


async def test_an_agent_that_never_came_has_no_times(bench):
    await put(bench, replace(ROW, group="fleet", last_contact=None))
    view = await bench.service.agent(ADMIN, "web")
    assert (view.presence, view.last_contact, view.age, view.next_contact) == ("never seen", None, None, None)


async def test_a_new_agent_wants_nothing_yet(bench):
    await put(bench, replace(ROW, group="fleet", admission="new"))
    view = await bench.service.agent(ADMIN, "web")
    assert (view.wanted, view.sync, view.reason) == (
        0,
        "pending",
        "not accepted yet: popham accept agent web",
    )


async def test_the_detail_shows_policies_with_their_origin_and_the_record(bench):
    await bench.apply(policy(), otelcol(), group("fleet", "{policies: {otelcol: col}}"), group("paris", OWN))
    await put(
        bench,
        await with_record(
            bench, outcome=Outcome.FAILED, error_code="policy.validate", error="validate failed"
        ),
    )
    view = await bench.service.agent(ADMIN, "web")
    assert (view.sync, view.reason) == ("failed", "refused: validate failed")
    assert view.detail["policies"] == [
        {
            "type": "files",
            "name": "motd",
            "revision": 1,
            "group": "paris",
            "location": "",
            "inherited": False,
        },
        {
            "type": "otelcol",
            "name": "col",
            "revision": 1,
            "group": "fleet",
            "location": "",
            "inherited": True,
        },
    ]
    assert (view.detail["error_code"], view.detail["unsupported"], view.detail["facts"]) == (
        "policy.validate",
        ["collect"],
        {"os": "linux"},
    )
    assert view.detail["description"] == {"host.name": "web"}


async def test_a_stock_agent_is_in_sync_when_it_reports_the_wanted_hash(bench):
    await bench.apply(
        otelcol(), group("paris", "{inheritance: {policies: {otelcol: false}}, policies: {otelcol: col}}")
    )
    stock = replace(ROW, kind="stock", capabilities=2)
    await put(bench, stock)
    assert (await bench.service.agent(ADMIN, "web")).sync == "pending"
    wanted = stock_config(
        [Policy(name="col", type="otelcol", body={"config": {"exporters": {"debug": None}}})]
    )[1]
    await put(bench, replace(stock, remote=f'{{"hash": "{wanted.hex()}", "status": "APPLIED", "error": ""}}'))
    view = await bench.service.agent(ADMIN, "web")
    assert (view.sync, view.wanted, view.applied, view.heartbeat) == ("in sync", 1, 0, 60.0)
    assert view.detail["remote"]["status"] == "APPLIED"


async def test_one_that_takes_no_configuration_cannot_take_it(bench):
    await bench.apply(
        otelcol(), group("paris", "{inheritance: {policies: {otelcol: false}}, policies: {otelcol: col}}")
    )
    await put(bench, replace(ROW, kind="stock", capabilities=1))
    view = await bench.service.agent(ADMIN, "web")
    assert (view.sync, view.reason) == ("cannot take it", "it takes no configuration")
