"""A process ends in any of its calls of the disk, or any of them fails: the next start finds what was durable."""

import contextlib
import errno

import pytest

from popham.errors import StreamError
from popham.streams.frame import OFFSET_LIMIT, Stream
from popham.streams.kept import segment_name
from popham.streams.limits import Limits
from popham.streams.note import NAME
from popham.streams.packing import unpack
from popham.streams.spool import Spool
from popham.streams.standing import Standing
from popham.testing.disk import EndedError

from .machine import FOLDER, Machine


def work(machine):
    """Append, drop, send."""
    for _ in range(4):
        machine.write(2, 1)
        machine.send(limit=300)
    machine.write(1, 1)


def go_back(machine):
    """Begin a new epoch, because the directory was copied back."""
    machine.write(1, 1, 1)
    copy = machine.disk.copy()
    machine.write(1)
    machine.drain()
    machine.disk.restore(copy)
    machine.open()
    machine.write(1, 2)
    machine.drain()


def machine_for(call):
    machine = Machine(seed=call, limits=Limits(records=5))
    machine.disk.calls = 0
    return machine


@pytest.mark.parametrize("does", [work, go_back])
@pytest.mark.parametrize("powered", [True, False], ids=["killed", "power cut"])
def test_f_d1_rel_2_in_whichever_call_a_process_ends_nothing_durable_is_lost_uncounted(powered, does):
    call, reached = 0, True
    while reached:
        call, reached = call + 1, False
        machine = machine_for(call)
        machine.disk.ends_at = call
        try:
            does(machine)
        except EndedError:
            reached = True
        machine.disk.ends_at = 0
        if powered:
            machine.disk.kill()
        else:
            machine.disk.cut(machine.rng)
        machine.open()
        machine.write(1)
        machine.drain()
        machine.check()
        if does is work:
            machine.check_counts()
    assert call > 10


@pytest.mark.parametrize("does", [work, go_back])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
def test_rel_3_whichever_call_fails_nothing_durable_is_lost_uncounted(error, does):
    call, reached = 0, True
    while reached:
        call += 1
        machine = machine_for(call)
        machine.disk.fails_at, machine.disk.error = call, error
        with contextlib.suppress(StreamError):
            does(machine)
        reached = machine.disk.calls >= call
        machine.disk.fails_at = 0
        machine.disk.cut(machine.rng)
        machine.open()
        machine.write(1)
        machine.drain()
        machine.check()
        if does is work:
            machine.check_counts()
    assert call > 10


def test_rel_3_what_upstream_has_makes_room_on_a_disk_that_is_full():
    machine = Machine()
    for _ in range(12):
        machine.spool.append(machine.rng.randbytes(200_000), 1)
        machine.spool.commit()
    last = machine.spool.read(0, limit=1 << 30)[-1].head
    machine.disk.quota = machine.disk.used
    machine.spool.heard(
        Standing(stream=Stream.LOGS, epoch=last.epoch, newest=last.epoch, next=last.end, last=last.tail)
    )
    assert machine.disk.used < 1000
    machine.open()
    assert (machine.spool.first, machine.spool.next, machine.spool.lost) == (12, 12, {})


def test_rel_3_a_write_that_was_not_synced_is_not_found_by_the_next_start():
    machine = Machine()
    machine.write(1)
    machine.disk.calls, machine.disk.fails_at = 0, 2
    assert not machine.write(1, 1, 1)
    machine.disk.fails_at = 0
    machine.disk.kill()
    machine.open()
    assert machine.spool.next == 1


def test_rel_16_a_newest_segment_that_is_gone_is_counted():
    machine = Machine()
    machine.write(2, 1)
    machine.spool.close()
    machine.disk.remove(FOLDER / segment_name(0))
    machine.open()
    machine.write(1)
    machine.drain()
    machine.check()
    assert machine.lost == {"damaged": 3}


def test_rel_16_a_note_that_rots_is_not_believed():
    machine = Machine(limits=Limits(records=4))
    machine.write(2, 2)
    machine.send(limit=1)
    machine.write(2, 1)
    machine.spool.close()
    files, size = machine.disk.copy(), machine.disk.size(FOLDER / NAME)
    for at in range(size):
        machine.disk.restore(files)
        machine.disk.damage(FOLDER / NAME, at, 1)
        machine.open()
        found = machine.spool.read(0, limit=1 << 30)
        assert [unpack(one).decode() for one in found if not one.head.cause][-2:] == ["4 5", "6"]
    machine.drain()
    machine.check()


def test_records_of_an_agent_that_this_one_was_before_are_not_taken_for_its_own():
    machine = Machine()
    machine.write(2, 1)
    before = machine.spool.epoch
    machine.clock.elapsed += 1.0
    spool = Spool.open(
        FOLDER, Stream.LOGS, b"another agent's.", disk=machine.disk, clock=machine.clock, boot=b"bootboot"
    )
    assert (spool.first, spool.next, spool.waiting) == (0, 0, 0)
    assert spool.epoch > before


def test_an_epoch_that_nobody_can_go_beyond_is_not_believed():
    machine = Machine()
    machine.write(2)
    with pytest.raises(StreamError) as caught:
        machine.spool.heard(Standing(stream=Stream.LOGS, newest=OFFSET_LIMIT - 1))
    assert caught.value.code == "stream.overlap"
    machine.drain()
    machine.check()


def test_what_was_appended_and_not_committed_goes_on_in_a_new_epoch():
    machine = Machine()
    machine.write(1)
    machine.spool.append(b"1", 1)
    machine.spool.append(b"2", 1)
    assert machine.spool.heard(Standing(stream=Stream.LOGS, newest=machine.spool.epoch + 7)).forked
    machine.spool.commit()
    machine.open()
    machine.drain()
    assert sorted(machine.received) == [0, 1, 2]
