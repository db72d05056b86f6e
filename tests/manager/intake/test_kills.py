"""A process that takes appends is killed again and again: nothing acknowledged is lost, nothing is doubled."""

import asyncio
import random
import sys
from pathlib import Path

from tests.manager.intake.framing import KEY, Sender, join
from tests.manager.intake.rig import offsets, record

from popham.clock import SystemClock
from popham.manager.intake.intake import Intake
from popham.manager.intake.limits import Limits
from popham.store.memory import MemoryStore
from popham.streams.disk import SystemDisk
from popham.streams.frame import Stream

KILLS = 20
ROOT = Path(__file__).parents[3]


async def live(folder, lines):
    """Run the child until it has acknowledged ``lines`` appends, and kill it; returns the last it said."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.manager.intake.child", str(folder), KEY.public.der.hex(),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said = 0
    try:
        async with asyncio.timeout(30):
            for _ in range(lines):
                said = int(await child.stdout.readline())
    finally:
        child.kill()
        rest = (await child.communicate())[0]
    return max([said, *map(int, rest.split(b"\n")[:-1])])


async def test_rel_1_nothing_acknowledged_is_lost_or_doubled_by_kills(tmp_path):
    rng = random.Random(7)
    frames = Sender().frames(2000)
    (tmp_path / "frames").write_bytes(join(frames))
    acknowledged = 0
    for _ in range(KILLS):
        acknowledged = max(acknowledged, await live(tmp_path, rng.randrange(1, 20)))
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
