"""Links that an upstream holds: when they are opened, opened anew, and let go."""

from collections import Counter
from itertools import pairwise

from popham.model.communication import Mode
from popham.testing.virtual import pass_time
from popham.upstream.due import REDIALS, SOON
from popham.upstream.visitor import LANE

from .fleet import INTERVAL, run


def test_f_p2_links_are_held_and_opened_anew_with_jitter_that_grows_with_the_fleet():
    async def story(fleet):
        number = len(fleet.targets)
        await pass_time(number / REDIALS + 5)
        assert fleet.visitor.held == number
        await pass_time(3 * INTERVAL)
        assert {len(times) for times in fleet.visits.values()} == {1}, "a link that lasts is not opened twice"
        fleet.order.clear()
        for link in list(fleet.links.values()):
            link.lose()
        await pass_time(number / REDIALS + 5)
        assert fleet.visitor.held == number
        seconds = Counter(int(at) for at, _, _ in fleet.order)
        assert max(seconds.values()) <= 2 * REDIALS
        assert fleet.most <= LANE

    run(story, 1_000, mode=Mode.PUSH)


def test_a_link_that_flaps_is_opened_less_and_less_often():
    async def story(fleet):
        for _ in range(5_000):
            await pass_time(1)
            for link in list(fleet.links.values()):
                link.lose()
        tried = [at for at, _, _ in fleet.order]
        assert len(tried) <= 60
        assert max(b - a for a, b in pairwise(tried)) <= 305

    run(story, 1, mode=Mode.PUSH)


def test_f_c3_a_link_is_let_go_for_visits_only_after_one_that_succeeded():
    async def story(fleet):
        await pass_time(5)
        assert fleet.visitor.held == 1
        fleet.dead = {"a0"}
        fleet.change("a0", mode=Mode.PULL)
        await pass_time(INTERVAL)
        assert fleet.visitor.held == 1, "no visit worked yet"
        fleet.dead = set()
        await pass_time(100)
        assert fleet.visitor.held == 0
        before = len(fleet.visits["a0"])
        await pass_time(3 * INTERVAL)
        assert len(fleet.visits["a0"]) - before in {3, 4}
        fleet.change("a0", mode=Mode.PUSH)
        await pass_time(SOON + 1)
        assert fleet.visitor.held == 1

    run(story, 1, mode=Mode.PUSH)


def test_f_c3_who_is_not_to_be_visited_any_more_keeps_its_link_until_it_ends_it():
    async def story(fleet):
        await pass_time(5)
        fleet.drop("a0")
        await pass_time(5 * INTERVAL)
        assert "a0" in fleet.links
        fleet.add("a0", mode=Mode.PUSH)
        fleet.visitor.changed()
        await pass_time(INTERVAL)
        assert len(fleet.visits["a0"]) == 1, "it is the same link"
        fleet.drop("a0")
        await pass_time(1)
        fleet.links["a0"].over.set()
        await pass_time(5 * INTERVAL)
        assert fleet.visitor.sight("a0") is None
        assert len(fleet.visits["a0"]) == 1

    run(story, 1, mode=Mode.PUSH)
