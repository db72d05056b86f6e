"""A process that takes frames by hop is killed again and again: what it acknowledged is carried, once."""

import random

from tests.manager.intake.framing import Sender, join
from tests.manager.intake.killing import live
from tests.proxy.carrying_child import begin
from tests.proxy.streams_rig import heads

KILLS = 8
CHILD = "tests.proxy.carrying_child"


async def test_rel_1_what_a_proxy_acknowledged_by_hop_outlives_kills(tmp_path):
    rng = random.Random(7)
    (tmp_path / "frames").write_bytes(join(Sender().frames(2000)))
    acknowledged = 0
    for _ in range(KILLS):
        acknowledged = max(acknowledged, await live(CHILD, tmp_path, rng.randrange(1, 20)))
    intake = await begin(tmp_path)
    found = []
    while carried := intake.next_frames(1 << 20):
        found += [head.first for one in carried for head in heads(one.frames)]
    await intake.close()
    assert found == list(range(len(found)))
    assert acknowledged <= len(found) < 2000
