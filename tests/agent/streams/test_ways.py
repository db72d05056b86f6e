"""Which way records go, and when: as settings and policies say, and whatever changes on the way."""

import random

from popham.errors import LinkError, StreamError
from popham.model.communication import Dialer, Mode
from popham.model.servers import Server
from popham.streams.frame import Frame, Stream
from popham.testing.agent import URL
from popham.testing.network import MemoryDialer
from popham.testing.virtual import pass_time

from .conftest import FOUR_CELLS, HEARTBEAT

PUSH_DIALS, PULL_DIALS = (Mode.PUSH, Dialer.AGENT), (Mode.PULL, Dialer.AGENT)
PUSH_SERVES, VISITS = (Mode.PUSH, Dialer.MANAGER), (Mode.PULL, Dialer.MANAGER)


def test_f_c5_an_event_goes_at_once_whatever_the_heartbeat(tell):
    async def story(world):
        await world.begin(PULL_DIALS)
        await world.append(Stream.LOGS)
        await world.append(Stream.EVENTS)
        assert await world.until(lambda: world.is_whole(Stream.EVENTS)) < 1
        assert world.came(Stream.LOGS) == []
        await world.all_came()

    tell(story)


def test_f_c5_an_event_waits_for_the_round_where_that_was_ordered(tell):
    async def story(world):
        await world.begin(PULL_DIALS, critical=False)
        await pass_time(HEARTBEAT / 2)
        await world.append(Stream.EVENTS)
        assert await world.until(world.is_whole) > 5

    tell(story)


def test_f_c5_a_visit_brings_events_first_then_the_summary_then_the_rest(tell):
    async def story(world):
        await world.begin(VISITS)
        for stream in reversed(Stream):
            await world.append(stream, number=3)
        await world.all_came()
        first = [world.intake.times[world.uid, stream][0] for stream in Stream]
        assert first == sorted(first)
        assert len(set(first)) == len(first)

    tell(story)


def test_events_do_not_wait_for_what_is_large(tell):
    async def story(world):
        await world.begin(PUSH_DIALS)
        world.network.weather.delay = 4.0
        await world.append(Stream.LOGS, number=40, size=100_000)
        await pass_time(0.2)
        await world.append(Stream.EVENTS)
        assert await world.until(lambda: world.is_whole(Stream.EVENTS)) < 9
        assert not world.is_whole(Stream.LOGS)
        await world.all_came()

    tell(story)


def test_f_c6_data_has_a_mode_of_its_own_while_events_go_at_once(tell):
    async def story(world):
        await world.begin(PUSH_DIALS, data=PULL_DIALS)
        await world.until(lambda: world.agent.driver.held)
        took = []
        for _ in range(3):
            await world.append(Stream.LOGS)
            await world.append(Stream.EVENTS)
            assert await world.until(lambda: world.is_whole(Stream.EVENTS)) < 1
            took.append(await world.until(world.is_whole))
            await pass_time(HEARTBEAT / 3)
        assert 5 < max(took) <= HEARTBEAT + 2

    tell(story)


def test_f_l7_orders_come_by_visits_while_data_goes_by_the_agents_own_dial(tell):
    async def story(world):
        await world.begin(VISITS, data=PUSH_DIALS)
        dials = world.agent.dials
        for number in range(5):
            await world.append(Stream.LOGS)
            assert await world.until(world.is_whole) < 1
            assert world.agent.dials == dials + number + 1  # one request each, and no rounds
            await pass_time(HEARTBEAT)
        assert not world.agent.driver.dials

    tell(story)


def test_f_l7_orders_are_held_by_the_agents_link_while_data_waits_for_visits(tell):
    async def story(world):
        await world.begin(PUSH_DIALS, data=VISITS)
        await pass_time(HEARTBEAT)
        dials = world.agent.dials
        await world.append(Stream.LOGS)
        await pass_time(2)
        assert world.came() == []
        assert world.agent.dials == dials

    tell(story)


def test_f_d8_upload_off_keeps_everything_on_the_machine(tell, cell):
    async def story(world):
        await world.begin(cell, upload=False)
        await world.append(Stream.LOGS, number=3)
        await world.append(Stream.EVENTS)
        await pass_time(3 * HEARTBEAT)
        assert world.came() == world.came(Stream.EVENTS) == []
        assert world.agent.spools.view(Stream.LOGS).waiting == 3
        await world.order(cell)
        await world.all_came()

    tell(story)


def test_f_d8_single_streams_can_be_kept_on_the_machine(tell, cell):
    async def story(world):
        await world.begin(cell)
        world.agent.sending.withheld = frozenset({Stream.METRICS})
        for stream in Stream:
            await world.append(stream)
        await world.all_came(Stream.EVENTS, Stream.SUMMARY, Stream.LOGS)
        await pass_time(2 * HEARTBEAT)
        assert world.came(Stream.METRICS) == []
        world.agent.sending.withheld = frozenset()
        await world.all_came()

    tell(story)


def test_f_d8_a_bound_of_bandwidth_holds_for_all_but_events(tell, cell):
    async def story(world):
        await world.begin(cell)
        await pass_time(HEARTBEAT)
        world.agent.sending.bandwidth = 1000.0
        begun = world.simulation.clock.elapsed
        await world.append(Stream.LOGS, number=60, size=2000)
        await world.append(Stream.EVENTS, number=60, size=2000)
        await world.all_came(Stream.EVENTS)
        assert not world.is_whole(Stream.LOGS) or cell[1] is Dialer.MANAGER
        await world.all_came()
        if cell[1] is Dialer.AGENT:
            assert world.simulation.clock.elapsed - begun > 100

    tell(story)


def test_a_manager_without_streams_is_asked_again_in_an_hour(tell):
    async def story(world):
        intake, world.manager.intake = world.manager.intake, None
        await world.manager.crash()
        await world.manager.start()
        await world.begin(PULL_DIALS)
        await world.append(Stream.EVENTS)
        await pass_time(600)
        dials = world.agent.dials
        await world.append(Stream.EVENTS, number=3)
        await pass_time(600)
        assert world.agent.dials == dials + 10  # rounds alone
        await world.manager.crash()
        world.manager.intake = intake
        await world.manager.start()
        await world.all_came()

    tell(story)


async def switch_among_the_cells(world, times, seed):
    """Order another cell every ten seconds, and append all the while; then see that all came, once."""
    draw = random.Random(seed)
    await world.begin(heartbeat=5.0)
    for _ in range(times):
        data = draw.choice([None, None, *FOUR_CELLS])
        await world.order(draw.choice(FOUR_CELLS), data, heartbeat=5.0)
        for _ in range(4):
            stream, size = draw.choice(list(Stream)), draw.choice([60, 9000])
            await world.append(stream, number=draw.randrange(3), size=size)
            await pass_time(2.5)
    await world.order(PULL_DIALS, heartbeat=5.0)
    await world.all_came()
    assert all(not world.intake.lost(world.uid, stream) for stream in Stream)
    visits = sum(sent.waiting is None for sent in world.intake.sent)
    assert min(visits, len(world.intake.sent) - visits) > times // 6


def test_rel_29_a_switch_among_the_cells_every_ten_seconds_leaves_no_gap_and_no_double(tell):
    tell(lambda world: switch_among_the_cells(world, 60, seed=5))


def test_f_c3_a_switch_in_the_middle_of_a_request_sends_nothing_twice_into_the_store(tell):
    async def story(world):
        await world.begin(PUSH_DIALS)
        world.network.weather.delay = 10.0
        await world.append(Stream.LOGS, number=30, size=50_000)
        await pass_time(3)
        await world.order(VISITS)
        await pass_time(5)
        world.network.weather.delay = 0.02
        await world.append(Stream.LOGS)
        await world.all_came()

    tell(story)


def test_a_key_that_changes_while_records_wait_signs_them(tell, cell):
    async def story(world):
        await world.begin(cell)
        world.intake.credit = 0
        world.network.cut.add("a0")
        await world.append(Stream.LOGS, number=3)
        key = world.agent.state.identity_key().keyid
        rotating = world.agent.credentials.rotate()
        world.network.cut.clear()
        await rotating
        assert world.agent.state.identity_key().keyid != key
        await world.append(Stream.LOGS)
        await world.all_came()

    tell(story)


def test_a_state_directory_of_yesterday_goes_on_under_another_epoch(tell, cell, tmp_path):
    async def story(world):
        await world.begin(cell)
        await world.append(Stream.LOGS, number=3)
        await world.all_came()
        await world.agent.crash()
        kept = {path: path.read_bytes() for path in (tmp_path / "a0").rglob("*") if path.is_file()}
        world.agent.start()
        await world.append(Stream.LOGS, number=3)
        await world.all_came()
        await world.agent.crash()
        for path in (tmp_path / "a0").rglob("*"):
            if path.is_file():
                path.unlink()
        for path, data in kept.items():
            path.write_bytes(data)
        world.agent.start()
        await world.append(Stream.LOGS, number=5)
        await world.all_came()
        assert len({frame.head.epoch for frame in world.intake.frames[world.uid, Stream.LOGS]}) == 2
        assert world.intake.lost(world.uid, Stream.LOGS) == {}

    tell(story)


def test_what_was_refused_as_a_contradiction_is_settled_by_asking(tell, monkeypatch):
    conflicts = []
    upload = MemoryDialer.upload

    async def refuse_once(dialer, path, body, *, limit=0):
        if not conflicts:
            conflicts.append(path)
            raise LinkError("unexpected", "it contradicts what is durable", status=409)
        return await upload(dialer, path, body, limit=limit)

    monkeypatch.setattr(MemoryDialer, "upload", refuse_once)

    async def story(world):
        await world.begin(PULL_DIALS)
        await world.append(Stream.EVENTS)
        await world.all_came()

    tell(story)
    assert len(conflicts) == 1


def test_an_upstream_that_refuses_every_epoch_is_left_alone_for_longer_and_longer(tell, monkeypatch):
    async def story(world):
        await world.begin(PUSH_DIALS)
        append, opened, held = world.intake.append, [], world.network.pipe

        def count(*arguments):
            opened.append(world.simulation.clock.elapsed)
            return held(*arguments)

        epochs = set()

        async def refuse(record, stream, frames, sent):
            epochs.add(Frame.decode(frames).head.epoch)
            raise StreamError("overlap", "it contradicts what is durable")

        monkeypatch.setattr(world.network, "pipe", count)
        world.intake.append = refuse
        await world.append(Stream.EVENTS)
        await pass_time(3600)
        assert len(opened) < 3
        assert len(epochs) == 2, "what waits is written again once, not for ever"
        assert "under whatever epoch" in world.agent.sending.describe()["events"]["problem"]
        world.intake.append = append
        await world.all_came()
        assert world.agent.sending.describe()["events"]["problem"] == ""

    tell(story)


def test_data_that_goes_alone_finds_another_server(tell):
    async def story(world):
        servers = (Server(1, "https://gone:4320"), Server(2, URL))
        await world.begin(VISITS, data=PUSH_DIALS, servers=servers)
        await world.append(Stream.LOGS, number=3)
        assert await world.until(world.is_whole) < 2 * HEARTBEAT

    tell(story)


def test_f_o4_who_is_to_collect_sends_what_waits(tell):
    async def story(world):
        await world.begin(PULL_DIALS, data=PULL_DIALS, heartbeat=3600.0)
        await world.append(Stream.LOGS)
        world.agent.end.release()
        assert await world.until(world.is_whole) < 1

    tell(story)
