"""Frames of agents on their way through an evil proxy: whatever becomes of them is refused, or is seen to lack."""

import random
import uuid

import pytest
from tests.manager.intake.framing import Sender
from tests.manager.intake.rig import entries

from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.streams.frame import Stream

from .blows import alter_frames
from .fleet import EvilFleet

NUMBER = 6


@pytest.mark.parametrize("seed", range(4))
async def test_sec_29_what_is_dropped_altered_repeated_or_exchanged_is_refused_or_seen_every_time(keys, seed):
    rig, rng = await EvilFleet().begin(keys), random.Random(seed)
    agent = rig.mine[0]
    key, seen = uuid.UUID(agent.uid).bytes, 0
    try:
        for epoch in range(10, 60):
            sender = Sender(uid=key, stream=Stream.LOGS, key=agent.key, epoch=epoch)
            frames = [frame.encode() for frame in sender.frames(NUMBER)]
            await carry(rig, key, alter_frames(frames, rng))
            standing, kept = await stands(rig, agent, epoch)
            held = set(range(standing.next)) | {
                at for one in standing.ranges for at in range(one.first, one.end)
            }
            assert kept == {at: frames[at] for at in held}
            seen += len(held) < NUMBER
            await carry(rig, key, frames)
            standing, kept = await stands(rig, agent, epoch)
            assert standing.next == NUMBER
            assert kept == dict(enumerate(frames))
        assert seen > 10
    finally:
        await rig.end()


async def carry(rig, key, frames):
    """Have ``dock`` bring frames."""
    await rig.dock.relay(streams=[wire.Carried(key=key, stream="logs", frames=b"".join(frames))])


async def stands(rig, agent, epoch):
    """Return how far an epoch is, and offset → frame of what is kept of it; nothing of it is kept twice."""
    standing = await rig.intake.standing(rig.fleet.record(agent), Stream.LOGS, epoch)
    found = [one.frame for one in entries(rig.intake) if one.frame.head.epoch == epoch]
    kept = {frame.head.first: frame.encode() for frame in found}
    assert len(kept) == len(found)
    return standing, kept
