import json
from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN, NOW, group, machine

from popham.errors import ConflictError, NotFoundError
from popham.manager.agents import assign, every_agent, join_agent, reassign_all, unique_name
from popham.model.names import NAME
from popham.store.rows import AgentRow, TokenRow
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import open_assignment

TOKEN = TokenRow(
    id="t1", kind="enrollment", group="fleet", public=b"", created=NOW, expires=NOW + 60, uses_left=9
)


async def join(bench, who=None, *, name="web", token=TOKEN):
    who = who or machine()
    return await bench.store.write(
        lambda tx: join_agent(tx, bench.keys.director, token, name=name, now=NOW, address="192.0.2.9", **who)
    )


async def stored(bench, uid):
    return await bench.store.read(lambda tx: tx.agent(uid))


def believe(bench, row, floor=0):
    tuf = TrustedTuf.from_bytes(bench.keys.root, bench.keys.targets)
    return open_assignment(row.assignment, tuf=tuf, uid=row.uid, spki_sha256=row.spki, seq_floor=floor)


async def test_sec_17_a_new_agent_waits_without_an_assignment(bench):
    row = await join(bench)
    assert (row.admission, row.assignment, row.group) == ("new", b"", "fleet")


async def test_accepting_gives_a_signed_assignment_that_the_agent_believes(bench):
    row = await join(bench)
    view = await bench.service.accept(ADMIN, "web")
    assert view.admission == "accepted"
    assignment = believe(bench, await stored(bench, row.uid))
    assert (assignment.group, assignment.seq) == ("fleet", int(NOW * 1000))
    assert bench.links.changed == [row.uid]


async def test_an_assignment_is_numbered_above_the_one_before(bench):
    row = assign(await join(bench), bench.keys.director, now=NOW)
    again = assign(row, bench.keys.director, now=NOW - 5)
    assert again.assignment_seq == row.assignment_seq + 1
    moved = assign(again, bench.keys.director, now=NOW, group="paris")
    assert believe(bench, moved, floor=again.assignment_seq).group == "paris"


async def test_a_stock_agent_has_no_assignment(bench):
    who = {"uid": machine()["uid"], "kind": "stock"}
    row = await join(bench, who, token=replace(TOKEN, kind="stock", accepts=True))
    assert (row.admission, row.assignment) == ("accepted", b"")


async def test_refusing_and_revoking_take_the_assignment_and_tell_the_links(bench):
    row = await join(bench)
    assert (await bench.service.refuse(ADMIN, row.uid)).admission == "refused"
    await bench.service.accept(ADMIN, row.uid)
    assert (await bench.service.revoke(ADMIN, row.uid)).admission == "revoked"
    assert (await stored(bench, row.uid)).assignment == b""
    assert bench.links.changed == [row.uid] * 3


async def test_asking_for_what_is_already_so_changes_nothing(bench):
    row = await join(bench)
    await bench.service.accept(ADMIN, row.uid)
    before, audit = await stored(bench, row.uid), await bench.audit()
    bench.clock.at += 60
    await bench.service.accept(ADMIN, row.uid)
    assert await stored(bench, row.uid) == before
    assert await bench.audit() == audit


@pytest.mark.parametrize(("first", "then"), [(None, "revoke"), ("accept", "refuse"), ("refuse", "revoke")])
async def test_a_step_that_does_not_exist_is_refused(bench, first, then):
    row = await join(bench)
    if first:
        await getattr(bench.service, first)(ADMIN, row.uid)
    with pytest.raises(ConflictError) as caught:
        await getattr(bench.service, then)(ADMIN, row.uid)
    assert caught.value.code == "conflict.admission"


async def test_admission_is_audited(bench):
    row = await join(bench)
    await bench.service.accept(ADMIN, row.uid)
    joined, accepted = await bench.audit()
    assert (joined.method, joined.actor, joined.source) == ("agent.join", "token t1", "192.0.2.9")
    assert (accepted.method, accepted.actor, accepted.object) == ("agent.accept", "ada", f"agent/{row.uid}")
    assert json.loads(accepted.before)["admission"] == "new"
    assert json.loads(accepted.after)["admission"] == "accepted"


async def test_names_are_made_unique(bench):
    rows = [await join(bench) for _ in range(3)]
    assert [row.name for row in rows] == ["web", "web-2", "web-3"]


@pytest.mark.parametrize("wanted", ["Web Server 1", "../../etc", "", "ÄÖ", "x" * 300, "a\0b", "-.-", "web\n"])
async def test_sec_6_a_name_that_a_machine_gives_itself_becomes_safe(bench, wanted):
    first = await bench.store.read(lambda tx: unique_name(tx, wanted))
    assert NAME.fullmatch(first)
    await join(bench, name=wanted)
    second = await bench.store.read(lambda tx: unique_name(tx, wanted))
    assert NAME.fullmatch(second)
    assert second != first


async def test_an_agent_is_found_by_name_and_by_uid(bench):
    row = await join(bench)
    assert (
        (await bench.service.agent(ADMIN, "web")).uid
        == (await bench.service.agent(ADMIN, row.uid)).uid
        == row.uid
    )


async def test_an_unknown_agent_names_the_nearest_right_one(bench):
    await join(bench)
    with pytest.raises(NotFoundError) as caught:
        await bench.service.agent(ADMIN, "wep")
    assert (caught.value.code, caught.value.hint) == ("not_found.agent", "Did you mean 'web'?")


async def test_an_ambiguous_name_lists_the_uids(bench):
    row = await join(bench)
    twin = replace(row, uid=machine()["uid"])
    await bench.store.write(lambda tx: tx.put_agent(twin))
    with pytest.raises(ConflictError) as caught:
        await bench.service.accept(ADMIN, "web")
    assert caught.value.code == "conflict.ambiguous"
    assert row.uid in caught.value.hint
    assert twin.uid in caught.value.hint


async def test_after_a_restore_every_accepted_agent_is_assigned_anew(bench):
    rows = [await join(bench) for _ in range(3)]
    for row in rows[:2]:
        await bench.service.accept(ADMIN, row.uid)
    count = await bench.store.write(lambda tx: reassign_all(tx, bench.keys.director, now=NOW + 60))
    assert count == 2
    after = await stored(bench, rows[0].uid)
    assert believe(bench, after).seq == int((NOW + 60) * 1000)
    assert (await stored(bench, rows[2].uid)).assignment == b""


async def test_every_agent_is_read_in_parts(bench, monkeypatch):
    monkeypatch.setattr("popham.manager.agents.PAGE", 2)
    await bench.apply(group("paris"))
    for number in range(5):
        row = AgentRow(
            uid=f"{number}", name=f"a{number}", group="paris", kind="own", admission="new", first_seen=NOW
        )
        await bench.store.write(lambda tx, row=row: tx.put_agent(row))
    assert [row.uid for row in await bench.store.read(lambda tx: list(every_agent(tx, "paris")))] == list(
        "01234"
    )
    assert (await bench.service.group(ADMIN, "paris")).agents == 5
