"""Frames are acknowledged once they are durable, and stored once."""

import asyncio

import pytest
from tests.manager.intake.framing import KEY, Sender, sign
from tests.manager.intake.rig import NOW, UID, Rig, entries, offsets, record, send

from popham.downstream.standings import decode
from popham.errors import LinkError, StreamError
from popham.manager.intake.appends import COST
from popham.manager.intake.position import BEGINNING
from popham.streams.frame import Cause, Stream
from popham.streams.gap import make_gap
from popham.trust.keys import IdentityKey
from popham.upstream.intake import Sent
from popham.upstream.standings import encode

MIB = 1024**2


@pytest.fixture
def rig():
    return Rig()


async def test_frames_are_durable_when_they_are_acknowledged(rig):
    async with rig.intake() as intake:
        frames = Sender().frames(3, count=5)
        standing = await send(intake, frames, now=NOW + 2.0)
        assert (standing.next, standing.last, standing.newest) == (15, frames[-1].head.tail, 1)
        rig.disk.crash()
        found = entries(intake)
        assert [entry.frame for entry in found] == frames
        assert {(entry.received, entry.skew) for entry in found} == {(NOW, 2.0)}


async def test_f_d5_what_is_sent_again_is_stored_once(rig):
    async with rig.intake() as intake:
        frames = Sender().frames(4)
        await send(intake, frames[:3])
        assert (await send(intake, frames)).next == 4
        assert (await send(intake, frames[1:2])).next == 4
        assert set(offsets(intake).values()) == {1}
        assert intake.views()[3].stored == 4


async def test_f_d5_what_comes_twice_at_once_is_stored_once(rig):
    async with rig.intake() as intake:
        frames = Sender().frames(5)
        standings = await asyncio.gather(*(send(intake, frames) for _ in range(5)))
        assert {standing.next for standing in standings} == {5}
        assert list(offsets(intake).values()) == [1] * 5


async def test_rel_8_what_comes_in_another_order_is_kept_in_ranges(rig):
    async with rig.intake() as intake:
        frames = Sender().frames(6)
        standing = await send(intake, frames[4:])
        assert (standing.next, [(one.first, one.end) for one in standing.ranges]) == (0, [(4, 6)])
        standing = await send(intake, frames[:4])
        assert (standing.next, standing.ranges) == (6, ())
        assert set(offsets(intake).values()) == {1}


async def test_rel_8_what_contradicts_what_is_durable_is_refused(rig):
    async with rig.intake() as intake:
        await send(intake, Sender().frames(2))
        with pytest.raises(StreamError, match=r"stream\.overlap"):
            await send(intake, Sender(boot=b"boot-two").frames(2, payload=b"other"))
        assert intake.views()[3].refused == {"overlap": 1}
        assert (await intake.standing(record(), Stream.LOGS)).next == 2


async def test_what_another_signed_is_refused_and_changes_nothing(rig):
    async with rig.intake() as intake:
        with pytest.raises(StreamError, match=r"stream\.signature"):
            await send(intake, Sender(key=IdentityKey.create()).frames(1))
        assert entries(intake) == []
        assert intake.known("75" * 16) == {}
        renewed = record(key=IdentityKey.create())
        renewed.former_key = KEY.public.der
        assert (await send(intake, Sender().frames(1), who=renewed)).next == 1


async def test_nothing_brought_tells_how_far_it_is(rig):
    async with rig.intake() as intake:
        assert (await intake.append(record(), Stream.LOGS, b"", Sent())).newest == 0
        await send(intake, Sender(epoch=7).frames(1))
        assert (await intake.append(record(), Stream.LOGS, b"", Sent())).newest == 7


async def test_an_epoch_that_was_left_is_known_beside_the_newest(rig):
    async with rig.intake() as intake:
        await send(intake, Sender(epoch=5).frames(2))
        await send(intake, Sender(epoch=9, boot=b"boot-two").frames(1))
        assert (await send(intake, Sender(epoch=5).frames(3))).next == 3
        assert (await intake.standing(record(), Stream.LOGS, 5)).next == 3
        newest = await intake.standing(record(), Stream.LOGS)
        assert (newest.epoch, newest.newest, newest.next) == (9, 9, 1)


async def test_epochs_without_end_are_not_remembered(rig):
    async with rig.intake() as intake:
        for epoch in range(10, 30):
            await send(intake, Sender(epoch=epoch).frames(1))
        with pytest.raises(StreamError, match=r"stream\.overlap"):
            await send(intake, Sender(epoch=10).frames(1))
        assert (await send(intake, Sender(epoch=29).frames(2))).next == 2


async def test_losses_are_counted_by_cause_and_what_is_known_is_told(rig):
    async with rig.intake() as intake:
        sender = Sender()
        await send(intake, sender.frames(1), now=NOW - 3.0, waiting=12)
        gap = make_gap(
            Cause.AGE, stream=Stream.LOGS, uid=UID, epoch=1, first=1, count=7, boot=b"boot-one", written=1,
            before=sender.before, tail=b"t" * 16,
        ).sign(lambda data: sign(KEY, data))  # fmt: skip
        assert (await send(intake, [gap], waiting=3)).next == 8
        known = intake.known("75" * 16)[Stream.LOGS]
        assert (known.stored, known.lost, known.waiting, known.skew) == (1, {"age": 7}, 3, -3.0)
        assert (known.epoch, known.received) == (1, NOW)
        assert intake.views()[3].lost == {"age": 7}
        await intake.forget("75" * 16)
        total = intake.totals()[Stream.LOGS]
        assert (total.stored, total.taken, total.dropped) == (0, 1, {"age": 7})


async def test_f_d12_a_skew_that_differs_by_the_way_alone_stays_and_order_with_it(rig):
    async with rig.intake() as intake:
        frames = Sender().frames(7)
        found = []
        for frame, skew in zip(frames, (5.0, 5.09, 4.1, 5.2, None, 3.9, -7200.0), strict=True):
            await send(intake, [frame], now=None if skew is None else NOW + skew)
            found.append(intake.known("75" * 16)[Stream.LOGS].skew)
        assert [round(skew, 3) for skew in found] == [5.0, 5.0, 5.0, 5.2, 5.2, 3.9, -7200.0]
        assert [entry.skew for entry in entries(intake)] == pytest.approx(found)


@pytest.mark.parametrize("now", [float("nan"), float("inf"), -1e300])
async def test_rel_4_a_clock_that_is_none_is_left_out(rig, now):
    async with rig.intake() as intake:
        await send(intake, Sender().frames(1), now=now)
        assert [entry.skew for entry in entries(intake)] == [None]


async def test_who_goes_away_meanwhile_stops_nobody(rig):
    async with rig.intake() as intake:
        frames = Sender().frames(2)
        first = asyncio.ensure_future(send(intake, frames[:1]))
        await asyncio.sleep(0)
        first.cancel()
        assert (await send(intake, frames[1:])).next in {0, 2}
        assert (await send(intake, frames)).next == 2
        assert set(offsets(intake).values()) == {1}


async def test_sec_10_an_agent_that_sends_more_than_it_may_is_to_wait(rig):
    async with rig.intake(bytes_per_second=5000.0) as intake:
        sender = Sender()
        who = record(b"v" * 16)
        for _ in range(4):
            await send(intake, [sender.frame(b"x" * 4900)])
        with pytest.raises(LinkError) as error:
            await send(intake, [sender.frame()])
        assert error.value.code == "link.busy"
        assert error.value.retry_after > 0
        refusal = intake.refusal(record(), Stream.LOGS)
        assert (refusal.status, refusal.retry_after > 0) == (503, True)
        assert (await intake.standing(record(), Stream.LOGS)).credit == 0
        assert intake.refusal(who, Stream.LOGS) is None
        rig.clock.time += 10.0
        assert intake.refusal(record(), Stream.LOGS) is None


async def test_f_d6_the_intake_shows_its_depth_and_how_far_readers_are(rig):
    async with rig.intake() as intake:
        intake.segments.register(Stream.LOGS, "tables", BEGINNING)
        waiting = asyncio.ensure_future(send(intake, Sender().frames(2, count=10)))
        await asyncio.sleep(0)
        rig.clock.time += 1.5
        view = intake.views()[3]
        assert (view.name, view.queued, view.oldest) == ("logs", 20, 1.5)
        assert view.queued_bytes > 400
        await waiting
        rig.clock.time += 8.5
        view = intake.views()[3]
        assert (view.queued, view.queued_bytes, view.stored, view.segments) == (0, 0, 20, 1)
        assert view.appended > 0
        (reader,) = view.readers
        assert (reader.name, reader.records, reader.bytes) == ("tables", 20, view.bytes)
        assert reader.seconds >= 8.5
        intake.segments.release(Stream.LOGS, "tables", intake.segments.end(Stream.LOGS))
        (reader,) = intake.views()[3].readers
        assert (reader.records, reader.bytes, reader.seconds) == (0, 0, 0.0)


async def test_a_reader_is_woken_once_something_is_durable(rig):
    async with rig.intake() as intake:
        waiting = asyncio.ensure_future(intake.segments.wait(Stream.LOGS, BEGINNING))
        await send(intake, Sender(stream=Stream.EVENTS).frames(1), stream=Stream.EVENTS)
        assert not waiting.done()
        await send(intake, Sender().frames(1))
        async with asyncio.timeout(30):
            await waiting
            await intake.segments.wait(Stream.LOGS, BEGINNING)


async def test_a_reader_takes_as_much_as_it_asks_for_and_goes_on_there(rig):
    async with rig.intake() as intake:
        frames = Sender().frames(30)
        await send(intake, frames)
        assert [entry.frame for entry in entries(intake, limit=1)] == frames
        assert len(intake.segments.read(Stream.LOGS, BEGINNING, limit=1)) == 1
        assert [entry.frame for entry in entries(intake, limit=frames[0].head.total * 4)] == frames


async def test_sec_10_small_frames_and_broken_ones_count_for_what_they_cost(rig):
    async with rig.intake(bytes_per_second=2.0 * COST) as intake:
        await send(intake, Sender().frames(9))
        with pytest.raises(LinkError, match=r"link\.busy"):
            await send(intake, Sender(stream=Stream.EVENTS).frames(1), stream=Stream.EVENTS)
        broken, who = b"PFr1" + bytes(9 * COST), record(b"v" * 16)
        with pytest.raises(StreamError, match=r"stream\.damaged"):
            await intake.append(who, Stream.LOGS, broken, Sent())
        assert intake.refusal(who, Stream.LOGS) is not None


async def test_an_epoch_that_is_not_known_is_told_so_that_an_agent_understands_it(rig):
    async with rig.intake() as intake:
        assert (await intake.standing(record(), Stream.LOGS)).epoch == 0
        await send(intake, Sender(epoch=3).frames(1))
        found = await intake.standing(record(), Stream.LOGS, 5)
        assert decode(encode(found), Stream.LOGS) == found
        assert (found.epoch, found.next) == (5, 0)


async def test_sec_10_epochs_without_end_leave_no_rows_and_nothing_to_remember(rig):
    async with rig.intake() as intake:
        for epoch in range(10, 30):
            await send(intake, Sender(epoch=epoch).frames(1))
            if epoch == 20:
                await intake._save()
        standings = intake._writer.parts[Stream.LOGS].standings
        assert (len(standings.changed), standings.dropped) == (8, {UID})
    rows = await rig.store.read(lambda tx: tx.stream_rows())
    assert [row.epoch for row in rows] == list(range(22, 30))
