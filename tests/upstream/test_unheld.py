"""Where a link is wanted and what stands before the agent holds none, it is visited instead."""

from popham.errors import VisitError
from popham.model.cell import Mode
from popham.testing.virtual import pass_time

from .test_visitor import INTERVAL, gaps, run


def test_f_l4_where_no_link_can_be_held_there_are_visits_and_the_link_is_asked_for_again():
    async def story(fleet):
        asked = []

        async def hold(seen, limits):
            asked.append(fleet.clock.elapsed)
            seen.unheld = None
            await fleet.visit(seen)
            seen.unheld = VisitError("cgi", "no links there")

        fleet.hold = hold
        await pass_time(3.5 * INTERVAL)
        sight = fleet.visitor.sight("a0")
        assert len(fleet.visits["a0"]) == len(asked) >= 4
        assert max(gaps(fleet)) <= 1.1 * INTERVAL
        assert (sight.code, sight.failures, fleet.visitor.failures) == ("visit.cgi", 0, 0)
        assert sight.last is not None
        since = sight.since
        await pass_time(INTERVAL)
        assert fleet.visitor.sight("a0").since == since, "it is as it was"
        del fleet.hold
        await pass_time(1.1 * INTERVAL)
        assert fleet.visitor.held == 1, "the web server is another now"

    run(story, 1, mode=Mode.PUSH)
