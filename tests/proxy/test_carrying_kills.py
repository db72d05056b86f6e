"""A process that takes frames by hop is killed again and again: what it acknowledged is carried, once."""

import asyncio
import random
import sys
from pathlib import Path

from tests.manager.intake.framing import KEY, Sender, join
from tests.proxy.carrying_child import begin
from tests.proxy.streams_rig import heads

KILLS = 8
ROOT = Path(__file__).parents[2]


async def live(folder, lines):
    """Run the child until it has acknowledged ``lines`` appends, and kill it; returns the last it said."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.proxy.carrying_child", str(folder), KEY.public.der.hex(),
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


async def test_rel_1_what_a_proxy_acknowledged_by_hop_outlives_kills(tmp_path):
    rng = random.Random(7)
    (tmp_path / "frames").write_bytes(join(Sender().frames(2000)))
    acknowledged = 0
    for _ in range(KILLS):
        acknowledged = max(acknowledged, await live(tmp_path, rng.randrange(1, 20)))
    intake = await begin(tmp_path)
    found = []
    while carried := intake.next_frames(1 << 20):
        found += [head.first for one in carried for head in heads(one.frames)]
    await intake.close()
    assert found == list(range(len(found)))
    assert acknowledged <= len(found) < 2000
