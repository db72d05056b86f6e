"""Agents are moved, labelled, and placed on arrival."""

import json
from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER, group, machine
from tests.manager.test_agents import TOKEN, believe, join, stored

from popham.errors import ConflictError, DefinitionError, GrantError, NotFoundError
from popham.manager.agents import join_agent
from popham.manager.moves import place_agent
from popham.model.placement import PLACEMENTS_MAX

PLACEMENT = """\
apiVersion: popham/v1
kind: Placement
metadata: {{name: {name}}}
spec: {{{spec}}}
"""


async def arrive(bench, name, *, labels=None, address="192.0.2.9", token=TOKEN):
    """Join as an agent does, rules of placement included."""
    return await bench.store.write(
        lambda tx: join_agent(
            tx,
            bench.keys.director,
            token,
            name=name,
            now=NOW,
            address=address,
            labels=json.dumps(labels or {}),
            placed=place_agent,
            **machine(),
        )
    )


async def test_f_o18_a_move_signs_an_assignment_to_the_other_group(bench):
    await bench.apply(group("paris"))
    row = await join(bench)
    await bench.service.accept(ADMIN, "web")
    first = believe(bench, await stored(bench, row.uid))
    view = await bench.service.move(ADMIN, "web", "paris")
    assert view.group == "paris"
    moved = believe(bench, await stored(bench, row.uid), floor=first.seq)
    assert (moved.group, moved.seq) == ("paris", first.seq + 1)
    assert bench.links.changed[-1] == row.uid


async def test_an_agent_that_waits_is_moved_without_an_assignment(bench):
    await bench.apply(group("paris"))
    row = await join(bench)
    await bench.service.move(ADMIN, "web", "paris")
    held = await stored(bench, row.uid)
    assert (held.group, held.assignment) == ("paris", b"")


async def test_a_stock_agent_stays_in_the_group_of_its_token(bench):
    await bench.apply(group("paris"))
    who = {"uid": machine()["uid"], "kind": "stock"}
    await join(bench, who, token=replace(TOKEN, kind="stock", accepts=True))
    with pytest.raises(ConflictError) as caught:
        await bench.service.move(ADMIN, "web", "paris")
    assert caught.value.code == "conflict.stock"


async def test_an_agent_that_has_not_said_what_it_is_is_not_called_a_stock_agent(bench):
    await bench.apply(group("paris"))
    row = await join(bench)
    await bench.store.write(lambda tx: tx.put_agent(replace(row, kind="unknown")))
    with pytest.raises(ConflictError, match="has not said yet what it is") as caught:
        await bench.service.move(ADMIN, "web", "paris")
    assert caught.value.code == "conflict.kind"


async def test_the_audit_names_the_placement_and_what_it_gave(bench):
    await bench.apply(
        group("paris"),
        PLACEMENT.format(name="p", spec="address: 192.0.2.0/24, group: paris, labels: {site: x}"),
    )
    await arrive(bench, "web")
    await arrive(bench, "db", address="198.51.100.1")
    placed, other = [json.loads(row.after) for row in await bench.audit() if row.method == "agent.join"]
    assert (placed["group"], placed["placement"], placed["labels"]) == ("paris", "p", {"site": "x"})
    assert "placement" not in other


async def test_a_move_names_the_nearest_group_and_needs_a_grant(bench):
    await bench.apply(group("paris"))
    await join(bench)
    with pytest.raises(NotFoundError, match="there is no group 'pariss'"):
        await bench.service.move(ADMIN, "web", "pariss")
    with pytest.raises(GrantError):
        await bench.service.move(VIEWER, "web", "paris")


async def test_f_g5_operators_labels_win_and_select(bench):
    await arrive(bench, "web", labels={"env": "test", "os": "linux"})
    await arrive(bench, "db", labels={"env": "prod"})
    view = await bench.service.label(ADMIN, "web", {"env": "prod", "role": "web"})
    assert view.labels == {"env": "prod", "os": "linux", "role": "web"}
    page = await bench.service.agents(ADMIN, selector="env=prod,role in (web,cache)")
    assert [item.name for item in page.items] == ["web"]
    asked = await bench.service.check_in(ADMIN, selector="env=prod")
    assert sorted(item.name for item in asked) == ["db", "web"]
    view = await bench.service.label(ADMIN, "web", {"env": None, "gone": None})
    assert view.labels == {"env": "test", "os": "linux", "role": "web"}


async def test_pages_of_a_selection_are_complete(bench):
    for number in range(7):
        await arrive(bench, f"m-{number}", labels={"odd": str(number % 2)})
    found, cursor = [], ""
    while True:
        page = await bench.service.agents(ADMIN, selector="odd=1", after=cursor, limit=2)
        found += [item.name for item in page.items]
        cursor = page.cursor
        if not cursor:
            break
    assert sorted(found) == ["m-1", "m-3", "m-5"]


async def test_too_many_labels_are_refused(bench):
    await join(bench)
    with pytest.raises(DefinitionError) as caught:
        await bench.service.label(ADMIN, "web", {f"l{n}": "x" for n in range(65)})
    assert caught.value.code == "definition.labels"


async def test_f_o18_the_first_rule_that_fits_places_an_agent_that_joins(bench):
    await bench.apply(
        group("paris"),
        group("shops"),
        PLACEMENT.format(name="late", spec="order: 200, address: 192.0.2.0/24, group: shops"),
        PLACEMENT.format(
            name="early", spec="order: 10, selector: 'site=paris', group: paris, labels: {placed: 'yes'}"
        ),
        PLACEMENT.format(name="none", spec="order: 1, token: other, group: shops"),
    )
    by_label = await arrive(bench, "a", labels={"site": "paris"}, address="198.51.100.1")
    by_address = await arrive(bench, "b")
    by_none = await arrive(bench, "c", address="2001:db8::1")
    assert [by_label.group, by_address.group, by_none.group] == ["paris", "shops", "fleet"]
    assert json.loads(by_label.operator_labels) == {"placed": "yes"}
    rules = await bench.service.placements(VIEWER)
    assert [rule.name for rule in rules] == ["none", "early", "late"]


async def test_a_placement_is_applied_changed_and_deleted_and_audited(bench):
    text = PLACEMENT.format(name="all", spec="address: 0.0.0.0/0, labels: {seen: here}")
    actions = [(await bench.apply(text)).changes[0].action for _ in range(2)]
    assert actions == ["created", "unchanged"]
    await bench.service.delete_placement(ADMIN, "all")
    assert await bench.service.placements(VIEWER) == ()
    with pytest.raises(NotFoundError, match="there is no placement 'all'"):
        await bench.service.delete_placement(ADMIN, "all")
    methods = [row.method for row in (await bench.service.audit(ADMIN)).items]
    assert methods[-2:] == ["apply", "placement.delete"]


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ("group: paris", "definition.placement"),
        ("address: 10.0.0.0/8", "definition.placement"),
        ("address: 10.0.0.0/99, group: fleet", "definition.placement"),
        ("selector: 'role within (web)', group: fleet", "definition.selector"),
        ("adress: 10.0.0.0/8, group: fleet", "definition.unknown_key"),
        ("address: 10.0.0.0/8, group: nowhere", "definition.unknown_group"),
        ("order: -1, address: 10.0.0.0/8, group: fleet", "definition.placement"),
    ],
)
async def test_a_wrong_placement_is_one_sentence_and_changes_nothing(bench, spec, code):
    with pytest.raises(DefinitionError) as caught:
        await bench.apply(PLACEMENT.format(name="bad", spec=spec))
    assert caught.value.code == code
    assert await bench.service.placements(VIEWER) == ()


async def test_an_address_of_both_families_is_placed_as_the_ipv4_address_it_is(bench):
    await bench.apply(
        group("shops"), PLACEMENT.format(name="all", spec="address: 192.0.2.0/24, group: shops")
    )
    assert (await arrive(bench, "a", address="::ffff:192.0.2.7")).group == "shops"
    assert (await arrive(bench, "b", address="fe80::1%eth0")).group == "fleet"


async def test_a_stock_agent_is_placed_by_its_labels_only(bench):
    await bench.apply(
        group("shops"), PLACEMENT.format(name="all", spec="token: t1, group: shops, labels: {kind: till}")
    )
    token = replace(TOKEN, kind="stock", accepts=True)
    row = await bench.store.write(
        lambda tx: join_agent(
            tx,
            bench.keys.director,
            token,
            uid=machine()["uid"],
            kind="stock",
            name="till",
            now=NOW,
            address="192.0.2.9",
            placed=place_agent,
        )
    )
    assert (row.group, json.loads(row.operator_labels)) == ("fleet", {"kind": "till"})


async def test_a_label_that_could_not_be_written_is_refused(bench):
    await join(bench)
    for labels in ({"two words": "x"}, {"env": "a\x1bb"}, {"env": "x" * 257}, {"bad name": None}):
        with pytest.raises(DefinitionError) as caught:
            await bench.service.label(ADMIN, "web", {"good": "x"} | labels)
        assert caught.value.code == "definition.labels"
    assert (await bench.service.agent(ADMIN, "web")).labels == {}


async def test_a_selector_without_parts_asks_nobody(bench):
    await join(bench)
    assert await bench.service.check_in(ADMIN, selector="  ") == ()


async def test_there_may_be_so_many_placements_and_no_more(bench):
    rule = "address: 10.0.0.0/8, labels: {seen: here}"
    await bench.apply(*(PLACEMENT.format(name=f"p-{n}", spec=rule) for n in range(PLACEMENTS_MAX)))
    await bench.apply(PLACEMENT.format(name="p-0", spec="address: 10.0.0.0/8, labels: {seen: there}"))
    with pytest.raises(DefinitionError, match="more than 256 placements") as caught:
        await bench.apply(PLACEMENT.format(name="late", spec=rule))
    assert caught.value.code == "definition.placement"
    assert len(await bench.service.placements(VIEWER)) == PLACEMENTS_MAX
