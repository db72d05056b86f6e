"""What was acknowledged is there after every crash, once; and what rotted or was deleted harms nothing else."""

import asyncio
import contextlib
from dataclasses import replace
from uuid import UUID

import pytest
from tests.manager.intake.framing import Sender
from tests.manager.intake.rig import FOLDER, NOW, UID, Rig, entries, offsets, record, send

from popham.errors import LinkError, StateError
from popham.manager.intake.intake import Intake
from popham.manager.intake.limits import Limits
from popham.manager.intake.position import BEGINNING, Position
from popham.manager.intake.stamp import encode_stamp
from popham.store.memory import MemoryStore
from popham.streams.frame import Stream

MIB = 1024**2
HOUR = 3600.0
LOGS = FOLDER / "logs"


@pytest.fixture
def rig():
    return Rig()


async def fill(intake, sender, number=3):
    """Bring frames, each for itself; returns them."""
    frames = sender.frames(number)
    for frame in frames:
        await send(intake, [frame])
    return frames


async def grow_old(rig, intake):
    """Have the newest segments sealed, and the cache know them."""
    rig.clock.time += 1.1 * HOUR
    await intake._tend()


@pytest.mark.parametrize("cached", [True, False])
async def test_rel_1_a_start_knows_all_that_was_acknowledged(rig, cached):
    sender = Sender()
    async with rig.intake() as intake:
        frames = await fill(intake, sender)
        await grow_old(rig, intake)
        frames += await fill(intake, sender)
        said = await intake.standing(record(), Stream.LOGS)
    if not cached:
        rig.store = MemoryStore()
    async with rig.intake() as intake:
        assert await intake.standing(record(), Stream.LOGS) == said
        assert [entry.frame for entry in entries(intake)] == frames
        assert intake.views()[3].stored == 6
        await fill(intake, sender)
        assert set(offsets(intake).values()) == {1}


async def test_rel_1_a_cache_that_is_behind_or_ahead_of_its_note_is_completed(rig):
    sender = Sender()
    intake = await rig.begin()
    await fill(intake, sender)
    await grow_old(rig, intake)
    await fill(intake, sender)
    # Rows of the new frames, and the note of before: as after a crash while the cache was written.
    row = intake._writer.parts[Stream.LOGS].standings.row(UID, 1, Position(9, 9))
    await rig.store.write(lambda tx: tx.put_streams([row]))
    await asyncio.to_thread(intake._worker.close)
    async with rig.intake() as intake:
        assert (await intake.standing(record(), Stream.LOGS)).next == 6
        assert intake.views()[3].stored == 6


@pytest.mark.parametrize("torn", [0, 1, 100, 300])
async def test_rel_1_nothing_acknowledged_is_lost_or_doubled_by_a_crash_at_any_call(torn):
    calls = 1
    while calls < 60:
        rig, acknowledged, sender = Rig(), 0, Sender()
        rig.disk.torn, rig.disk.fails = torn, calls
        frames = sender.frames(6)
        with contextlib.suppress(StateError):
            intake = await rig.begin()
            try:
                for number, frame in enumerate(frames, 1):
                    if number == 4:
                        await grow_old(rig, intake)
                    acknowledged = (await send(intake, [frame])).next
            finally:
                await asyncio.to_thread(intake._worker.close)
        rig.disk.crash()
        async with rig.intake() as intake:
            known = offsets(intake)
            assert set(known.values()) <= {1}
            assert len(known) >= acknowledged
            assert (await intake.standing(record(), Stream.LOGS)).next == len(known)
            assert (await send(intake, frames)).next == 6
            assert list(offsets(intake).values()) == [1] * 6
        if acknowledged == 6:
            return
        calls += 1
    pytest.fail("it never got through")


async def test_rel_1_the_intake_ends_when_the_disk_fails(rig):
    intake = await rig.begin()
    running = asyncio.ensure_future(intake.run())
    sender = Sender()
    await send(intake, sender.frames(1))
    rig.disk.fails = rig.disk.calls + 2
    with pytest.raises(StateError, match=r"state\.broken"):
        await send(intake, sender.frames(1))
    with pytest.raises(StateError, match=r"state\.broken"):
        async with asyncio.timeout(30):
            await running
    with pytest.raises(StateError, match=r"state\.broken"):
        await send(intake, sender.frames(1))
    await intake.close()


async def test_rel_3_a_full_disk_refuses_and_loses_nothing(rig):
    async with rig.intake(reserve=0) as intake:
        sender = Sender()
        frames = await fill(intake, sender)
        rig.disk.room = 100
        late = sender.frames(2)
        with pytest.raises(LinkError) as error:
            await send(intake, late)
        assert (error.value.code, error.value.retry_after > 0) == ("link.busy", True)
        assert intake.refusal(record(), Stream.EVENTS).status == 503
        assert (await intake.standing(record(), Stream.LOGS)).next == 3
        rig.disk.room = 1 << 40
        await intake._tend()
        assert (await send(intake, late)).next == 5
        assert [entry.frame for entry in entries(intake)] == frames + late
        assert intake.views()[3].refused["disk"] >= 1


async def test_rel_3_what_is_dear_is_taken_last_to_the_reserve(rig):
    async with rig.intake(reserve=64 * MIB) as intake:
        for left, taken in ((60, 4), (40, 3), (20, 2), (10, 1), (0, 0)):
            rig.disk.room = (64 + left) * MIB
            await intake._tend()
            welcome = [stream for stream in Stream if intake.refusal(record(), stream) is None]
            assert welcome == list(Stream)[:taken]


async def test_rel_3_over_its_bound_the_intake_refuses_and_deletes_nothing_that_was_not_read(rig):
    async with rig.intake(bytes=48 * MIB + 1000, keep=0.0) as intake:
        sender = Sender()
        await send(intake, [sender.frame(b"x" * 1000)])
        await grow_old(rig, intake)
        with pytest.raises(LinkError, match=r"link\.busy"):
            await send(intake, sender.frames(1))
        assert len(entries(intake)) == 1
        intake.segments.register(Stream.LOGS, "tables", BEGINNING)
        await intake._tend()
        assert len(entries(intake)) == 1
        intake.segments.release(Stream.LOGS, "tables", intake.segments.end(Stream.LOGS))
        await intake._tend()
        assert entries(intake) == []
        assert intake.refusal(record(), Stream.LOGS) is None


async def test_rel_3_what_was_read_goes_before_anything_is_refused_however_new_it_is(rig):
    async with rig.intake(bytes=400 * MIB, keep=10 * HOUR) as intake:
        intake.segments.register(Stream.LOGS, "tables", BEGINNING)
        await fill(intake, Sender())
        await grow_old(rig, intake)
        intake.segments.release(Stream.LOGS, "tables", intake.segments.end(Stream.LOGS))
        await fill(intake, Sender(epoch=2))
        await grow_old(rig, intake)
        assert len(entries(intake)) == 6
        rig.disk.room = 100 * MIB
        await intake._tend()
        assert {epoch for _uid, epoch, _offset in offsets(intake)} == {2}


@pytest.mark.parametrize("sealed", [True, False])
async def test_rel_1_a_reader_that_is_ahead_of_what_is_there_reads_what_comes(rig, sealed):
    intake = await rig.begin()
    await fill(intake, Sender())
    if sealed:
        await grow_old(rig, intake)
        await fill(intake, Sender(epoch=2))
    else:
        await intake._save()
        await fill(intake, Sender(epoch=2))
    end = intake.segments.end(Stream.LOGS)
    await asyncio.to_thread(intake._worker.close)
    # As after a restore: the database is a backup's, and the segments are not in it.
    rig.disk.files.clear()
    async with rig.intake() as intake:
        frames = await fill(intake, Sender(epoch=3), 6)
        assert [entry.frame for entry in entries(intake, after=end)] == frames
    async with rig.intake() as intake:
        frames += await fill(intake, Sender(epoch=4), 1)
        assert [entry.frame for entry in entries(intake, after=end)] == frames


async def test_rel_16_what_comes_after_a_tail_that_rotted_is_read(rig):
    intake = await rig.begin()
    await fill(intake, Sender())
    end = intake.segments.end(Stream.LOGS)
    await asyncio.to_thread(intake._worker.close)
    (file,) = [file for path, file in rig.disk.files.items() if path.parent == LOGS]
    file.data = file.durable = file.data[:-3] + b"???"
    async with rig.intake() as intake:
        frames = await fill(intake, Sender(epoch=2), 3)
        assert [entry.frame for entry in entries(intake, after=end)] == frames


async def test_segments_are_kept_for_a_while_after_all_readers_have_read_them(rig):
    async with rig.intake(keep=10 * HOUR) as intake:
        sender = Sender()
        await fill(intake, sender)
        await grow_old(rig, intake)
        await fill(intake, sender)
        await grow_old(rig, intake)
        for reader in ("one", "two"):
            intake.segments.register(Stream.LOGS, reader, BEGINNING)
        rig.clock.time += 20 * HOUR
        intake.segments.release(Stream.LOGS, "one", Position(3, 0))
        intake.segments.release(Stream.LOGS, "two", Position(2, 0))
        await intake._tend()
        assert {number for _uid, _epoch, number in offsets(intake)} == {3, 4, 5}
    async with rig.intake() as intake:
        assert (await intake.standing(record(), Stream.LOGS)).next == 6
    # Without the cache, it begins where what is left begins.
    rig.store = MemoryStore()
    async with rig.intake() as intake:
        assert (await intake.standing(record(), Stream.LOGS)).next == 6


@pytest.mark.parametrize("restarted", [True, False])
async def test_rel_16_what_rotted_is_stepped_over_and_counted(rig, restarted):
    sender = Sender()
    intake = await rig.begin()
    frames = await fill(intake, sender, 5)
    (file,) = [file for path, file in rig.disk.files.items() if path.parent == LOGS]
    at = file.data.index(frames[2].head.digest)
    file.data = file.durable = file.data[:at] + b"\xff" + file.data[at + 1 :]
    if restarted:
        rig.store = MemoryStore()
        await asyncio.to_thread(intake._worker.close)
        intake = await rig.begin()
    found = entries(intake)
    assert [entry.frame for entry in found] == frames[:2] + frames[3:]
    assert entries(intake) == found
    assert intake.views()[3].damaged == 1
    await intake.close()


async def test_rel_16_a_reader_does_not_wait_for_what_rotted_at_the_end(rig):
    async with rig.intake() as intake:
        sender = Sender()
        frames = await fill(intake, sender)
        (file,) = [file for path, file in rig.disk.files.items() if path.parent == LOGS]
        file.data = file.durable = file.data[:-3] + b"???"
        found = entries(intake)
        assert [entry.frame for entry in found] == frames[:2]
        after = found[-1].position_after
        waiting = asyncio.ensure_future(intake.segments.wait(Stream.LOGS, after))
        await asyncio.sleep(0)
        assert not waiting.done()
        new = await fill(intake, sender, 1)
        async with asyncio.timeout(30):
            await waiting
        assert [entry.frame for entry in entries(intake, after=after)] == new


async def test_a_segment_that_is_full_is_sealed_and_the_next_one_begun(rig, monkeypatch):
    monkeypatch.setattr("popham.manager.intake.shelf.SEGMENT", 1000)
    async with rig.intake() as intake:
        frames = await fill(intake, Sender(), 20)
        assert intake.views()[3].segments > 3
        assert [entry.frame for entry in entries(intake)] == frames
        await intake._tend()
        assert (await rig.store.read(lambda tx: tx.stream_rows()))[0].epoch == 1


async def test_who_is_forgotten_is_so_after_a_start_too(rig):
    other = b"v" * 16
    async with rig.intake() as intake:
        await fill(intake, Sender())
        await send(intake, Sender(uid=other).frames(2), who=record(other))
        await intake.forget("75" * 16)
        assert intake.known("75" * 16) == {}
        assert intake.views()[3].stored == 2
    async with rig.intake() as intake:
        assert intake.known("75" * 16) == {}
        assert (await intake.standing(record(other), Stream.LOGS)).next == 2


async def test_an_intake_that_never_began_can_be_closed(rig):
    intake = Intake(FOLDER, rig.store, rig.clock, limits=Limits(), draw=lambda: 0.5, disk=rig.disk)
    await intake.close()
    await intake.close()


async def test_a_cache_that_cannot_be_read_is_said(rig):
    async with rig.intake() as intake:
        await fill(intake, Sender())
    (row,) = await rig.store.read(lambda tx: tx.stream_rows())
    await rig.store.write(lambda tx: tx.put_stream(replace(row, body="{}")))
    with pytest.raises(StateError, match=r"state\.corrupt"):
        await rig.begin()


async def test_a_note_is_dated_by_nothing_but_positions(rig):
    async with rig.intake() as intake:
        await fill(intake, Sender())
    rig.clock.time = NOW - 10 * 86_400
    async with rig.intake() as intake:
        assert (await intake.standing(record(), Stream.LOGS)).next == 3


def lie(sender, mark=b"PFr1PFr1"):
    """Return a payload of what looks like frames of another agent, as they stand in a segment."""
    inner = encode_stamp(mark, NOW, None) + Sender(uid=b"v" * 16).frame(b"a lie").encode()
    return inner * 1500 + b"%d" % sender.next


async def test_sec_29_frames_in_a_payload_are_none_wherever_a_reader_begins_and_ends(rig):
    async with rig.intake() as intake:
        sender = Sender()
        frames = [sender.frame(lie(sender)) for _ in range(6)]
        for frame in frames:
            await send(intake, [frame])
        for limit in (1, 1 << 20, 3 << 20):
            assert [entry.frame.head for entry in entries(intake, limit=limit)] == [
                one.head for one in frames
            ]
        assert intake.views()[3].damaged == 0


@pytest.mark.parametrize("torn", [100, 150, 100_000])
async def test_sec_29_frames_in_a_payload_are_none_where_a_crash_tore_it_or_it_rotted(rig, torn):
    intake = await rig.begin()
    sender = Sender()
    frames = await fill(intake, sender, 1)
    frames.append(sender.frame(lie(sender)))
    await send(intake, frames[1:])
    frames += await fill(intake, sender, 1)
    (file,) = [file for path, file in rig.disk.files.items() if path.parent == LOGS]
    at = file.data.index(frames[1].head.digest)
    file.data = file.durable = file.data[:at] + b"\xff" + file.data[at + 1 :]
    rig.disk.torn, rig.disk.fails = torn, rig.disk.calls + 2
    with pytest.raises(StateError):
        await send(intake, [sender.frame(lie(sender))])
    await asyncio.to_thread(intake._worker.close)
    rig.disk.crash()
    rig.store = MemoryStore()
    async with rig.intake() as intake:
        assert [entry.frame.head for entry in entries(intake)] == [frames[0].head, frames[2].head]
        assert intake.known(UUID(bytes=b"v" * 16).hex) == {}


async def test_rel_1_a_segment_that_begins_with_zeros_after_a_power_cut_is_begun_anew(rig):
    intake = await rig.begin()
    await intake.close()
    path = LOGS / "0000000000000001.seg"
    rig.disk.append(path, [bytes(500) + lie(Sender(), bytes(8))], 0)
    rig.disk.sync(path)
    async with rig.intake() as intake:
        frames = await fill(intake, Sender())
        assert [entry.frame for entry in entries(intake)] == frames
    rig.store = MemoryStore()
    async with rig.intake() as intake:
        assert [entry.frame for entry in entries(intake)] == frames


async def test_the_thread_ends_where_the_cache_cannot_be_written_at_the_end(rig, monkeypatch):
    async def fail(_work):
        raise StateError("broken", "the database is gone")

    intake = await rig.begin()
    await fill(intake, Sender())
    monkeypatch.setattr(rig.store, "write", fail)
    with pytest.raises(StateError):
        await intake.close()
    assert not intake._worker.is_running
