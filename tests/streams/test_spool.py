"""The spool: limits, full disks, ages, other histories, and what a start finds."""

import errno
from dataclasses import replace

import pytest

from popham.errors import StreamError
from popham.streams.backlog import GAPS
from popham.streams.frame import START, Cause, Stream
from popham.streams.limits import Limits
from popham.streams.packing import unpack
from popham.streams.standing import Standing

from .machine import FOLDER, Machine


@pytest.fixture
def machine():
    return Machine()


def texts(machine):
    frames = machine.spool.read(0, limit=1 << 30)
    return [
        unpack(one).decode() if one.head.cause is None else (str(one.head.cause), one.head.count)
        for one in frames
    ]


def proxy_standing(machine, end):
    """Return the word of somebody who has what ends there."""
    frames = machine.spool.read(0, limit=1 << 30)
    last = next(frame.head.tail for frame in frames if frame.head.end == end)
    epoch = machine.spool.epoch
    return Standing(stream=Stream.LOGS, epoch=epoch, newest=epoch, next=end, last=last)


def test_f_d1_what_is_durable_is_there_after_a_power_cut(machine):
    machine.write(2, 1)
    machine.write(1)
    machine.disk.cut(machine.rng)
    machine.open()
    assert texts(machine) == ["0 1", "2", "3"]
    assert (machine.spool.first, machine.spool.next, machine.spool.waiting) == (0, 4, 4)


@pytest.mark.parametrize(
    ("limits", "cause"),
    [(Limits(records=3), Cause.COUNT), (Limits(bytes=700), Cause.BYTES), (Limits(age=70.0), Cause.AGE)],
    ids=lambda value: str(value) if isinstance(value, Cause) else "",
)
def test_f_d2_the_oldest_go_first_and_are_counted_by_cause(limits, cause):
    machine = Machine(limits=limits)
    for _ in range(6):
        machine.write(1)
        machine.clock.elapsed += 20.0
        machine.spool.enforce()
    assert texts(machine) == [(str(cause), 3), "3", "4", "5"]
    assert machine.spool.lost == {cause: 3}
    machine.drain()
    machine.check()
    assert machine.lost == {str(cause): 3}
    machine.spool.close()
    machine.open()
    assert machine.spool.lost == {cause: 3}


def test_f_d2_what_was_appended_last_is_kept_however_much_it_is():
    machine = Machine(limits=Limits(records=3))
    machine.write(2)
    machine.write(9)
    assert texts(machine) == [("count", 2), "2 3 4 5 6 7 8 9 10"]


def test_f_d3_a_full_disk_refuses_and_changes_nothing(machine):
    machine.write(2)
    machine.disk.left = 10
    assert not machine.write(1, 1)
    assert machine.spool.next == 2
    machine.spool.lose(2, Cause.DISK)
    with pytest.raises(StreamError) as caught:
        machine.spool.commit()
    assert caught.value.code == "stream.full"
    machine.disk.left = None
    machine.write(1)
    assert texts(machine) == ["0 1", ("disk", 2), "4"]
    assert machine.spool.lost == {Cause.DISK: 2}


def test_rel_3_whichever_call_fails_the_next_start_finds_everything_that_was_durable():
    calls = 1
    while True:
        machine = Machine(limits=Limits(records=12))
        machine.disk.calls, machine.disk.fails_at = 0, calls
        machine.disk.error = errno.ENOSPC if calls % 2 else errno.EIO
        for _ in range(6):
            machine.write(2, 1)
            machine.send(limit=300)
        reached = machine.disk.calls >= calls
        machine.disk.cut(machine.rng)
        machine.open()
        machine.drain()
        machine.check()
        if not reached:
            break
        calls += 1
    assert calls > 10


def test_rel_4_a_clock_that_jumps_drops_nothing(machine):
    machine.limits = Limits(age=3 * 3600.0)
    for jump in (10 * 365 * 86400.0, -10 * 365 * 86400.0, 0.0):
        machine.write(1)
        machine.clock.offset += jump
        machine.open()
    assert texts(machine) == ["0", "1", "2"]


def test_rel_4_age_goes_on_counting_after_a_start_by_an_hour_at_most_between_two_frames(machine):
    for _ in range(5):
        machine.write(1)
        machine.clock.elapsed += 3000.0
    machine.clock.elapsed += 1e6
    machine.write(1)
    machine.limits = Limits(age=10_000.0)
    machine.open()
    assert texts(machine) == [("age", 2), "2", "3", "4", "5"]


def test_rel_16_a_byte_that_rots_is_set_aside_and_its_neighbours_arrive(machine):
    for _ in range(5):
        machine.write(2)
    (name,) = [name for name in machine.disk.names(FOLDER) if name.endswith(".seg")]
    for at in range(0, machine.disk.size(FOLDER / name), 37):
        other = Machine()
        other.disk.restore(machine.disk.copy())
        other.durable, other.number = list(machine.durable), machine.number
        other.disk.damage(FOLDER / name, at, 0x40)
        other.open()
        other.drain()
        assert all(times == 1 for times in other.received.values())
        assert sum(other.received.values()) >= 8
        last = at >= other.disk.size(FOLDER / name) or sum(other.received.values()) == 10
        assert sum(other.received.values()) + sum(other.lost.values()) == 10 or last
    assert any(name.endswith(".damaged") for name in other.disk.names(FOLDER)) or last


def test_a_directory_copied_back_begins_a_new_epoch_and_nothing_is_doubled(machine):
    machine.write(2, 2)
    machine.drain()
    copy = machine.disk.copy()
    machine.write(1)
    machine.drain()
    before = machine.spool.epoch
    machine.disk.restore(copy)
    machine.open()
    machine.write(1, 1, 1)
    machine.drain()
    assert machine.spool.epoch > before
    assert sorted(machine.received) == list(range(8))
    machine.check()


def test_a_copy_that_went_on_alone_past_the_point_is_found_by_its_tail(machine):
    machine.write(2)
    copy = machine.disk.copy()
    machine.write(1)
    machine.drain()
    machine.disk.restore(copy)
    machine.open()
    machine.write(1, 1)
    assert machine.spool.next > machine.standing().next
    machine.drain()
    assert sorted(machine.received) == [0, 1, 2, 3, 4]
    machine.check()


def test_a_gap_of_another_history_is_not_taken_for_what_upstream_has(machine):
    copy = machine.disk.copy()
    machine.write(1, 1, 2)
    machine.drain()
    machine.disk.restore(copy)
    machine.open()
    machine.write(2)
    for count in (1, 2):
        machine.spool.lose(count, Cause.DISK)
        machine.spool.commit()
    machine.drain()
    assert sorted(machine.received) == [0, 1, 2, 3, 4, 5]
    assert machine.lost == {"disk": 3}


def test_a_lost_directory_begins_above_the_epoch_of_before(machine):
    machine.write(3)
    machine.drain()
    before = machine.spool.epoch
    machine.disk.restore({})
    machine.clock.offset -= 1e6
    machine.open()
    machine.write(2)
    machine.drain()
    assert machine.spool.epoch > before
    assert sum(machine.received.values()) == 5


def test_an_upstream_that_lost_what_it_had_is_told_of_the_gap(machine):
    machine.write(2, 1)
    machine.drain()
    machine.write(1)
    machine.epochs.clear()
    machine.received.clear()
    machine.drain()
    assert sorted(machine.received) == [3]
    assert machine.lost == {"damaged": 3}


@pytest.mark.parametrize("restarts", [False, True])
def test_rel_7_what_a_proxy_took_is_no_loss_where_the_stream_goes_on_elsewhere(machine, restarts):
    """It may be on its way; so the Manager hears of what comes after it, and no gap stands for it."""
    machine.write(2)
    machine.drain()
    machine.write(3, 1)
    by_proxy = replace(proxy_standing(machine, 5), above=2)
    assert machine.spool.heard(by_proxy).first == 5
    if restarts:
        machine.spool.close()
        machine.open()
    before = machine.standing()
    assert before.next == 2
    assert machine.spool.heard(before).first == 5
    assert texts(machine) == ["5"]
    assert not machine.lost


def test_rel_7_beyond_what_a_proxy_lost_the_stream_goes_on_and_keeps_nothing(machine):
    """Its disk is gone: the hole stays one that everybody sees, and what comes after it is not kept for ever."""
    machine.write(2)
    machine.drain()
    machine.write(3, 1)
    machine.spool.heard(replace(proxy_standing(machine, 5), above=2))
    for _ in range(2):
        machine.drain()
        machine.spool.heard(machine.standing())
        assert (machine.spool.first, machine.spool.waiting) == (machine.spool.next, 0)
        machine.write(1)
    machine.drain()
    (beyond,) = machine.standing().ranges
    assert (machine.standing().next, beyond.first, beyond.end) == (2, 5, 8)
    assert not machine.lost


def test_rel_7_what_the_manager_lost_itself_is_a_loss_once_the_proxy_has_brought_what_it_took(machine):
    """A gap up to here would stand for what is on its way, too, and that would not be taken any more."""
    machine.write(2)
    machine.drain()
    machine.write(3, 1)
    carried = [one for one in machine.spool.read(0, limit=1 << 30) if one.head.end <= 5]
    machine.spool.heard(replace(proxy_standing(machine, 5), above=2))
    machine.epochs.clear()
    machine.received.clear()
    machine.drain()
    assert (machine.standing().next, machine.standing().ranges[0].first, machine.lost) == (0, 5, {})
    machine.deliver(carried)
    machine.drain()
    assert sorted(machine.received) == [2, 3, 4, 5]
    assert (machine.standing().next, machine.lost) == (6, {"damaged": 2})


def test_rel_7_a_proxy_that_knows_less_than_the_manager_makes_no_loss_of_what_another_one_took(machine):
    """At one proxy, at the Manager, at a second proxy, and back at the first before that heard of any of it."""
    machine.write(1)
    former = proxy_standing(machine, 1)
    machine.write(1)
    machine.drain()
    machine.write(3, 1)
    carried = [one for one in machine.spool.read(0, limit=1 << 30) if one.head.end <= 5]
    machine.spool.heard(replace(proxy_standing(machine, 5), above=2))
    assert machine.spool.heard(former).first == 5
    assert texts(machine) == ["5"]
    machine.drain()
    machine.deliver(carried)
    assert (sorted(machine.received), machine.standing().next, machine.lost) == ([*range(6)], 6, {})


def test_what_a_proxy_took_is_the_managers_once_it_has_it(machine):
    machine.write(2, 1)
    machine.spool.heard(replace(proxy_standing(machine, 2), above=0))
    machine.spool.heard(proxy_standing(machine, 3))
    none = Standing(stream=Stream.LOGS, epoch=machine.spool.epoch, newest=machine.spool.epoch)
    machine.spool.heard(none)
    assert texts(machine) == [("damaged", 3)]


def test_a_late_word_about_another_epoch_changes_nothing(machine):
    machine.write(2)
    machine.drain()
    late = Standing(stream=Stream.LOGS, epoch=machine.spool.epoch - 1, newest=machine.spool.epoch, next=1)
    assert machine.spool.heard(late).first == 2
    assert texts(machine) == []


def test_what_upstream_has_is_deleted_from_the_disk(machine):
    for _ in range(12):
        machine.spool.append(machine.rng.randbytes(200_000), 1)
        machine.spool.commit()
    assert len(machine.disk.names(FOLDER)) > 2
    head = machine.spool.read(0, limit=1 << 30)[-1].head
    machine.spool.heard(
        Standing(stream=Stream.LOGS, epoch=head.epoch, newest=head.epoch, next=head.end, last=head.tail)
    )
    assert machine.disk.names(FOLDER) == ["note.json"]
    machine.open()
    assert (machine.spool.first, machine.spool.next) == (12, 12)
    machine.spool.append(b"x", 1)
    machine.spool.commit()
    machine.open()
    assert [frame.head.before for frame in machine.spool.read(12, limit=1)] == [head.tail]


def test_reading_has_whole_frames_and_always_one(machine):
    machine.write(2, 2, 2)
    assert [one.head.first for one in machine.spool.read(0, limit=1)] == [0]
    assert [one.head.first for one in machine.spool.read(3, limit=1)] == [2]
    assert machine.spool.read(6, limit=1) == []
    assert machine.spool.read(0, limit=1 << 20)[0].head.before == START


def test_rel_16_the_end_of_a_segment_that_is_not_the_newest_is_damaged_and_not_torn(machine):
    for _ in range(9):
        machine.spool.append(machine.rng.randbytes(200_000), 1)
        machine.spool.commit()
    first = machine.disk.names(FOLDER)[0]
    machine.disk.truncate(FOLDER / first, machine.disk.size(FOLDER / first) - 10)
    machine.open()
    found = [(str(one.head.cause or ""), one.head.count) for one in machine.spool.read(0, limit=1 << 30)]
    assert found == [("", 1)] * 5 + [("damaged", 1)] + [("", 1)] * 3
    assert [name for name in machine.disk.names(FOLDER) if name.endswith(".damaged")]


def test_f_d2_gaps_of_many_causes_are_joined_before_there_are_too_many(machine):
    for _ in range(3 * GAPS):
        machine.open()
        machine.write(1)
    machine.spool.set_limits(Limits(records=1))
    found = texts(machine)
    assert found[-1] == str(3 * GAPS - 1)
    assert sum(count for _cause, count in found[:-1]) == 3 * GAPS - 1
    assert len(found) <= GAPS + 1
    machine.drain()
    machine.check()


def test_rel_3_losses_between_records_keep_nothing_on_the_disk_that_was_dropped(monkeypatch):
    monkeypatch.setattr("popham.streams.files.SEGMENT", 2000)
    machine = Machine(limits=Limits(records=20))
    for number in range(300):
        machine.spool.lose(1, (Cause.DISK, Cause.UPLOAD)[number % 2])
        machine.write(1)
    assert sum(name.endswith(".seg") for name in machine.disk.names(FOLDER)) < 12
    assert len(machine.spool.read(0, limit=1 << 30)) < 2 * 20 + 2 * GAPS
    machine.spool.close()
    machine.open()
    assert machine.spool.lost == {Cause.DISK: 150, Cause.UPLOAD: 150, Cause.COUNT: 280}
    machine.drain()
    assert sum(machine.lost.values()) == 580
    assert machine.spool.waiting == 0


@pytest.mark.parametrize("starts", [True, False], ids=["at a start", "while sending"])
def test_rel_16_what_the_disk_does_not_give_back_is_counted_and_its_neighbours_arrive(machine, starts):
    for _ in range(5):
        machine.spool.append(machine.rng.randbytes(8000), 2)
        machine.spool.commit()
    (name,) = [name for name in machine.disk.names(FOLDER) if name.endswith(".seg")]
    machine.disk.unreadable.add((FOLDER / name, 21_000))
    if starts:
        machine.open()
    found = [(str(one.head.cause or ""), one.head.first) for one in machine.spool.read(0, limit=1 << 30)]
    assert found == [("", 0), ("", 2), ("damaged", 4), ("", 6), ("", 8)]
    assert machine.spool.lost == {Cause.DAMAGED: 2}
