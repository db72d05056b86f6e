"""Who is visited when: the schedule, in virtual time, over agents that are made up."""

from collections import Counter
from itertools import pairwise

import pytest

from popham.model.communication import Mode
from popham.model.status import Outcome
from popham.net.visiting import Place
from popham.testing.virtual import EPOCH, pass_time
from popham.upstream.due import RETRY, SOON
from popham.upstream.visitor import AGAIN, LANE, SLOW_LANE, VISIT_TIME

from .fleet import DEAD, INTERVAL, gaps, run


def test_f_l2_ten_thousand_agents_are_visited_every_ten_minutes_evenly_spread_and_dead_ones_delay_nobody():
    async def story(fleet):
        fleet.dead = {f"a{number}" for number in range(0, 10_000, 10)}
        await pass_time(2.5 * INTERVAL)
        healthy = fleet.targets.keys() - fleet.dead
        assert fleet.visits.keys() == healthy
        assert max(times[0] for times in fleet.visits.values()) <= INTERVAL + 1
        assert max(gaps(fleet)) <= 1.2 * INTERVAL
        assert min(gaps(fleet)) >= 0.9 * INTERVAL
        buckets = Counter(int(at / 10) for times in fleet.visits.values() for at in times)
        usual = len(healthy) * 10 / INTERVAL
        assert max(buckets[n] for n in range(120)) <= 1.5 * usual
        assert min(buckets[n] for n in range(120)) >= 0.6 * usual
        assert fleet.most <= LANE
        assert fleet.most_dead <= LANE + SLOW_LANE
        assert fleet.visitor.failures >= 3_000

    run(story, 10_000)


def test_a_start_where_all_are_due_visits_them_within_a_minute_and_never_too_many_at_once():
    async def story(fleet):
        fleet.latency = 1.0
        for record in fleet.records.values():
            record.last_contact = EPOCH - 5 * INTERVAL
        await pass_time(70)
        assert len(fleet.visits) == 3_000
        assert fleet.most <= LANE
        await pass_time(1.1 * INTERVAL)
        assert max(gaps(fleet)) <= INTERVAL + 10
        assert len(fleet.visits) == 3_000

    run(story, 3_000)


def test_a_start_shortly_after_an_end_moves_nobody_beyond_its_interval():
    async def story(fleet):
        ages = {uid: number * INTERVAL / 100 for number, uid in enumerate(fleet.records)}
        for uid, record in fleet.records.items():
            record.last_contact = EPOCH - ages[uid]
            fleet.said(uid)
        await pass_time(INTERVAL)
        assert max(times[0] + ages[uid] for uid, times in fleet.visits.items()) <= INTERVAL + 1
        assert len(fleet.visits) == 100

    run(story, 100)


def test_a_dead_host_is_tried_once_more_soon_and_then_once_per_interval():
    async def story(fleet):
        fleet.dead = {"a0"}
        await pass_time(6 * INTERVAL)
        tried = [at for at, uid, _ in fleet.order]
        waits = [b - a for a, b in pairwise(tried)]
        assert waits[0] <= RETRY + DEAD + 1
        assert all(0.9 * INTERVAL <= wait <= 1.1 * INTERVAL for wait in waits[2:])
        sight = fleet.visitor.sight("a0")
        assert (sight.code, sight.failures) == ("visit.unreachable", len(tried))
        fleet.dead = set()
        await pass_time(1.1 * INTERVAL)
        assert (sight.error, sight.failures) == (None, 0)
        assert sight.last is not None

    run(story, 1)


def test_a_visit_that_takes_for_ever_is_ended_and_told():
    async def story(fleet):
        fleet.latency = 10 * VISIT_TIME
        await pass_time(INTERVAL + VISIT_TIME)
        sight = fleet.visitor.sight("a0")
        assert sight.code == "visit.slow"
        assert "took longer than 90 s" in sight.error.problem

    run(story, 1)


@pytest.mark.parametrize("mode", Mode)
def test_who_is_added_is_visited_soon_and_who_is_dropped_not_any_more(mode):
    async def story(fleet):
        await pass_time(INTERVAL)
        fleet.add("new", mode=mode)
        fleet.visitor.changed(["new"])
        await pass_time(SOON + 1)
        assert len(fleet.visits["new"]) == 1
        for link in list(fleet.links.values()):
            link.close(1000, "gone")
        fleet.drop("new")
        await pass_time(3 * INTERVAL)
        assert len(fleet.visits["new"]) == 1
        assert fleet.visitor.sight("new") is None

    run(story, 5)


def test_what_changes_during_a_visit_holds_after_it():
    async def story(fleet):
        fleet.latency = 20.0
        assert fleet.visitor.hasten("a0") is False, "it has not begun"
        await pass_time(1)
        assert fleet.visitor.hasten("a0")
        await pass_time(5)
        fleet.change("a0", place=Place("https://other:23440"))
        fleet.drop("a1")
        fleet.visitor.hasten("a2")
        await pass_time(5)
        fleet.drop("a2")
        await pass_time(1)
        fleet.add("a2")
        fleet.visitor.changed(["a2"])
        await pass_time(80)
        hosts = [host for _, uid, host in fleet.order if uid == "a0"]
        assert hosts == ["a0", "other"], "it is visited soon where it is now"
        assert "a1" not in fleet.visits
        assert len(fleet.visits["a2"]) == 1, "it was dropped and is back, in the middle of one visit"
        await pass_time(1.1 * INTERVAL)
        assert len(fleet.visits["a2"]) in {2, 3}

    run(story, 3, interval=INTERVAL * 5)


def test_who_is_asked_for_during_a_visit_is_visited_again_after_it():
    async def story(fleet):
        fleet.latency = 20.0
        await pass_time(1)
        fleet.visitor.hasten("a0")
        await pass_time(5)
        fleet.visitor.hasten("a0")
        fleet.visitor.hasten("a0")
        await pass_time(60)
        assert len(fleet.visits["a0"]) == 2
        assert fleet.most == 1
        assert fleet.visitor.hasten("nobody") is False

    run(story, 1, interval=INTERVAL * 100)


def test_who_is_applying_is_asked_again_after_5_15_and_60_seconds_and_then_as_always():
    async def story(fleet):
        fleet.said("a0", outcome=Outcome.APPLYING)
        fleet.visitor.changed()
        await pass_time(4 * INTERVAL)
        waits = [round(wait) for wait in gaps(fleet)]
        assert tuple(waits[:3]) == AGAIN
        assert waits[4:7] == list(AGAIN)
        assert 0.8 * INTERVAL < waits[3] <= INTERVAL
        fleet.said("a0")
        await pass_time(3 * INTERVAL)
        assert gaps(fleet)[-1] == pytest.approx(INTERVAL, abs=1)

    run(story, 1)


def test_who_dials_and_came_within_its_interval_is_not_visited_and_who_fell_silent_is():
    async def story(fleet):
        fleet.said("a0", dialer="agent")
        for _ in range(20):
            fleet.records["a0"].last_contact = fleet.clock.now()
            await pass_time(INTERVAL / 2)
        assert "a0" not in fleet.visits
        await pass_time(INTERVAL)
        assert len(fleet.visits["a0"]) == 1
        await pass_time(SOON)
        fleet.visitor.hasten("a0")
        await pass_time(1)
        assert len(fleet.visits["a0"]) == 2, "somebody asked for it"

    run(story, 1)


def test_who_waits_for_visits_is_visited_soon_once_for_each_time_it_says_so():
    async def story(fleet):
        await pass_time(1)
        for _ in range(50):
            fleet.visitor.waited_for("a0")
        await pass_time(SOON)
        assert len(fleet.visits["a0"]) == 1

    run(story, 1, interval=INTERVAL * 100)


def test_sec_agents_that_are_slow_and_answer_at_last_delay_none_that_are_not():
    async def story(fleet):
        fleet.slow = {f"a{number}": VISIT_TIME - 1 for number in range(0, 3_000, 3)}
        await pass_time(2 * INTERVAL)
        since = fleet.clock.elapsed
        await pass_time(2 * INTERVAL)
        quick = [times for uid, times in fleet.visits.items() if uid not in fleet.slow]
        late = [b - a for times in quick for a, b in pairwise(at for at in times if at > since)]
        assert len(quick) == 2_000
        assert max(late) <= 1.1 * INTERVAL

    run(story, 3_000)


def test_many_wishes_make_no_heap():
    async def story(fleet):
        await pass_time(1)
        for _ in range(5_000):
            fleet.visitor.hasten("a0")
        assert len(fleet.visitor._rota._heap) <= 100
        await pass_time(5)
        assert len(fleet.visits["a0"]) == 1

    run(story, 5, interval=INTERVAL * 100)


def test_a_fault_with_one_agent_stops_no_visits_and_is_logged(caplog):
    async def story(fleet):
        visit = fleet.visit

        async def faulty(seen):
            if seen.target.uid == "a0":
                raise RuntimeError("a fault of ours")
            await visit(seen)

        fleet.visit = faulty
        await pass_time(3 * INTERVAL)
        assert {len(times) for times in fleet.visits.values()} == {3}
        assert "a0" not in fleet.visits
        assert fleet.visitor.sight("a0").code == "visit.failed"

    run(story, 10)
    assert "a0 could not be visited" in caplog.text


def test_f_c6_an_agent_that_dials_for_its_orders_is_asked_for_its_data_alone_once_per_interval():
    async def story(fleet):
        fleet.change("a0", reads=True)
        for number in range(30):
            await pass_time(INTERVAL / 10)
            for uid in ("a0", "a1"):
                fleet.said(uid, dialer="agent", outcome=Outcome.APPLYING)
                fleet.records[uid].contact(fleet.clock.now(), "192.0.2.1")
            if number == 15:
                fleet.records["a0"].link = object()
        assert set(fleet.reads) == {"a0"}
        assert len(fleet.reads) in {2, 3}
        assert len(fleet.visits["a0"]) - len(fleet.reads) <= 1, "nothing else, once it has dialled"
        assert len(fleet.visits.get("a1", ())) <= 1

    run(story, 2)
