"""The spools of an agent: durable once an append returns, shared turns of the disk, and a disk that takes nothing."""

import asyncio
import errno
import random
import subprocess
import sys
import threading

import pytest

from popham.agent.apply import in_thread
from popham.agent.streams.looking import describe_streams
from popham.agent.streams.spools import RESERVE, Spools
from popham.clock import SystemClock
from popham.errors import StreamError
from popham.streams.disk import SystemDisk
from popham.streams.frame import Cause, Stream
from popham.streams.limits import Limits
from popham.streams.packing import unpack
from popham.streams.standing import Standing
from popham.trust.keys import IdentityKey

UID = bytes(range(16))
KEY = IdentityKey.create()


class Disk(SystemDisk):
    """A disk that may be full, or slow, and counts how often it was asked to be durable."""

    def __init__(self):
        self.full, self.left, self.syncs = False, 10 * RESERVE, 0
        self.goes, self.reached = threading.Event(), threading.Event()
        self.goes.set()

    def stop(self):
        self.reached.clear()
        self.goes.clear()

    async def is_reached(self):
        assert await asyncio.to_thread(self.reached.wait, 30)

    def free(self, folder):
        return self.left

    def append(self, path, chunks, at):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().append(path, chunks, at)

    def sync(self, path):
        self.syncs += 1
        self.reached.set()
        assert self.goes.wait(30)
        super().sync(path)


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
async def spools(tmp_path, disk):
    made = make(tmp_path, disk)
    yield made
    await made.close()


def make(tmp_path, disk=None):
    return Spools(tmp_path / "streams", UID, SystemClock(), boot=b"bootboot", offload=in_thread, disk=disk)


async def payloads(spools, stream=Stream.LOGS):
    frames = await spools.read(stream, 0, limit=1 << 20, key=lambda: KEY)
    return [(frame.head.kind.name, unpack(frame)) for frame in frames]


async def test_an_append_returns_once_it_is_durable(spools, disk, tmp_path):
    disk.stop()
    appending = asyncio.ensure_future(spools.append(Stream.LOGS, b"one", 1))
    await disk.is_reached()
    assert not appending.done()
    assert spools.view(Stream.LOGS) is None
    disk.goes.set()
    await appending
    assert describe_streams(tmp_path / "streams", UID)["logs"]["waiting"] == 1


async def test_what_is_appended_while_the_disk_is_busy_shares_the_next_turn(spools, disk):
    await spools.append(Stream.LOGS, b"first", 1)
    before = disk.syncs
    disk.stop()
    appending = [asyncio.ensure_future(spools.append(Stream.LOGS, b"%d" % number, 1)) for number in range(50)]
    await disk.is_reached()
    later = [
        asyncio.ensure_future(spools.append(Stream.LOGS, b"%d" % number, 1)) for number in range(50, 100)
    ]
    await asyncio.sleep(0)
    disk.goes.set()
    await asyncio.gather(*appending, *later)
    assert disk.syncs <= before + 3
    found = await payloads(spools)
    assert found == [("RECORDS", b"first"), *(("RECORDS", b"%d" % number) for number in range(100))]


async def test_who_is_cancelled_waits_until_its_records_are_durable(spools, disk):
    disk.stop()
    appending = asyncio.ensure_future(spools.append(Stream.LOGS, b"one", 1))
    await disk.is_reached()
    appending.cancel()
    await asyncio.sleep(0)
    assert not appending.done()
    disk.goes.set()
    with pytest.raises(asyncio.CancelledError):
        await appending
    assert spools.view(Stream.LOGS).waiting == 1


async def test_f_d3_a_full_disk_is_an_error_of_whoever_appends_and_nothing_else(spools, disk):
    await spools.append(Stream.EVENTS, b"one", 1)
    disk.full = True
    with pytest.raises(StreamError) as caught:
        await spools.append(Stream.EVENTS, b"two", 1)
    assert caught.value.code == "stream.full"
    spools.lose(Stream.EVENTS, 1, Cause.DISK)
    disk.full = False
    await spools.append(Stream.EVENTS, b"three", 1)
    assert await payloads(spools, Stream.EVENTS) == [
        ("RECORDS", b"one"),
        ("GAP", b""),
        ("RECORDS", b"three"),
    ]
    assert spools.view(Stream.EVENTS).lost == {"disk": 1}


async def test_f_d3_metrics_and_logs_are_refused_before_events_and_the_summary(spools, disk):
    disk.left = RESERVE - 1
    for stream in (Stream.METRICS, Stream.LOGS):
        with pytest.raises(StreamError) as caught:
            await spools.append(stream, b"one", 1)
        assert caught.value.code == "stream.full"
        spools.lose(stream, 1, Cause.DISK)
    for stream in (Stream.EVENTS, Stream.SUMMARY):
        await spools.append(stream, b"one", 1)
    disk.left = RESERVE
    await spools.append(Stream.LOGS, b"two", 1)
    assert await payloads(spools) == [("GAP", b""), ("RECORDS", b"two")]


async def test_what_is_too_large_for_a_frame_spoils_nothing_beside_it(spools, disk):
    await spools.append(Stream.LOGS, b"one", 1)
    disk.stop()
    noise = random.Random(1).randbytes(1 << 20)
    found = asyncio.gather(
        *(spools.append(Stream.LOGS, payload, 1) for payload in (b"two", noise, b"three")),
        return_exceptions=True,
    )
    await asyncio.sleep(0)
    disk.goes.set()
    first, second, third = await found
    assert (first, second.code, third) == (None, "stream.large", None)
    assert [body for _, body in await payloads(spools)] == [b"one", b"two", b"three"]


async def test_f_d1_what_waits_is_found_again_by_the_next_process(tmp_path):
    first = make(tmp_path)
    await first.append(Stream.LOGS, b"one", 3)
    await first.close()
    second = make(tmp_path)
    await second.begin()
    view = second.view(Stream.LOGS)
    assert (view.waiting, view.next, view.lost) == (3, 3, {})
    assert second.view(Stream.EVENTS) is None
    assert second.describe()["logs"]["oldest"] > 0
    await second.close()
    assert describe_streams(tmp_path / "streams", UID) == second.describe()


async def test_f_d2_limits_hold_for_what_is_there_and_what_is_dropped_is_counted_by_cause(spools):
    for number in range(10):
        await spools.append(Stream.LOGS, b"%d" % number, 1)
    await spools.set_limits({Stream.LOGS: Limits(records=4)})
    assert spools.view(Stream.LOGS).lost == {"count": 6}
    await spools.append(Stream.LOGS, b"more", 1)
    view = spools.view(Stream.LOGS)
    assert (view.waiting, view.lost, view.next) == (4, {"count": 7}, 11)


async def test_frames_are_signed_by_the_key_that_is_in_use_when_they_are_read(spools):
    await spools.append(Stream.LOGS, b"one", 1)
    other = IdentityKey.create()
    (first,) = await spools.read(Stream.LOGS, 0, limit=100, key=lambda: KEY)
    (second,) = await spools.read(Stream.LOGS, 0, limit=100, key=lambda: other)
    assert first.head == second.head
    assert first.signature != second.signature


async def test_what_upstream_has_is_dropped(spools):
    await spools.append(Stream.LOGS, b"one", 2)
    await spools.append(Stream.LOGS, b"two", 2)
    (frame, _) = await spools.read(Stream.LOGS, 0, limit=1 << 20, key=lambda: KEY)
    epoch = frame.head.epoch
    said = Standing(stream=Stream.LOGS, epoch=epoch, newest=epoch, next=2, last=frame.head.tail)
    assert (await spools.heard(said)).first == 2
    assert (spools.view(Stream.LOGS).waiting, spools.describe()["logs"]["sent"]) == (2, 2)
    assert await spools.heard(Standing(stream=Stream.EVENTS)) is None


def test_an_agent_without_records_has_neither_folders_nor_what_compresses(tmp_path):
    script = f"""
import asyncio, sys
from pathlib import Path
from popham.agent.apply import in_thread
from popham.agent.streams.sending import Sending
from popham.agent.streams.spools import Spools
from popham.clock import SystemClock

async def main():
    spools = Spools(Path({str(tmp_path / "s")!r}), bytes(16), SystemClock(), boot=bytes(8), offload=in_thread)
    await spools.begin()
    await spools.enforce()
    await spools.close()

asyncio.run(main())
assert not [name for name in sys.modules if "zstd" in name or "streams.spool" == name[-13:]], sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)  # a program of this test
    assert not (tmp_path / "s").exists()
