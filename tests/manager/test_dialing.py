"""Who dials one agent, whatever its group says."""

from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER, group, machine

from popham.errors import ConflictError, GrantError
from popham.manager.agents import join_agent, reassign_all
from popham.manager.overrides import Overrides
from popham.model.cell import Dialer
from popham.store.rows import TokenRow
from popham.trust.assignment import ASSIGNMENT_TYPE, Assignment
from popham.trust.dsse import Envelope


def token(*, accepts=True):
    return TokenRow(
        id="t",
        kind="enrollment",
        group="fleet",
        public=b"",
        created=0.0,
        expires=0.0,
        uses_left=1,
        accepts=accepts,
    )


async def join(bench, keys, *, accepts=True, **more):
    joins = machine() | more
    await bench.store.write(
        lambda tx: join_agent(
            tx, keys.director, token(accepts=accepts), name="web1", now=NOW, address="", **joins
        )
    )
    return joins["uid"]


async def assignment(bench, uid):
    row = await bench.store.read(lambda tx: tx.agent(uid))
    return Assignment.from_payload(Envelope.parse(row.assignment, types=(ASSIGNMENT_TYPE,)).payload)


async def test_f_c3_one_command_says_who_dials_by_a_new_assignment(bench, keys):
    uid = await join(bench, keys)
    before = await assignment(bench, uid)
    view = await bench.service.dial(ADMIN, "web1", dialer=Dialer.MANAGER)
    after = await assignment(bench, uid)
    assert (after.dialer, after.may_dial) == (Dialer.MANAGER, False)
    assert after.seq > before.seq
    assert view.detail["overrides"] == {"dialer": "manager"}
    assert bench.links.changed == [uid]
    entry = (await bench.audit())[-1]
    assert (entry.method, entry.object, entry.actor) == ("agent.dial", f"agent/{uid}", "ada")
    assert '"dialer":"manager"' in entry.after


async def test_f_c3_every_later_assignment_keeps_it_until_it_is_taken_back(bench, keys):
    uid = await join(bench, keys)
    await bench.service.dial(ADMIN, uid, dialer=Dialer.AGENT, may_dial=True)
    await bench.apply(group("paris"))
    await bench.service.move(ADMIN, uid, "paris")
    assert (await assignment(bench, uid)).dialer is Dialer.AGENT
    await bench.store.write(lambda tx: reassign_all(tx, keys.director, now=NOW))
    assert (await assignment(bench, uid)).may_dial
    await bench.service.revoke(ADMIN, uid)
    await bench.service.accept(ADMIN, uid)
    found = await assignment(bench, uid)
    assert (found.group, found.dialer, found.may_dial) == ("paris", Dialer.AGENT, True)
    await bench.service.dial(ADMIN, uid, dialer=None)
    found = await assignment(bench, uid)
    assert (found.dialer, found.may_dial) == (None, True)


async def test_the_same_again_signs_nothing_and_tells_nobody_anything_new(bench, keys):
    uid = await join(bench, keys)
    await bench.service.dial(ADMIN, uid, dialer=None)
    await bench.service.dial(ADMIN, uid, dialer=Dialer.MANAGER)
    seq, entries = (await assignment(bench, uid)).seq, len(await bench.audit())
    await bench.service.dial(ADMIN, uid, dialer=Dialer.MANAGER)
    assert ((await assignment(bench, uid)).seq, len(await bench.audit())) == (seq, entries)


async def test_an_agent_that_waits_gets_it_with_its_first_assignment(bench, keys):
    uid = await join(bench, keys, accepts=False)
    await bench.service.dial(ADMIN, uid, dialer=Dialer.MANAGER)
    assert (await bench.store.read(lambda tx: tx.agent(uid))).assignment == b""
    await bench.service.accept(ADMIN, uid)
    assert (await assignment(bench, uid)).dialer is Dialer.MANAGER


@pytest.mark.parametrize(("kind", "code"), [("stock", "conflict.stock"), ("unknown", "conflict.kind")])
async def test_a_stock_agent_dials_by_itself(bench, keys, kind, code):
    await join(bench, keys, kind=kind, spki="", public_key=b"")
    with pytest.raises(ConflictError) as caught:
        await bench.service.dial(ADMIN, "web1", dialer=Dialer.MANAGER)
    assert caught.value.code == code
    assert caught.value.hint


async def test_a_viewer_switches_nothing(bench, keys):
    await join(bench, keys)
    with pytest.raises(GrantError):
        await bench.service.dial(VIEWER, "web1", dialer=Dialer.MANAGER)


async def test_what_a_newer_program_kept_is_read_as_far_as_it_is_known(bench, keys):
    import dataclasses

    uid = await join(bench, keys)
    row = await bench.store.read(lambda tx: tx.agent(uid))
    newer = dataclasses.replace(row, overrides='{"colour":"blue","dialer":"agent"}')
    assert Overrides.of(newer) == Overrides(dialer=Dialer.AGENT)
    assert Overrides().encoded() == "{}" == row.overrides


async def test_f_t2_an_agent_too_old_to_be_dialled_is_not_told_to_be(bench, keys):
    uid = await join(bench, keys)

    def age(tx):
        tx.put_agent(replace(tx.agent(uid), description='{"service.version": "0.4.0"}'))

    await bench.store.write(age)
    with pytest.raises(ConflictError, match=r"of version 0\.4\.0") as caught:
        await bench.service.dial(ADMIN, uid, dialer=Dialer.MANAGER)
    assert caught.value.code == "conflict.generation"
    assert "Upgrade the agent" in caught.value.hint
    await bench.service.dial(ADMIN, uid, dialer=Dialer.AGENT)
