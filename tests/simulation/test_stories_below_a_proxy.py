"""The session stories for agents behind a Proxy Manager: each cell below it, and each cell above."""

import pytest
from tests import stories

from popham.model.cell import Dialer, Mode
from popham.testing.simulation import ADMIN
from popham.testing.virtual import pass_time

from .conftest import FOUR_CELLS, HEARTBEAT, settings
from .test_stories import Stage

LINK = (Mode.PUSH, Dialer.AGENT)
EVERY = (
    stories.a_change_arrives,
    stories.a_manager_that_restarts_finds_its_agents_again,
    stories.another_dialer_needs_no_restart_and_misses_nothing,
)
"""Stories that are told in each cell below and each above; the others below a proxy that holds a link."""


class StageBelow(Stage):
    """Two agents of one group, which know no other way than a proxy; see :mod:`tests.stories`."""

    switches = 1

    def __init__(self, simulation, above):
        super().__init__(simulation)
        self.above = above
        self.hop = 2.0 if above[0] is Mode.PUSH else 2 * HEARTBEAT + 2

    async def open(self):
        """Have the proxy there."""
        await self.manager.put_group("docks", settings(self.above))
        self.dock = await self.simulation.add_proxy("dock", ["lab"], group="docks")
        await pass_time(2 * HEARTBEAT)

    async def begin(self):
        self.agents = await self.simulation.add_agents("lab", ["a0", "a1"], via="dock")

    def heard(self):
        return [self.dock.downlink.book.record(agent.state.uid) for agent in self.agents]

    def found(self):
        return all(one.via and one.state for one in self.records())

    async def check_in(self):
        await self.manager.service.check_in(ADMIN, group="lab")
        if self.above == (Mode.PULL, Dialer.AGENT):
            self.dock.end.check_in()
        if self.cell == (Mode.PULL, Dialer.AGENT):
            await pass_time(self.hop)
            for agent in self.agents:
                agent.end.check_in()


def tell(simulate, cell, above, told):
    async def story(simulation):
        stage = StageBelow(simulation, above)
        await stage.order(cell, HEARTBEAT)
        await stage.open()
        if told is not stories.the_first_round_is_at_start:
            await stage.begin()
            await pass_time(2 * HEARTBEAT + stage.hop)
        await told(stage)
        proxy = stage.dock.state.uid
        assert {one.via for one in stage.records()} == {(proxy,)}

    simulate(story)


def _name(value):
    return value.__name__ if callable(value) else "-".join(value)


TOLD = [
    (told, below, above)
    for told in stories.STORIES
    for below in FOUR_CELLS
    for above in FOUR_CELLS
    if told in EVERY or above == LINK
]


@pytest.mark.parametrize(("told", "below", "above"), TOLD, ids=_name)
def test_f_t2_below_a_proxy_the_story(simulate, told, below, above):
    tell(simulate, below, above, told)
