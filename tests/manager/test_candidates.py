"""Changes that are held: published to nobody, named for a few, begun or taken back."""

import json
from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER, group, policy
from tests.manager.rolling import KEY, OWN, add, agent, digests, fill, uid_of

from popham.errors import ConflictError
from popham.manager.agents import reassign_all
from popham.manager.book import ManagerBook
from popham.manager.candidates import assign_candidate, find_candidate, withdraw_candidate
from popham.manager.moves import move_agent
from popham.manager.overrides import Overrides
from popham.manager.rollout_watch import RolloutWatch
from popham.manager.roster import read_record
from popham.model.generation import GENERATION
from popham.model.rollout import RolloutTerms
from popham.model.status import Outcome, SyncState
from popham.trust.assignment import ASSIGNMENT_TYPE, Assignment
from popham.trust.dsse import Envelope
from popham.trust.verify import seal_state


async def hold(bench, agents=20, **said):
    await fill(bench, 0)
    await add(bench, *(agent(number, generation=GENERATION) for number in range(agents)))
    return await bench.apply(policy(content="two"), hold=True, **said)


async def name(bench, *numbers, where="paris"):
    uids = [uid_of(number) for number in numbers]

    def work(tx):
        stored = find_candidate(tx, where)
        return assign_candidate(tx, bench.keys.director, ADMIN, stored, uids, now=bench.clock.at)

    return await bench.store.write(work)


async def withdraw(bench, *numbers):
    uids = [uid_of(number) for number in numbers]
    director, now = bench.keys.director, bench.clock.at
    return await bench.store.write(lambda tx: withdraw_candidate(tx, director, ADMIN, "r1", uids, now=now))


async def row_of(bench, number):
    return await bench.store.read(lambda tx: tx.agent(uid_of(number)))


async def assigned(bench, number):
    envelope = (await row_of(bench, number)).assignment
    return Assignment.from_payload(Envelope.parse(envelope, types=(ASSIGNMENT_TYPE,)).payload)


async def say(bench, number, **said):
    """Have an agent report; its own state is kept as a Manager keeps it."""

    def work(tx):
        row = tx.agent(uid_of(number))
        record = replace(read_record(row), assignment=row.assignment_seq, **said)
        tx.put_agent(replace(row, state=seal_state(record, KEY)))

    await bench.store.write(work)


def obeys(bundle, *, candidate):
    side = bundle.candidate if candidate else bundle.stable
    resolved = side.locations["default"].resolved_digest
    return {
        "content_digest": bundle.content_digest,
        "applied_digest": bundle.content_digest,
        "resolved": resolved,
        "applied_resolved": resolved,
        "serial": bundle.serial,
        "applied_serial": bundle.serial_of(candidate=candidate),
        "outcome": Outcome.APPLIED,
    }


async def test_f_y9_a_change_that_is_held_reaches_nobody(bench):
    result = await hold(bench)
    assert (result.rollout, result.reach) == ("r1", 20)
    bundle = await bench.bundle("paris")
    assert (bundle.rollout.ppm, bundle.rollout.named, bundle.rollout.stable_serial) == (0, True, 1)
    assert not any(bundle.is_candidate(uid_of(number)) for number in range(20))
    view = await bench.service.rollout(VIEWER, "r1")
    assert (view.state, view.cohort, view.named) == ("held", 0, 0)
    assert view.next == "nobody applies it: popham op apply AGENT, or popham rollout resume r1"
    assert bench.told == [["paris"]]


async def test_f_y9_a_plan_of_it_changes_nothing_and_it_needs_no_decision(bench):
    bench.service._bundles.publishing = replace(bench.service._bundles.publishing, ask_above=5)
    await fill(bench)
    plan = await bench.apply(policy(content="two"), hold=True, dry_run=True)
    assert (plan.asks, plan.warnings, plan.rollout) == ("", (), "")
    assert (await bench.bundle("paris")).rollout is None
    assert (await bench.apply(policy(content="two"), hold=True)).rollout == "r1"


async def test_f_y9_it_is_held_also_where_nobody_is_in_contact_or_nobody_is_yet(bench):
    await fill(bench, 0)
    await bench.apply(policy(content="two"), hold=True)
    assert (await bench.bundle("paris")).rollout.named


async def test_f_y9_another_change_of_the_same_groups_waits_for_the_end_of_it(bench):
    await hold(bench)
    with pytest.raises(ConflictError, match=r"conflict\.rollout"):
        await bench.apply(policy(content="three"), hold=True)
    assert (await bench.apply(policy(content="two"), hold=True)).rollout == "", "the same merges into it"


async def test_sec_41_a_group_that_nobody_is_in_does_not_get_what_is_held_by_assigning_it(bench):
    await hold(bench)
    with pytest.raises(ConflictError, match=r"is held.*conflict\.rollout"):
        await bench.apply(group("lyon", OWN))


async def test_f_y9_who_is_named_has_it_in_the_assignment_and_is_to_have_it(bench):
    await hold(bench)
    bench.links.held.add(uid_of(3))
    bundle = await bench.bundle("paris")
    await say(bench, 3, **obeys(bundle, candidate=False))
    assert (await bench.service.agent(VIEWER, "a3")).sync is SyncState.IN_SYNC
    bench.clock.at += 1
    assert sorted(await name(bench, 3, 4)) == [uid_of(3), uid_of(4)]
    assert await name(bench, 3, 4) == [], "who is named already is not told again"
    assert (await assigned(bench, 3)).candidate == "r1"
    view = await bench.service.agent(VIEWER, "a3")
    assert (view.wanted, view.sync) == (2, SyncState.PENDING)
    assert (view.detail["is_candidate"], view.detail["is_named"]) == (True, True)
    await say(bench, 3, **obeys(bundle, candidate=True))
    view = await bench.service.agent(VIEWER, "a3")
    assert (view.sync, view.applied) == (SyncState.IN_SYNC, 2)
    why = await bench.service.why(VIEWER, "a3")
    assert "by name: rollout r1" in why.sentence
    audit = [row for row in await bench.audit() if row.method == "rollout.name"]
    assert [json.loads(row.after)["first"] for row in audit] == [["a3", "a4"]]


async def test_f_y9_who_is_not_named_is_told_that_it_holds_it(bench):
    await hold(bench)
    bench.links.held.add(uid_of(0))
    bundle = await bench.bundle("paris")
    held = bundle.candidate.locations["default"].resolved_digest
    await say(bench, 0, **obeys(bundle, candidate=False), candidate=held)
    why = await bench.service.why(VIEWER, "a0")
    assert "serial 2 (rollout r1) is a candidate that it holds" in why.sentence
    assert why.step == "popham op apply a0, or for all popham rollout resume r1"
    await say(bench, 0, candidate="", candidate_error="/etc/x is outside the roots")
    why = await bench.service.why(VIEWER, "a0")
    assert "cannot be held here: /etc/x is outside the roots" in why.sentence


async def test_f_y9_agents_it_is_not_for_are_left_out(bench):
    await hold(bench)
    await bench.apply(group("lyon"))
    await add(
        bench,
        agent(30, "lyon", generation=GENERATION),
        replace(agent(31, generation=GENERATION), admission="new"),
        agent(32, version="0.5.0"),
    )
    assert await name(bench, 30, 31, 32, 999) == []


async def test_f_y9_a_name_is_taken_back_and_only_that_of_the_same_rollout(bench):
    await hold(bench)
    await name(bench, 3)
    seq = (await assigned(bench, 3)).seq
    assert await withdraw(bench, 3, 4) == [uid_of(3)]
    after = await assigned(bench, 3)
    assert (after.candidate, after.seq > seq) == ("", True)
    assert not (await bench.service.agent(VIEWER, "a3")).detail["is_candidate"]


async def test_f_y9_a_name_outlives_a_restore_and_not_a_move(bench):
    await hold(bench)
    await name(bench, 3)
    director = bench.keys.director
    await bench.store.write(lambda tx: reassign_all(tx, director, now=bench.clock.at))
    assert (await assigned(bench, 3)).candidate == "r1"
    await bench.apply(group("lyon"))
    await bench.store.write(lambda tx: move_agent(tx, ADMIN, "a3", "lyon", director, now=bench.clock.at))
    assert (await assigned(bench, 3)).candidate == ""
    assert Overrides.of(await row_of(bench, 3)) == Overrides()


async def test_f_y9_resuming_it_begins_the_first_wave_on_the_terms_that_are_named(bench):
    await hold(bench)
    await name(bench, 3)
    view = await bench.service.resume_rollout(ADMIN, "r1", RolloutTerms.of([0.5], soak=60.0))
    assert (view.state, view.soak, [wave.share for wave in view.waves]) == ("running", 60.0, [0.5, 1.0])
    assert (view.waves[0].began, view.by) == (NOW, "ada")
    bundle = await bench.bundle("paris")
    first = [number for number in range(20) if bundle.is_candidate(uid_of(number))]
    assert 1 <= len(first) <= 10
    assert bundle.is_candidate(uid_of(3), "r1")
    with pytest.raises(ConflictError, match=r"conflict\.begun"):
        await bench.service.resume_rollout(ADMIN, "r1", RolloutTerms.of([0.1]))


async def test_f_y9_it_does_not_begin_where_nobody_could_be_first(bench):
    await hold(bench, agents=0)
    with pytest.raises(ConflictError, match=r"rollout promote r1") as caught:
        await bench.service.resume_rollout(ADMIN, "r1")
    assert caught.value.code == "conflict.contact"
    assert (await bench.service.rollout(VIEWER, "r1")).state == "held"


async def test_f_y9_halting_it_takes_it_back_and_resuming_holds_it_again(bench):
    await hold(bench)
    await name(bench, 3)
    version = (await bench.bundle("paris")).version
    assert (await bench.service.halt_rollout(ADMIN, "r1", "wait")).state == "halted"
    bundle = await bench.bundle("paris")
    assert (bundle.rollout.named, bundle.version > version, bundle.serial) == (False, True, 2)
    assert not bundle.is_candidate(uid_of(3), "r1")
    assert await bench.store.read(lambda tx: find_candidate(tx, "paris")) is None
    assert (await bench.service.resume_rollout(ADMIN, "r1")).state == "held"
    assert (await bench.bundle("paris")).is_candidate(uid_of(3), "r1")
    assert [view.id for view in await bench.service.halt_rollouts(ADMIN)] == ["r1"]


@pytest.mark.parametrize("end", ["promote", "undo"])
async def test_f_y9_once_it_is_over_nobody_is_named_any_more(bench, end):
    await hold(bench)
    before = digests(await bench.bundle("paris"))
    await name(bench, 3)
    book = ManagerBook(bench.store, bench.keys, bench.clock)
    await book.load()
    told = []
    bundles = bench.service._bundles
    watch = RolloutWatch(bench.store, book, bundles, bench.clock, lambda _groups: None, told.append)
    assert await watch.look()
    assert told == []
    await getattr(bench.service, f"{end}_rollout")(ADMIN, "r1")
    assert digests(await bench.bundle("paris")) == before if end == "undo" else True
    assert not await watch.look()
    assert told == [uid_of(3)]
    assert (await assigned(bench, 3)).candidate == ""
    await book.reread(told)
    assert book.record(uid_of(3)).candidate == ""
    assert not await watch.look()
    assert told == [uid_of(3)]


async def test_f_y9_the_watch_counts_those_who_have_it_by_name_and_takes_no_step(bench):
    await hold(bench)
    await name(bench, 3, 4)
    bundle = await bench.bundle("paris")
    await say(bench, 3, **obeys(bundle, candidate=True))
    await say(bench, 4, content_digest=bundle.content_digest, outcome=Outcome.FAILED, error="no")
    book = ManagerBook(bench.store, bench.keys, bench.clock)
    await book.load()
    watch = RolloutWatch(bench.store, book, bench.service._bundles, bench.clock, lambda _groups: None)
    for _ in range(3):
        assert await watch.look()
        bench.clock.at += 20.0
    bench.service._progress = watch.progress
    view = await bench.service.rollout(VIEWER, "r1")
    assert (view.state, view.named, view.cohort, view.applied, view.failed) == ("held", 2, 2, 1, 1)
    assert view.next.startswith("2 of 20 have it by name")
    assert watch.progress(1).tally.agents == 20
