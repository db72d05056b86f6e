"""Whatever happens to disk, wire and processes: nothing acknowledged is lost uncounted, nothing is there twice."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from popham.streams.frame import Cause
from popham.streams.limits import Limits
from popham.streams.note import NAME

from .machine import FOLDER, Machine

COUNTS = st.lists(st.integers(1, 5), min_size=1, max_size=3)


class SpoolAndReceiver(RuleBasedStateMachine):
    """Commits, kills, power cuts, full disks, copies from earlier, and a wire that loses, repeats and reorders."""

    def __init__(self):
        super().__init__()
        self.machine = Machine(limits=Limits(records=40))
        self.copy = None
        self.late = []

    @rule(counts=COUNTS)
    def write(self, counts):
        self.machine.write(*counts)

    @rule(counts=COUNTS)
    def write_on_a_full_disk(self, counts):
        self.machine.disk.left = 0
        self.machine.write(*counts)
        self.machine.disk.left = None

    @rule(count=st.integers(1, 3))
    def lose(self, count):
        self.machine.spool.lose(count, Cause.DISK)
        self.machine.disowned += count
        self.machine.spool.commit()

    @rule(nth=st.integers(1, 4), counts=COUNTS)
    def a_call_fails(self, nth, counts):
        disk = self.machine.disk
        disk.calls, disk.fails_at = 0, nth
        self.machine.write(*counts)
        disk.fails_at = 0

    @rule()
    def kill(self):
        self.machine.disk.kill()
        self.machine.open()

    @rule(seed=st.integers(0, 1000))
    def cut_the_power(self, seed):
        self.machine.rng.seed(seed)
        self.machine.disk.cut(self.machine.rng)
        self.machine.open()

    @rule(limit=st.sampled_from([1, 400, 1 << 20]), answered=st.booleans())
    def send(self, limit, answered):
        self.machine.send(limit=limit, answer=answered)

    @rule(data=st.data())
    def send_some_and_the_rest_later(self, data):
        # Nobody sends before being told how far upstream is.
        begin = self.machine.spool.heard(self.machine.standing(self.machine.spool.epoch)).first
        frames = self.machine.spool.read(begin, limit=1 << 20)
        if not frames:
            return
        chosen = data.draw(st.permutations(range(len(frames))))[:3]
        self.late = [frames[number] for number in chosen]
        for frame in self.late:
            standing = self.machine.deliver([frame])
            if standing.refused:
                self.machine.spool.heard(standing)
                break

    @precondition(lambda self: self.late)
    @rule()
    def repeat(self):
        known = [frame for frame in self.late if frame.head.epoch == self.machine.spool.epoch]
        for frame in known:
            self.machine.deliver([frame])

    @rule()
    def keep_a_copy(self):
        self.copy = self.machine.disk.copy(), self.machine.spool.epoch, set(self.machine.durable)

    # What went over to a new epoch since the copy was made may be there twice: docs/explanation/data.md says so.
    @precondition(lambda self: self.copy and self.copy[1] == self.machine.spool.epoch)
    @rule(counts=COUNTS)
    def copy_it_back_and_go_on(self, counts):
        """What was written since, and not sent, is gone with the directory: nobody can count that."""
        files, _, durable = self.copy
        machine = self.machine
        gone = set(machine.durable) - durable
        machine.durable = [one for one in machine.durable if one not in gone or machine.received[one]]
        machine.maybe |= gone
        machine.disk.restore(files)
        machine.copied = True
        machine.open()
        self.copy, self.late = None, []
        machine.write(*counts)

    @rule(seed=st.integers(0, 1000))
    def a_byte_rots(self, seed):
        machine = self.machine
        machine.rng.seed(seed)
        names = [name for name in machine.disk.names(FOLDER) if name.endswith(".seg")]
        sizes = [(name, machine.disk.size(FOLDER / name)) for name in names]
        # What rots at the very end cannot be told from a write that was cut off.
        found = [(name, size - 1000) for name, size in sizes if size > 1000]
        if found:
            name, size = machine.rng.choice(found)
            machine.disk.damage(FOLDER / name, machine.rng.randrange(size), machine.rng.randint(1, 255))

    @rule(at=st.integers(0, 300))
    def the_note_rots(self, at):
        disk, path = self.machine.disk, FOLDER / NAME
        if NAME in disk.names(FOLDER):
            disk.damage(path, at % disk.size(path), 1)

    @rule(seconds=st.sampled_from([-1e9, -3600.0, 3600.0, 1e9]))
    def the_clock_jumps(self, seconds):
        self.machine.clock.offset = max(self.machine.clock.offset + seconds, -1.7e9)

    @rule()
    def look(self):
        """Frames are in a row, each names the one before, and what is said of them is true."""
        spool = self.machine.spool
        frames = spool.read(spool.first, limit=1 << 30)
        assert all(one.head.end == two.head.first for one, two in pairwise(frames))
        assert all(one.head.tail == two.head.before for one, two in pairwise(frames))
        assert [spool.first, spool.next] == (
            [frames[0].head.first, frames[-1].head.end] if frames else [spool.next] * 2
        )
        records = [one.head for one in frames if one.head.cause is None]
        assert spool.waiting == sum(head.count for head in records)
        assert spool.size == sum(head.total for head in records)

    @invariant()
    def nothing_is_doubled(self):
        assert all(times == 1 for times in self.machine.received.values())

    def teardown(self):
        self.machine.drain()
        self.machine.check()
        assert self.machine.spool.waiting == 0
        assert all(path.parent == FOLDER for path in self.machine.disk.copy())


TestSpoolAndReceiver = pytest.mark.timeout(120)(SpoolAndReceiver.TestCase)
TestSpoolAndReceiver.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
