"""Records come back in all four cells, from the same test bodies."""

from popham.model.communication import Dialer, Mode
from popham.net.seam import Refusal
from popham.streams.frame import Stream
from popham.testing.virtual import pass_time

from .conftest import HEARTBEAT

PUSH, PULL = Mode.PUSH, Mode.PULL


def test_f_d5_records_of_all_streams_come_once_and_in_order(tell, cell):
    async def story(world):
        await world.begin(cell)
        for _ in range(5):
            for stream in Stream:
                await world.append(stream, number=3)
            await pass_time(7)
        await world.all_came()
        assert world.intake.repeats == 0
        await world.until(lambda: all(not one["waiting"] for one in world.agent.spools.describe().values()))

    tell(story)


def test_push_brings_a_record_within_a_second_and_pull_within_a_heartbeat(tell, cell):
    async def story(world):
        await world.begin(cell)
        took = []
        for _ in range(4):
            await world.append(Stream.LOGS)
            took.append(await world.until(world.is_whole))
            await pass_time(HEARTBEAT / 3 + 1)
        if cell[0] is PUSH:
            assert max(took) < 1
        else:
            assert 1 < max(took) <= HEARTBEAT + 2

    tell(story)


def test_f_d5_what_a_network_loses_or_repeats_is_there_once(tell, cell):
    async def story(world):
        await world.begin(cell)
        weather = world.network.weather
        weather.loss, weather.duplicate, weather.reorder = 0.15, 0.1, 0.1
        for _ in range(12):
            await world.append(Stream.LOGS, number=2, size=500)
            await world.append(Stream.EVENTS)
            await pass_time(20)
        weather.loss = weather.duplicate = weather.reorder = 0.0
        await world.all_came()

    tell(story)


def test_what_is_too_large_for_a_link_goes_beside_it(tell, cell):
    async def story(world):
        await world.begin(cell)
        await world.append(Stream.LOGS, number=12, size=200_000)
        await world.all_came()
        await world.append(Stream.LOGS)
        await world.all_came()
        assert world.intake.repeats == 0

    tell(story)


def test_an_agent_that_dies_goes_on_where_it_was(tell, cell):
    async def story(world):
        await world.begin(cell)
        await world.append(Stream.LOGS, number=3)
        await world.all_came()
        world.network.cut.add("a0")
        await world.append(Stream.LOGS, number=3)
        await pass_time(5)
        await world.agent.crash()
        world.network.cut.clear()
        world.agent.start()
        await world.append(Stream.LOGS, number=3)
        await world.all_came()
        assert {frame.head.epoch for frame in world.intake.frames[world.uid, Stream.LOGS]} == {
            world.agent.spools.view(Stream.LOGS).epoch
        }

    tell(story)


def test_a_manager_that_dies_is_told_what_waits(tell, cell):
    async def story(world):
        await world.begin(cell)
        await world.append(Stream.METRICS, number=3)
        await world.manager.crash()
        await world.append(Stream.METRICS, number=3)
        await pass_time(30)
        await world.manager.start()
        await world.all_came()

    tell(story)


def test_where_there_is_no_room_the_agent_comes_again_when_it_is_told_to(tell, cell):
    async def story(world):
        await world.begin(cell)
        world.intake.full = Refusal(status=503, retry_after=40.0)
        await world.append(Stream.LOGS, number=5)
        await pass_time(3 * HEARTBEAT)
        assert world.came() == []
        world.intake.full = None
        took = await world.until(lambda: world.came() == world.said[Stream.LOGS])
        assert took <= (50 if cell[0] is PUSH else 50 + HEARTBEAT)

    tell(story)


def test_over_a_link_nothing_goes_beyond_the_credit(tell):
    async def story(world):
        world.intake.credit = 0
        await world.begin((PUSH, Dialer.MANAGER))
        await world.append(Stream.LOGS, number=3)
        await world.all_came()
        assert all(
            sent.waiting is None for sent in world.intake.sent
        )  # it was asked for them, beside the link

    tell(story)
