"""The watch over rollouts: how agents are judged, what is decided on it, and what survives a restart."""

import asyncio
from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN, NOW, VIEWER, policy
from tests.manager.rolling import add, agent, fill, uid_of
from tests.manager.watching import HALF, Crew

from popham.errors import ConflictError, StateError
from popham.manager.rollout_watch import time_away
from popham.manager.rollouts import open_rollout
from popham.model.fleet import Admission, AgentKind
from popham.model.rollout import RolloutTerms
from popham.model.status import Downtime, Outcome


@pytest.fixture
async def crew(bench):
    found = Crew(bench)
    await found.begin()
    return found


async def test_f_y17_a_view_counts_the_cohort_and_names_whom_it_waits_for(crew):
    first = crew.first
    crew.applies(first[0])
    view = await crew.look()
    assert (view.agents, view.cohort, view.applied, view.pending) == (20, len(first), 1, len(first) - 1)
    assert [one.name for one in view.stuck] == sorted(f"a{number}" for number in first[1:])
    assert {one.reason for one in view.stuck} == {"waits for its heartbeat in 1m"}
    assert view.next.startswith(
        f"{len(first) - 1} of {len(first)} have not applied yet; then it soaks for 10m"
    )
    (listed,) = await crew.bench.service.rollouts(VIEWER)
    assert (listed.applied, listed.stuck, listed.errors) == (1, (), ())


async def test_f_y17_it_widens_after_the_soak_and_promotes_after_the_last(crew):
    crew.applies(*crew.first)
    view = await crew.look(1)
    assert set(view.waves[0].marks) == {50, 95, 99}
    crew.bench.clock.at += 598
    crew.here()
    assert (await crew.look()).wave == 1
    view = await crew.look(3)
    assert (view.wave, crew.bundle.rollout.ppm, crew.told[-1]) == (2, 1_000_000, ["paris"])
    crew.applies(*range(20))
    assert (await crew.look(1)).applied == 20
    crew.bench.clock.at += 601
    crew.here()
    view = await crew.look()
    assert (view.state, view.applied, view.reason) == ("promoted", 20, "")
    assert crew.bundle.rollout is None
    rows = [(row.actor, row.method) for row in await crew.bench.audit() if row.object == "rollout/r1"]
    assert rows == [("ada", "rollout.begin"), ("popham", "rollout.widen"), ("popham", "rollout.promote")]
    assert not await crew.watch.look()


async def test_sec_42_who_undid_it_halts_it_and_is_named_after_a_restart(crew):
    first = crew.first
    for number in first[: len(first) // 2 + 1]:
        crew.fails(number)
    view = await crew.look()
    assert (view.state, view.failed, crew.bundle.rollout.ppm) == ("halted", len(first) // 2 + 1, 0)
    assert view.reason == f"{view.failed} failed of {view.cohort} in wave 1"
    crew.watch = crew.fresh()
    view = await crew.look(10)
    assert (view.state, view.failed) == ("halted", len(first) // 2 + 1)
    assert {(one.code, one.reason) for one in view.errors} == {("policy.undone_contact", "no server answers")}


async def test_f_y17_a_failure_of_something_else_is_none_of_the_rollout(crew):
    first = crew.first
    crew.fails(first[0], content_digest="old")
    crew.fails(first[1], resolved="what held before")
    view = await crew.look()
    assert (view.state, view.failed, view.pending) == ("running", 0, len(first))


async def test_f_y17_who_went_back_at_a_halt_tries_again_once_it_is_resumed(crew):
    first = crew.first
    for number in first:
        crew.fails(number)
    assert (await crew.look()).state == "halted"
    back = crew.bundle.locations["default"].resolved_digest
    for number in first:
        said = {"resolved": back, "applied_resolved": back, "outcome": Outcome.APPLIED}
        crew.say(number, content_digest=crew.bundle.content_digest, **said)
    await crew.bench.service.resume_rollout(ADMIN, "r1")
    view = await crew.look(1)
    assert (view.state, view.failed, view.pending) == ("running", 0, len(first))
    crew.applies(*first)
    assert (await crew.look(1)).applied == len(first)


async def test_sec_42_silence_counts_for_who_was_there_and_not_for_who_was_away(crew):
    first = crew.first
    crew.book.held[uid_of(first[0])].last_contact = NOW - 1000
    crew.applies(first[1])
    crew.bench.clock.at += 100
    crew.here(*first[3:])
    view = await crew.look()
    assert (view.silent, view.away, view.pending) == (2, 1, len(first) - 3)
    assert view.errors[0].reason == "not seen for 1m, though it promised to come every 1m"
    assert [one.reason for one in view.stuck if one.code == "away"] == ["not seen for 18m"]


async def test_f_y17_who_bore_it_for_a_soak_may_be_switched_off(crew):
    crew.applies(*crew.first)
    await crew.bench.service.pause_rollout(ADMIN, "r1")
    crew.bench.clock.at += 700
    crew.here(*crew.first)
    view = await crew.look(86400)
    assert (view.state, view.applied, view.silent) == ("paused", len(crew.first), 0)


async def test_f_y17_the_managers_own_absence_is_nobodys_silence_and_no_soak(crew):
    first = crew.first
    crew.applies(*first)
    await crew.look(1)
    crew.bench.clock.at += 5000
    crew.book.downtimes = (Downtime(NOW + 1, crew.bench.clock.at),)
    crew.watch = crew.fresh()
    view = await crew.look(30)
    assert (view.state, view.wave, view.silent, view.applied) == ("running", 1, 0, len(first))
    crew.here(*first)
    crew.bench.clock.at += 540
    crew.here(*first[1:])
    assert (await crew.look(1)).wave == 1
    crew.here(*first)
    assert (await crew.look(31)).wave == 2


async def test_f_y17_nothing_widens_before_those_who_applied_were_heard_after_a_restart(crew):
    first = crew.first
    crew.applies(*first)
    await crew.look(1)
    crew.bench.clock.at += 599
    crew.here(*first)
    crew.book.downtimes = (Downtime(crew.bench.clock.at, crew.bench.clock.at + 5),)
    assert (await crew.look(10)).wave == 1
    crew.here(*first[1:])
    assert (await crew.look(1)).wave == 1
    crew.here(*first)
    assert (await crew.look(1)).wave == 2


async def test_f_y17_what_somebody_did_meanwhile_is_not_overwritten(crew):
    crew.applies(*crew.first)
    await crew.look(1)
    crew.bench.clock.at += 601
    crew.here()
    write = crew.bench.store.write

    async def late(work):
        crew.bench.store.write = write
        await crew.bench.service.halt_rollout(ADMIN, "r1", "me first")
        return await write(work)

    crew.bench.store.write = late
    view = await crew.look()
    assert (view.state, view.reason, crew.bundle.rollout.ppm) == ("halted", "me first", 0)


async def test_f_y17_a_step_that_is_not_written_is_no_step(crew):
    crew.applies(*crew.first)
    await crew.look(1)
    before = open_rollout(await crew.bench.store.read(lambda tx: tx.rollout(1)))
    held = crew.bundle
    crew.bench.clock.at += 601
    crew.here()
    write = crew.bench.store.write

    async def broken(work):
        def killed(tx):
            work(tx)
            raise StateError("full", "there is no room")

        return await write(killed)

    crew.bench.store.write = broken
    with pytest.raises(StateError):
        await crew.look()
    crew.bench.store.write = write
    assert open_rollout(await crew.bench.store.read(lambda tx: tx.rollout(1))) == before
    assert await crew.bench.bundle("paris") == held
    crew.watch = crew.fresh()
    assert (await crew.look()).wave == 2


async def test_f_y17_an_agent_that_moved_or_was_revoked_is_not_waited_for(crew):
    first = crew.first
    await crew.look()
    crew.book.held[uid_of(first[0])].group = "lyon"
    crew.book.held[uid_of(first[1])].admission = Admission.REVOKED
    assert (await crew.look(1)).cohort == len(first) - 2


async def test_f_y17_members_are_ours_that_know_rollouts(crew):
    crew.book.held[uid_of(0)].kind = AgentKind.STOCK
    crew.book.held[uid_of(1)]._state = replace(crew.book.held[uid_of(1)].state, agent_version="0.2.0")
    crew.book.held[uid_of(2)].last_contact = NOW - 1000
    found = crew.watch.members(None, ["paris", "lyon"])
    assert (len(found["paris"]), len(found["lyon"])) == (18, 0)
    assert [one.uid for one in found["paris"] if not one.in_contact] == [uid_of(2)]


async def test_f_y17_where_nobody_could_be_first_in_a_draw_it_is_refused(bench):
    await fill(bench, 0)
    await add(bench, agent(1, last=NOW - 9999))
    with pytest.raises(ConflictError, match="in contact"):
        await bench.apply(policy(content="two"), rollout=HALF)


def test_f_y17_time_away_is_counted_within_the_span_only():
    downtimes = (Downtime(0, 10), Downtime(20, 30), Downtime(40, 50))
    assert time_away(downtimes, 5, 25) == 10
    assert time_away(downtimes, 10, 20) == 0
    assert time_away((), 0, 9) == 0


class Hurried:
    """A clock by which every look at it finds that a slice is over."""

    def __init__(self, clock):
        self.clock, self.ticks = clock, 0.0

    def now(self):
        return self.clock.now()

    def monotonic(self):
        self.ticks += 0.01
        return self.ticks


async def test_f_y17_others_have_the_loop_while_a_cohort_is_counted(bench):
    crew = Crew(bench, 640)
    await crew.begin(RolloutTerms.of([1.0]))
    crew.watch._clock = Hurried(bench.clock)
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.005)

    task = asyncio.ensure_future(others())
    await crew.watch.look()
    task.cancel()
    assert crew.watch.progress(1).tally.pending == 640
    assert turns >= 2 * 640 // 64


async def test_f_y17_the_first_errors_and_the_stuck_are_bounded_and_in_order(bench):
    crew = Crew(bench, 60)
    await crew.begin(RolloutTerms.of([1.0], halt_on=1.0))
    for number in range(15):
        crew.fails(number)
    view = await crew.look()
    assert (view.failed, len(view.errors), len(view.stuck)) == (15, 10, 20)
    names = sorted(f"a{number}" for number in range(15, 60))
    assert [one.name for one in view.stuck] == names[:20]
    had = {one.name for one in view.errors}
    for number in range(15, 20):
        crew.fails(number)
    assert {one.name for one in (await crew.look(1)).errors} == had


async def test_f_y17_a_halted_rollout_says_how_many_still_have_it(crew):
    first = crew.first
    crew.applies(*first[:4])
    await crew.look()
    crew.bench.service._holders = crew.watch.holders
    service = crew.bench.service
    before = crew.bundle.content_digest
    view = await service.halt_rollout(ADMIN, "r1")
    assert view.next.startswith(
        "nobody begins it, and 4 agents still have it, until the next contact: popham"
    )
    halted = await crew.bench.bundle("paris")
    assert halted.content_digest != before
    for number in first[:3]:
        crew.say(number, content_digest=halted.content_digest, applied_digest=halted.content_digest)
    (view,) = await service.rollouts(VIEWER)
    assert view.next.startswith("nobody begins it, and 1 agent still has it, until the next contact: popham")
    crew.say(first[3], content_digest=halted.content_digest, applied_digest=halted.content_digest)
    # Who is not in the cohort has the bundle, and not what is new.
    outside = next(number for number in range(crew.agents) if number not in first)
    crew.say(outside, content_digest=before, applied_digest=before)
    assert (await service.rollout(VIEWER, "r1")).next.startswith(
        "nobody has it now: popham rollout resume r1"
    )
