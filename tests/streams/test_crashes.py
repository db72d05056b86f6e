"""A process ends in any of its calls of the disk, or any of them fails: the next start finds what was durable."""

import errno

import pytest

from popham.errors import StreamError
from popham.streams.limits import Limits
from popham.testing.disk import EndedError

from .machine import Machine


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
        try:
            does(machine)
        except StreamError as caught:
            assert caught.code == "stream.full"
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


def test_rel_3_what_upstream_has_is_removed_from_a_disk_that_stays_full():
    machine = Machine()
    for _ in range(12):
        machine.spool.append(machine.rng.randbytes(200_000), 1)
        machine.spool.commit()
    machine.disk.left = 0
    sent = machine.spool.read(0, limit=1 << 30)
    assert len(sent) == 12
