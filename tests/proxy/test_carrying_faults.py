"""What a proxy holds after kills, power cuts, and on disks that fail, are full, or rot."""

import contextlib
import errno

import pytest
from tests.manager.intake.framing import Sender, join
from tests.proxy.streams_rig import FOLDER, Rig, record

from popham.errors import LinkError, StateError
from popham.proxy.spool.bounds import Limits
from popham.proxy.spool.words import NAME
from popham.streams.frame import Stream
from popham.streams.kept import SUFFIX
from popham.testing.disk import EndedError
from popham.upstream.intake import Sent

LOGS = Stream.LOGS
SMALL = Limits(reserve=0, segment=2000)


def agent(number=1, **kwargs):
    """Return the logs of one agent."""
    return Sender(uid=bytes([number]) * 16, stream=LOGS, **kwargs)


async def send(intake, sender, frames):
    """Bring frames."""
    return await intake.append(record(sender.uid), sender.stream, join(frames), Sent())


def segments(rig):
    """Return the segments that are there."""
    return [name for name in rig.disk.names(FOLDER) if name.endswith(SUFFIX)]


@pytest.mark.parametrize("cut", [None, 1, 2, 3])
async def test_rel_1_what_was_acknowledged_by_hop_is_there_after_a_kill_or_a_power_cut(cut):
    rig = Rig("hop")
    intake = await rig.begin()
    sender = agent()
    frames = sender.frames(6)
    await send(intake, sender, frames[:2])
    intake = await rig.restart(cut=cut)
    await send(intake, sender, frames[2:4])
    intake = await rig.restart(cut=cut)
    assert rig.held == 4
    assert (await send(intake, sender, frames[4:])).next == 6
    while await rig.exchange():
        pass
    assert rig.manager.intake.payloads(sender.uid.hex(), LOGS) == [frame.payload for frame in frames]
    assert (rig.held, rig.manager.intake.repeats) == (0, 0)
    await intake.close()


async def test_rel_3_every_call_of_the_disk_may_fail_and_nothing_acknowledged_is_lost_or_doubled():
    for fails_on in (False, True):
        nth = 0
        while nth < 200:
            nth += 1
            rig, said = Rig("hop", limits=SMALL), 0
            rig.disk.fails_at, rig.disk.fails_on = nth, fails_on
            sender = agent()
            frames = sender.frames(20)
            try:
                intake = await rig.begin()
            except StateError:
                await rig.end()
            else:
                said = await _live(rig, intake, sender, frames)
                await rig.end()
            done = rig.disk.calls < nth
            rig.disk.kill()
            rig.disk.fails_at, rig.disk.fails_on = 0, False
            intake = await rig.begin()
            assert (await intake.standing(record(sender.uid), LOGS, 1)).next >= said
            rig.clock.time += 400.0
            assert (await send(intake, sender, frames)).next == 20
            while await rig.exchange():
                pass
            assert rig.held == 0
            assert rig.manager.intake.payloads(sender.uid.hex(), LOGS) == [one.payload for one in frames]
            await intake.close()
            if done:
                break
        else:
            pytest.fail("it never got through")


async def _live(rig, intake, sender, frames):
    """Send all, one after the other, and carry it now and then; returns how far the agent was told that it is."""
    said = 0
    for number, frame in enumerate(frames):
        try:
            said = (await send(intake, sender, [frame])).next
        except LinkError:
            rig.clock.time += 100.0
            break
        if number % 7 == 6:
            await rig.exchange()
            await intake._keeping.tidy()
    return said


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
async def test_rel_3_a_disk_that_takes_nothing_is_answered_busy_and_then_goes_on(code):
    rig = Rig("hop")
    async with rig.running() as intake:
        sender = agent()
        frames = sender.frames(4)
        await send(intake, sender, frames[:1])
        rig.disk.fails_at, rig.disk.fails_on, rig.disk.error = rig.disk.calls + 2, True, code
        with pytest.raises(LinkError) as error:
            await send(intake, sender, frames[1:2])
        assert (error.value.code, error.value.retry_after > 0) == ("link.busy", True)
        assert intake.refusal(record(sender.uid), Stream.EVENTS).status == 503
        assert (await intake.standing(record(sender.uid), LOGS, 1)).next == 1
        rig.disk.fails_at = 0
        rig.clock.time += 61.0
        assert (await send(intake, sender, frames[1:])).next == 4
        await rig.exchange()
        assert rig.manager.intake.payloads(sender.uid.hex(), LOGS) == [one.payload for one in frames]


async def test_rel_3_a_full_disk_is_emptied_by_what_goes_up():
    rig = Rig("hop", limits=SMALL)
    async with rig.running() as intake:
        sender = agent()
        for frame in sender.frames(20):
            await send(intake, sender, [frame])
        rig.disk.quota = rig.disk.used
        with pytest.raises(LinkError):
            await send(intake, sender, sender.frames(1))
        await rig.exchange()
        await intake._keeping.tidy()
        assert (rig.held, len(segments(rig)) <= 1) == (0, True)
        assert rig.disk.used < rig.disk.quota / 2
    rig.manager.away = True
    async with rig.running() as intake:
        assert (await intake.standing(record(sender.uid), LOGS, 1)).next == 20


async def test_a_segment_is_removed_once_all_of_it_is_above_and_its_words_are_written():
    rig = Rig("hop", limits=SMALL)
    sender = agent()
    intake = await rig.begin()
    for frame in sender.frames(20):
        await send(intake, sender, [frame])
    there = len(segments(rig))
    assert there > 2
    await rig.exchange()
    await intake._keeping.tidy()
    assert len(segments(rig)) <= 1
    rig.manager.away = True
    intake = await rig.restart()
    assert (await intake.standing(record(sender.uid), LOGS, 1)).next == 20
    await intake.close()


@pytest.mark.parametrize("nth", range(1, 9))
async def test_nobody_is_told_of_less_where_a_kill_comes_between_the_words_and_the_segments(nth):
    rig = Rig("hop", limits=SMALL)
    sender = agent()
    async with rig.running() as intake:
        await send(intake, sender, sender.frames(2))
        await rig.exchange()
    intake = await rig.begin()
    for frame in sender.frames(18):
        await send(intake, sender, [frame])
    await rig.exchange()
    rig.disk.calls, rig.disk.ends_at = 0, nth
    with contextlib.suppress(EndedError, StateError):
        await intake._keeping.tidy()
    rig.disk.ends_at, rig.manager.away = 0, True
    intake = await rig.restart()
    assert (await intake.standing(record(sender.uid), LOGS, 1)).next == 20
    await intake.close()


@pytest.mark.parametrize("cut", range(8))
async def test_rel_1_what_a_start_finds_is_durable_before_anybody_is_told(cut):
    rig = Rig("hop")
    sender = agent()
    frames = sender.frames(1)
    intake = await rig.begin()
    rig.disk.calls, rig.disk.ends_at = 0, 2
    with pytest.raises(StateError, match=r"state\.broken"):
        await send(intake, sender, frames)
    rig.disk.ends_at = 0
    intake = await rig.restart()
    assert (await intake.standing(record(sender.uid), LOGS, 1)).next == 1
    intake = await rig.restart(cut=cut)
    assert (await intake.standing(record(sender.uid), LOGS, 1)).next == 1
    await intake.close()


async def test_one_agent_that_nobody_takes_does_not_keep_the_segments_of_all():
    rig = Rig("hop", limits=SMALL)
    stuck, other = agent(1), agent(2)
    intake = await rig.begin()
    frames = []
    for _ in range(12):
        frames += stuck.frames(1)
        await send(intake, stuck, frames[-1:])
        for frame in [other.frame(bytes(2000) + b"%d" % number) for number in range(2)]:
            await send(intake, other, [frame])
    size = intake.depth()["files"]
    while carried := [one for one in intake.next_frames(1 << 20) if one.key == other.uid]:
        for one in carried:
            intake.stood(await rig.manager.take(one))
    for _ in range(40):
        await intake._keeping.tidy()
    assert sum(map(len, rig.disk.copy().values())) < size / 2
    assert rig.held == 12
    intake = await rig.restart()
    assert rig.held == 12
    await rig.exchange()
    assert rig.manager.intake.payloads(stuck.uid.hex(), LOGS) == [one.payload for one in frames]
    await intake.close()


async def test_rel_16_what_rots_is_dropped_counted_and_told_and_the_rest_is_carried():
    rig = Rig("hop")
    async with rig.running() as intake:
        sender = agent()
        frames = sender.frames(5)
        for frame in frames:
            await send(intake, sender, [frame])
        path = FOLDER / segments(rig)[0]
        rig.disk.damage(path, rig.disk.size(path) // 2, 1)
        await rig.exchange()
        assert intake.depth()["dropped"] == {"damaged": 1}
        assert rig.told == [(sender.uid, LOGS)]
        assert rig.held == 0
        standing = await intake.standing(record(sender.uid), LOGS, 1)
        assert standing.next < 5
        assert standing.ranges[-1].end == 5
        assert len(rig.manager.intake.payloads(sender.uid.hex(), LOGS)) == 4


@pytest.mark.parametrize("fault", ["rotten", "unreadable", "torn"])
async def test_rel_16_a_start_steps_over_what_cannot_be_read(fault):
    rig = Rig("hop")
    intake = await rig.begin()
    sender = agent()
    for frame in sender.frames(5):
        await send(intake, sender, [frame])
    path = FOLDER / segments(rig)[0]
    size = rig.disk.size(path)
    await rig.end()
    if fault == "rotten":
        rig.disk.damage(path, size // 2, 1)
    elif fault == "unreadable":
        rig.disk.unreadable.add((path, size - 1))
    else:
        rig.disk.truncate(path, size - 10)
    intake = await rig.begin()
    assert rig.held == (0 if fault == "unreadable" else 4)
    more = agent(2).frames(3)
    await send(intake, agent(2), more)
    rig.disk.unreadable.clear()
    intake = await rig.restart()
    assert rig.held >= 3 + 4 * (fault != "unreadable")
    await intake.close()


async def test_rel_16_words_that_rot_are_asked_for_again():
    rig = Rig("hop")
    sender = agent()
    async with rig.running() as intake:
        await send(intake, sender, sender.frames(3))
        await rig.exchange()
    path = FOLDER / NAME
    rig.disk.damage(path, rig.disk.size(path) - 1, 1)
    async with rig.running() as intake:
        rig.manager.away = True
        with pytest.raises(LinkError, match=r"link\.busy"):
            await send(intake, sender, sender.frames(1))
        rig.manager.away = False
        rig.clock.time += 11.0
        assert (await intake.standing(record(sender.uid), LOGS, 1)).next == 3


@pytest.mark.parametrize("custody", ["end to end", "hop"])
async def test_rel_7_a_lost_disk_loses_nothing_end_to_end_and_wedges_nobody_by_hop(custody):
    rig = Rig(custody, agents=1)
    [one] = rig.agents
    intake = await rig.begin()
    one.write(LOGS, 1, 1)
    await one.send(intake, LOGS)
    await rig.exchange()
    one.write(LOGS, 1, 1)
    await one.send(intake, LOGS)
    assert rig.held == 2
    await rig.end()
    rig.disk.restore({})
    await rig.begin()
    for _ in range(2):
        one.write(LOGS, 1)
        await one.send(rig.intake, LOGS)
        await one.send(rig.intake, LOGS)
        await rig.exchange()
    assert rig.held == 0
    if custody == "hop":
        # What only the proxy had is a hole; what comes after it is taken.
        assert rig.manager.records(one.uid, LOGS) == {0: 1, 1: 1, 4: 1, 5: 1}
    else:
        await rig.drain()
        rig.check()
    await rig.intake.close()


async def test_by_hop_an_agent_that_goes_elsewhere_counts_nothing_as_lost_that_is_on_its_way():
    rig = Rig("hop", agents=1)
    [one] = rig.agents
    async with rig.running() as intake:
        one.write(LOGS, 2, 2)
        assert (await one.send(intake, LOGS)).above == 0
        one.write(LOGS, 2)
        above = await one.send(rig.manager.intake, LOGS)
        assert (above.next, [(found.first, found.end) for found in above.ranges]) == (0, [(4, 6)])
        await rig.exchange()
        await one.send(rig.manager.intake, LOGS)
        rig.check()
