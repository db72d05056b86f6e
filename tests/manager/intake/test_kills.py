"""A process that takes appends is killed again and again: nothing acknowledged is lost, nothing is doubled."""

import random

from tests.manager.intake.framing import Sender, join
from tests.manager.intake.killing import live
from tests.manager.intake.rig import offsets, record

from popham.clock import SystemClock
from popham.manager.intake.intake import Intake
from popham.manager.intake.limits import Limits
from popham.store.memory import MemoryStore
from popham.streams.disk import SystemDisk
from popham.streams.frame import Stream

KILLS = 10
CHILD = "tests.manager.intake.child"


async def test_rel_1_nothing_acknowledged_is_lost_or_doubled_by_kills(tmp_path):
    rng = random.Random(7)
    frames = Sender().frames(2000)
    (tmp_path / "frames").write_bytes(join(frames))
    acknowledged = 0
    for _ in range(KILLS):
        acknowledged = max(acknowledged, await live(CHILD, tmp_path, rng.randrange(1, 20)))
    intake = Intake(
        tmp_path / "intake", MemoryStore(), SystemClock(), limits=Limits(reserve=0), draw=rng.random,
        disk=SystemDisk(),
    )  # fmt: skip
    await intake.load()
    found = offsets(intake)
    assert (await intake.standing(record(), Stream.LOGS)).next == len(found)
    await intake.close()
    assert set(found.values()) == {1}
    assert sorted(offset for _uid, _epoch, offset in found) == list(range(len(found)))
    assert acknowledged <= len(found) < 2000
