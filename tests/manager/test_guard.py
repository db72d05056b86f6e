"""The serial that a group asks for before it gives bodies with secrets: kept, exported, warned of, explained."""

import json
import random
from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN, VIEWER, group, otelcol, policy
from tests.manager.rolling import add, agent
from tests.manager.test_roster import ROW, put

from popham.errors import ConflictError
from popham.manager.guard import find_guarded, read_minima
from popham.manager.objects import describe_group, parse_group
from popham.manager.service import ManagerService
from popham.manager.stock import stock_config
from popham.model.fleet import AgentKind, Group
from popham.model.policy import Policy
from popham.model.rollout import RolloutTerms
from popham.model.status import Outcome, StateRecord
from popham.trust.keys import IdentityKey
from popham.trust.verify import seal_state

SECRET = (
    "apiVersion: popham/v1\nkind: Policy\nmetadata: {name: keys}\nspec: "
    "{type: files, files: [{path: /etc/popham.d/key, content: hunter2, secret: true}]}\n"
)
COLLECTOR = otelcol().replace("{debug: null}", "{otlp: {password: hunter2}}")


def lab(minimum, kind="files", name="keys"):
    more = f", minimum_serial: {minimum}" if minimum is not None else ""
    return group(
        "lab", f"{{inheritance: {{policies: {{{kind}: false}}}}, policies: {{{kind}: {name}}}{more}}}"
    )


async def stored(bench):
    return json.loads((await bench.store.read(lambda tx: tx.group("lab"))).body)


async def test_f_y14_what_asks_for_none_is_stored_as_it_always_was(bench):
    await bench.apply(SECRET, lab(0))
    assert "minimum_serial" not in await stored(bench)
    rows = await bench.store.read(lambda tx: tx.groups())
    result = await bench.apply(SECRET, lab(None))
    assert [change.action for change in result.changes] == ["unchanged", "unchanged"]
    assert await bench.store.read(lambda tx: tx.groups()) == rows


@pytest.mark.parametrize("minimum", [0, 1, 2**53 - 1])
def test_f_y14_a_group_is_kept_with_its_minimum(minimum):
    held = Group(name="lab", parent="fleet", minimum_serial=minimum)
    assert parse_group("lab", json.dumps(describe_group(held))) == held


async def test_f_y14_changing_it_is_an_audited_change_that_signs_nothing_and_tells_the_hub(bench):
    await bench.apply(SECRET, lab(None))
    before = await bench.store.read(lambda tx: tx.bundle("lab"))
    bench.told.clear()
    result = await bench.apply(SECRET, lab(1))
    assert ("Group", "lab", "changed") in {(c.kind, c.name, c.action) for c in result.changes}
    assert result.groups == ()
    assert bench.told == [["lab"]]
    assert await bench.store.read(lambda tx: tx.bundle("lab")) == before
    assert '"minimum_serial":1' in (await bench.audit())[-1].after.replace(" ", "")
    assert (await bench.service.group(VIEWER, "lab")).minimum_serial == 1
    bench.told.clear()
    await bench.apply(SECRET, lab(1))
    assert bench.told == []


@pytest.mark.parametrize("terms", [{}, {"rollout": RolloutTerms.of([0.1])}])
async def test_sec_42_a_lower_serial_that_lets_many_have_secrets_needs_a_decision(bench, keys, terms):
    await bench.apply(SECRET, lab(9))
    await add(bench, *(agent(number, "lab") for number in range(12)))
    bench.service = ManagerService(
        bench.store,
        keys=keys,
        clock=bench.clock,
        rng=random.Random(7),
        on_groups_changed=bench.told.append,
        links=bench.links,
        ask_above=11,
    )
    with pytest.raises(ConflictError, match="lets 12 agents in 1 group have secrets at once") as caught:
        await bench.apply(lab(None), **terms)
    assert caught.value.code == "conflict.reach"
    planned = await bench.apply(lab(1), grant=VIEWER, dry_run=True, **terms)
    assert (planned.reach, planned.asks) == (12, "all")
    assert any("lets 12 agents" in warning for warning in planned.warnings)
    assert (await bench.apply(lab(None), everyone=True)).reach == 12
    assert (await bench.apply(lab(9), **terms)).reach == 0


async def test_f_y14_a_plan_shows_it_and_an_export_has_it(bench):
    await bench.apply(SECRET, lab(None))
    planned = await bench.apply(SECRET, lab(1), dry_run=True)
    (changed,) = [change for change in planned.changes if change.action == "changed"]
    assert "+  minimum_serial: 1" in changed.difference
    await bench.apply(SECRET, lab(1))
    files, _ = await bench.service.export(ADMIN)
    (text,) = [file.text for file in files if file.name == "groups/lab.yaml"]
    assert "minimum_serial: 1" in text
    assert (await bench.apply(text)).changes[0].action == "unchanged"


@pytest.mark.parametrize("dry_run", [True, False])
async def test_f_y14_a_serial_that_does_not_exist_yet_is_warned_of(bench, dry_run):
    warning = (
        "group 'lab' gives the secrets of 'keys' from serial 9 on and is at serial 1: "
        "no agent that lacks them is given them before there is such a serial"
    )
    assert (await bench.apply(SECRET, lab(9), dry_run=dry_run)).warnings == (warning,)


async def test_f_y14_the_same_apply_may_raise_the_serial_to_it(bench):
    await bench.apply(policy("keys"), lab(None))
    assert (await bench.apply(SECRET, lab(2))).warnings == ()


async def test_f_y14_without_secrets_nobody_waits_and_nothing_is_warned_of(bench):
    assert (await bench.apply(policy("keys"), lab(9))).warnings == ()


async def test_f_y14_stock_agents_are_warned_of_where_they_can_join(bench):
    texts = COLLECTOR, lab(1, "otelcol", "col")
    assert (await bench.apply(*texts)).warnings == ()
    made = await bench.service.create_token(ADMIN, kind="stock", group="lab")
    (warning,) = (await bench.apply(*texts)).warnings
    assert warning == (
        "group 'lab' gives the secrets of 'col' from serial 1 on: "
        "its stock agents name no serial, so they are never given them"
    )
    await bench.service.revoke_token(ADMIN, made.token.id)
    assert (await bench.apply(*texts)).warnings == ()


async def test_f_y14_a_stock_agent_is_in_sync_without_what_it_is_not_given(bench):
    row = replace(ROW, group="lab", kind=str(AgentKind.STOCK), capabilities=2)
    await bench.apply(COLLECTOR, lab(None, "otelcol", "col"))
    await put(bench, row)
    assert (await bench.service.agent(ADMIN, "web")).sync == "pending"
    await bench.apply(COLLECTOR, lab(1, "otelcol", "col"))
    assert (await bench.service.agent(ADMIN, "web")).sync == "in sync"


def test_f_y14_a_configuration_for_stock_agents_leaves_out_guarded_policies_only():
    secret = Policy(name="a", type="otelcol", body={"config": {"exporters": {"otlp": {"password": "x"}}}})
    plain = Policy(name="b", type="otelcol", body={"config": {"exporters": {"debug": None}}})
    assert list(stock_config([secret, plain])[0]) == ["a", "b"]
    assert stock_config([secret, plain], guarded=True) == stock_config([plain])


async def test_f_y14_few_groups_or_all_are_read_alike(bench):
    await bench.apply(SECRET, lab(7), group("paris", metadata=", labels: {minimum_serial: '3'}"))
    for names in (None, ["lab", "paris", "fleet", "gone"]):
        assert await bench.store.read(lambda tx, names=names: read_minima(tx, names)) == {"lab": 7}
    assert await bench.store.read(lambda tx: read_minima(tx, ["paris"])) == {}


def test_f_y14_a_body_that_is_gone_is_not_guarded():
    assert find_guarded({"0" * 64: b""}) == frozenset()


async def test_f_y14_why_names_the_policies_and_both_serials(bench):
    await bench.apply(SECRET, lab(9))
    bundle = await bench.bundle("lab")
    key = IdentityKey.create()
    record = StateRecord(
        uid=ROW.uid,
        revision=1,
        group="lab",
        promise=300.0,
        mode="push",
        dialer="agent",
        serial=1,
        content_digest=bundle.content_digest,
        applied_serial=1,
        applied_digest=bundle.content_digest,
        outcome=Outcome.APPLIED,
        withheld=("keys",),
    )
    await put(bench, replace(ROW, group="lab", state=seal_state(record, key), last_contact=bench.clock.at))
    why = await bench.service.why(VIEWER, "web")
    assert (why.sync, why.sentence) == (
        "pending",
        "waits for policies keys: they are given from serial 9 on, it has 1",
    )
    assert why.step == "popham check-in web; if its group stays below that serial, lower 'minimum_serial'"
