"""Rollouts on the Manager: how they begin, their steps, and how they end."""

import asyncio
import json
import random
from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER, group, policy
from tests.manager.rolling import OTHER, OWN, TERMS, add, agent, digests, fill, uid_of

from popham.clock import SystemClock
from popham.errors import ConflictError, GrantError, NotFoundError
from popham.manager.answers import explain_why
from popham.manager.book import ManagerBook
from popham.manager.bundles import Bundles
from popham.manager.definitions import found_fleet
from popham.manager.service import ManagerService
from popham.model.rollout import RolloutTerms
from popham.model.status import Outcome, SyncState
from popham.store.opening import open_store


async def test_f_y17_an_apply_on_terms_begins_a_rollout(bench):
    await fill(bench)
    result = await bench.apply(policy(content="two"), rollout=TERMS, message="greet better")
    assert (result.rollout, result.reach) == ("r1", 20)
    bundle = await bench.bundle("paris")
    assert (bundle.serial, bundle.rollout.stable_serial, bundle.rollout.wave) == (2, 1, 1)
    assert 1 <= sum(bundle.is_candidate(uid_of(number)) for number in range(20)) <= 2
    (view,) = await bench.service.rollouts(VIEWER)
    assert (view.id, view.state, view.wave) == ("r1", "running", 1)
    assert (view.author, view.at, view.message) == ("ada", NOW, "greet better")
    assert (view.changes, view.groups) == (("policy/motd",), ("paris",))
    assert [wave.share for wave in view.waves] == [0.1, 0.5, 1.0]
    assert bench.told == [["paris"]]


async def test_f_y17_a_rollback_begins_a_rollout_too(bench):
    await fill(bench)
    await bench.apply(policy(content="two"))
    view = await bench.service.roll_back(ADMIN, "motd", 1, message="two was wrong", rollout=TERMS)
    assert (view.rollout, view.revision) == ("r1", 3)
    bundle = await bench.bundle("paris")
    assert (bundle.rollout.id, bundle.serial) == ("r1", 3)
    shown = await bench.service.rollout(VIEWER, "r1")
    assert shown.message == "back to revision 1: two was wrong"


async def test_f_y17_who_goes_first_is_shared_out_among_groups(bench):
    await bench.apply(policy(content="one"), group("paris", OWN), group("lyon", OWN), group("nobody", OWN))
    await add(bench, *(agent(number, "paris" if number % 2 else "lyon") for number in range(20)))
    await bench.apply(policy(content="two"), rollout=RolloutTerms.of([0.05]))
    bundles = [await bench.bundle(name) for name in ("paris", "lyon")]
    of = {"paris": bundles[0], "lyon": bundles[1]}
    first = [n for n in range(20) if of["paris" if n % 2 else "lyon"].is_candidate(uid_of(n))]
    assert len(first) == 1
    assert sorted(bundle.rollout.ppm > 0 for bundle in bundles) == [False, True]
    nobody = await bench.bundle("nobody")
    assert (nobody.rollout.id, nobody.rollout.ppm) == ("r1", 0), "who joins there waits as the others do"
    assert (await bench.service.rollout(VIEWER, "r1")).groups == ("lyon", "nobody", "paris")


async def test_sec_41_who_joins_an_empty_group_of_a_halted_rollout_does_not_begin(bench):
    await bench.apply(policy(content="one"), group("paris", OWN), group("empty", OWN))
    await add(bench, *map(agent, range(20)))
    before = digests(await bench.bundle("empty"))
    await bench.apply(policy(content="two"), rollout=TERMS)
    await bench.service.halt_rollout(ADMIN, "r1")
    await add(bench, *(agent(number, "empty") for number in range(50, 60)))
    bundle = await bench.bundle("empty")
    assert all(
        digests(bundle.chosen(candidate=bundle.is_candidate(uid_of(number)))) == before
        for number in range(50, 60)
    )
    assert (await bench.service.undo_rollout(ADMIN, "r1")).state == "undone"
    assert digests(await bench.bundle("empty")) == before


async def test_f_y17_a_group_that_is_made_anew_takes_up_nothing_of_what_it_had(bench):
    await bench.apply(policy(content="one"), policy("other"), group("paris", OWN), group("gone", OTHER))
    await add(bench, *map(agent, range(20)))
    await bench.service.delete_group(ADMIN, "gone")
    await bench.apply(policy(content="two"), group("gone", OWN), rollout=TERMS)
    bundle = await bench.bundle("gone")
    assert (bundle.rollout, [ref.name for ref in bundle.locations["default"].policies]) == (None, ["motd"])


async def test_sec_41_an_older_reading_does_not_bring_back_what_was_halted(bench):
    await fill(bench)
    book = ManagerBook(bench.store, bench.keys, bench.clock)
    await book.load()
    await bench.apply(policy(content="two"), rollout=TERMS)
    read, go_on, has_read = bench.store.read, asyncio.Event(), asyncio.Event()

    async def slow(work):
        found = await read(work)
        has_read.set()
        await go_on.wait()
        return found

    bench.store.read = slow
    late = asyncio.ensure_future(book.refresh(["paris"]))
    await has_read.wait()
    bench.store.read = read
    await bench.service.halt_rollout(ADMIN, "r1")
    await book.refresh(["paris"])
    go_on.set()
    await late
    assert book.wanted("paris").version == (await bench.bundle("paris")).version


async def test_f_y17_a_history_shows_who_has_what_during_a_rollout(bench):
    await fill(bench)
    await bench.apply(policy(content="two"), rollout=TERMS)
    shown = [(one.revision, one.groups) for one in await bench.service.history(VIEWER, "motd")]
    assert shown == [(2, ("paris",)), (1, ("paris",))]
    agents = [one.agents for one in await bench.service.history(VIEWER, "motd")]
    assert agents[0] in {1, 2}
    assert sum(agents) == 20
    await bench.service.halt_rollout(ADMIN, "r1")
    shown = [(one.revision, one.groups, one.agents) for one in await bench.service.history(VIEWER, "motd")]
    assert shown == [(2, (), 0), (1, ("paris",), 20)]


async def test_f_y17_a_list_of_rollouts_reads_no_more_than_it_shows(bench):
    await fill(bench)
    for number in range(3):
        await bench.apply(policy(content=f"no {number}"), rollout=TERMS)
        await bench.service.promote_rollout(ADMIN, f"r{number + 1}")
    rows = await bench.store.read(lambda tx: tx.rollouts(limit=2))
    assert [row.number for row in rows] == [3, 2]
    assert len(await bench.service.rollouts(VIEWER)) == 3


async def test_sec_42_agents_that_know_no_rollouts_wait_for_the_promotion(bench):
    await fill(bench, 0)
    await add(bench, *(agent(number, version="0.2.0") for number in range(9)), agent(9))
    await bench.apply(policy(content="two"), rollout=RolloutTerms.of([0.5]))
    bundle = await bench.bundle("paris")
    assert bundle.is_candidate(uid_of(9))
    view = await bench.service.agent(VIEWER, "a0")
    assert (view.wanted, view.detail["is_candidate"]) == (1, False)


async def test_sec_42_a_change_that_reaches_many_needs_a_decision(bench, keys):
    await fill(bench, 12)
    bench.service = ManagerService(
        bench.store,
        keys=keys,
        clock=bench.clock,
        rng=random.Random(7),
        on_groups_changed=lambda names: bench.told.append(sorted(names)),
        links=bench.links,
        ask_above=11,
    )
    with pytest.raises(ConflictError, match="new content to 12 agents in 1 group") as caught:
        await bench.apply(policy(content="two"))
    assert caught.value.code == "conflict.reach"
    assert "--canary 1%" in caught.value.hint
    assert "--all" in caught.value.hint
    with pytest.raises(ConflictError, match="12 agents"):
        await bench.apply(policy(content="three"), group("lyon", "{}"))
    assert bench.told == []
    assert (await bench.service.policy(VIEWER, "motd")).revision == 1
    planned = await bench.apply(policy(content="two"), grant=VIEWER, dry_run=True)
    assert "12 agents in 1 group" in planned.warnings[0]
    assert (planned.reach, planned.asks) == (12, "canary")
    assert (await bench.apply(policy(content="two"), dry_run=True, everyone=True)).asks == ""
    assert (await bench.apply(policy(content="two"), everyone=True)).rollout == ""
    with pytest.raises(ConflictError, match="12 agents"):
        await bench.service.roll_back(ADMIN, "motd", 1)
    assert (await bench.service.roll_back(ADMIN, "motd", 1, everyone=True)).revision == 3
    assert (await bench.apply(policy(content="four"), rollout=TERMS)).rollout == "r1"
    assert (await bench.apply(group("lyon", "{}"))).reach == 0


async def test_f_y17_where_nobody_is_in_contact_no_rollout_begins(bench):
    await fill(bench, 0)
    await add(bench, *(agent(number, last=NOW - 1000) for number in range(5)))
    planned = await bench.apply(policy(content="two"), rollout=TERMS, dry_run=True)
    assert any("in contact" in warning for warning in planned.warnings)
    with pytest.raises(ConflictError) as caught:
        await bench.apply(policy(content="two"), rollout=TERMS)
    assert caught.value.code == "conflict.contact"
    assert (await bench.serials())["paris"] == 1
    assert await bench.service.rollouts(VIEWER) == ()


async def test_f_y17_a_dry_run_begins_nothing(bench):
    await fill(bench)
    planned = await bench.apply(policy(content="two"), rollout=TERMS, dry_run=True)
    assert (planned.rollout, planned.reach, planned.warnings) == ("", 20, ())
    assert await bench.service.rollouts(VIEWER) == ()
    assert (await bench.bundle("paris")).rollout is None


async def test_f_y17_a_change_that_nobody_gets_is_no_rollout(bench):
    await bench.apply(policy(content="one"), group("paris", OWN))
    result = await bench.apply(policy(content="two"), rollout=TERMS)
    assert (result.rollout, result.reach) == ("", 0)
    assert (await bench.bundle("paris")).serial == 2


async def test_f_y17_a_group_in_a_rollout_takes_no_other_change(bench):
    await fill(bench)
    await bench.apply(policy(content="two"), rollout=TERMS)
    with pytest.raises(ConflictError, match="group paris is in rollout r1") as caught:
        await bench.apply(policy(content="three"))
    assert caught.value.code == "conflict.rollout"
    with pytest.raises(ConflictError, match="in rollout r1"):
        await bench.apply(policy(content="three"), rollout=TERMS)
    with pytest.raises(ConflictError, match="group 'paris' is in rollout r1") as caught:
        await bench.service.delete_group(ADMIN, "paris")
    assert caught.value.code == "conflict.rollout"
    await bench.service.promote_rollout(ADMIN, "r1")
    assert (await bench.apply(policy(content="three"), rollout=TERMS)).rollout == "r2"


async def test_f_y17_a_rollout_is_halted_resumed_paused_and_promoted(bench):
    await fill(bench)
    await bench.apply(policy(content="two"), rollout=TERMS)
    first = await bench.bundle("paris")
    view = await bench.service.halt_rollout(ADMIN, "r1", "it smells")
    assert (view.state, view.reason, view.by, view.since) == ("halted", "it smells", "ada", NOW)
    halted = await bench.bundle("paris")
    assert (halted.rollout.ppm, halted.serial) == (0, 2)
    assert halted.version > first.version
    assert (await bench.service.pause_rollout(ADMIN, "r1")).state == "halted"
    bench.clock.at += 60
    view = await bench.service.resume_rollout(ADMIN, "r1")
    assert (view.state, view.reason, view.waves[0].began) == ("running", "", NOW + 60)
    again = await bench.bundle("paris")
    assert (again.rollout.ppm, again.rollout.salt) == (first.rollout.ppm, first.rollout.salt)
    told = len(bench.told)
    view = await bench.service.pause_rollout(ADMIN, "r1")
    assert (view.state, view.reason, view.by, view.since) == ("paused", "", "ada", NOW + 60)
    assert (await bench.bundle("paris"), len(bench.told)) == (again, told)
    view = await bench.service.promote_rollout(ADMIN, "r1")
    done = await bench.bundle("paris")
    assert (done.rollout, done.serial, view.state, view.next) == (None, 2, "promoted", "")
    assert (view.reason, view.by, view.since) == ("", "ada", NOW + 60)
    for act in ("halt", "pause", "resume", "promote", "undo"):
        with pytest.raises(ConflictError) as caught:
            await getattr(bench.service, f"{act}_rollout")(ADMIN, "r1")
        assert caught.value.code == "conflict.over"
    methods = [row.method for row in await bench.audit() if row.object == "rollout/r1"]
    assert methods == [f"rollout.{act}" for act in ("begin", "halt", "resume", "pause", "promote")]


async def test_sec_41_one_call_halts_all_rollouts(bench):
    await fill(bench)
    await bench.apply(policy("other", "one"), group("lyon", OTHER))
    await add(bench, *(agent(number, "lyon") for number in range(20, 30)))
    await bench.apply(policy(content="two"), rollout=TERMS)
    await bench.apply(policy("other", "two"), rollout=TERMS)
    halted = await bench.service.halt_rollouts(ADMIN, "stop")
    assert sorted((view.id, view.state, view.reason) for view in halted) == [
        ("r1", "halted", "stop"),
        ("r2", "halted", "stop"),
    ]
    for name in ("paris", "lyon"):
        bundle = await bench.bundle(name)
        assert not any(bundle.is_candidate(uid_of(number)) for number in range(30))
    assert bench.told[-1] == ["lyon", "paris"]
    assert await bench.service.halt_rollouts(ADMIN) == ()


async def test_f_y17_looking_is_for_viewers_and_changing_is_not(bench):
    await fill(bench)
    await bench.apply(policy(content="two"), rollout=TERMS)
    assert (await bench.service.rollout(VIEWER, "r1")).id == "r1"
    for act in ("halt", "pause", "resume", "promote", "undo"):
        with pytest.raises(GrantError):
            await getattr(bench.service, f"{act}_rollout")(VIEWER, "r1")
    with pytest.raises(GrantError):
        await bench.service.halt_rollouts(VIEWER)


@pytest.mark.parametrize("name", ["r2", "x", "", "r", "r-1", "r" + "9" * 30, "r٣"])
async def test_f_y17_a_rollout_that_is_not_there_is_one_sentence(bench, name):
    with pytest.raises(NotFoundError, match="there is no rollout") as caught:
        await bench.service.rollout(VIEWER, name)
    assert caught.value.code == "not_found.rollout"


async def test_f_y17_an_agent_on_the_stable_side_is_in_sync_and_why_says_what_is_held_back(bench):
    await fill(bench)
    await bench.apply(policy(content="two"), rollout=TERMS)
    bundle = await bench.bundle("paris")
    waits = next(number for number in range(20) if not bundle.is_candidate(uid_of(number)))
    first = next(number for number in range(20) if bundle.is_candidate(uid_of(number)))
    for number, side, serial in ((waits, bundle.stable, 1), (first, bundle.candidate, 2)):
        digest = side.locations["default"].resolved_digest
        said = {"content_digest": bundle.content_digest, "applied_digest": bundle.content_digest}
        said |= {"resolved": digest, "applied_resolved": digest, "outcome": Outcome.APPLIED}
        await add(bench, agent(number, serial=serial, applied_serial=serial, **said))
    bench.links.held = {uid_of(waits), uid_of(first)}
    view = await bench.service.agent(VIEWER, f"a{waits}")
    assert (view.sync, view.wanted, view.applied) == (SyncState.IN_SYNC, 1, 1)
    assert explain_why(view).sentence == (
        "has serial 1; serial 2 is held back by rollout r1, wave 1 of 3 (10 %)"
    )
    assert explain_why(view).step == "popham rollout status r1"
    view = await bench.service.agent(VIEWER, f"a{first}")
    assert (view.sync, view.wanted, view.detail["is_candidate"]) == (SyncState.IN_SYNC, 2, True)
    assert "as one of the first: rollout r1" in explain_why(view).sentence
    await bench.service.halt_rollout(ADMIN, "r1")
    view = await bench.service.agent(VIEWER, f"a{waits}")
    assert "which is halted" in explain_why(replace(view, sync=SyncState.IN_SYNC)).sentence


async def test_f_y17_an_agent_that_moves_obeys_its_new_groups_bundle(bench):
    await fill(bench)
    await bench.apply(group("lyon", "{}"))
    await bench.apply(policy(content="two"), rollout=TERMS)
    await bench.service.move(ADMIN, "a3", "lyon")
    view = await bench.service.agent(VIEWER, "a3")
    assert (view.wanted, "rollout" in view.detail) == ((await bench.bundle("lyon")).serial, False)


async def test_f_y17_a_rollout_and_its_bundles_are_stored_together_or_not_at_all(tmp_path, keys, bench):
    """Every step on a database on disk, which is opened anew after each."""
    url = ""

    async def opened(work):
        store = open_store(url, tmp_path / "manager.db", clock=SystemClock())
        try:
            return await work(store)
        finally:
            await store.aclose()

    def service(store):
        bench.store = store
        return ManagerService(
            store,
            keys=keys,
            clock=bench.clock,
            rng=random.Random(7),
            on_groups_changed=lambda names: bench.told.append(sorted(names)),
            links=bench.links,
        )

    async def first(store):
        bench.service = service(store)
        await store.write(lambda tx: found_fleet(tx, Bundles(keys.director), now=NOW))
        await fill(bench)
        await bench.apply(policy(content="two"), rollout=TERMS)

    await opened(first)
    for act, state, wanted in (
        ("halt", "halted", 0),
        ("resume", "running", None),
        ("pause", "paused", None),
        ("undo", "undone", None),
    ):

        async def step(store, act=act, state=state, wanted=wanted):
            bench.service = service(store)
            (view,) = await bench.service.rollouts(ADMIN)
            await getattr(bench.service, f"{act}_rollout")(ADMIN, view.id)
            (view,) = await bench.service.rollouts(ADMIN)
            bundle = await bench.bundle("paris")
            assert view.state == state
            assert (bundle.rollout is None) == (state == "undone")
            if bundle.rollout is not None and wanted is not None:
                assert bundle.rollout.ppm == wanted
            body = json.loads((await store.read(lambda tx: tx.rollout(1))).body)
            assert body["state"] == state

        await opened(step)
