"""Frames of agents that a proxy may not speak for: what the agent itself left open is filled, and nothing is added."""

import uuid

import pytest

from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.streams.frame import Stream
from popham.upstream.intake import Sent

from .fleet import FRAMES, EvilFleet

EPOCH = 2


@pytest.fixture
async def rig(keys):
    found = await EvilFleet().begin(keys)
    yield found
    await found.end()


@pytest.fixture
async def web(rig):
    """An agent that gave its first frames to ``dock``, of which that was taken then: frames of its second epoch."""
    rig.fleet.give(rig.dock.uid, "stocks")
    await rig.dock.relay()
    return rig.mine[0]


def frames_of(rig, agent):
    return [one.encode() for one in rig.frames[agent.uid, Stream.LOGS][FRAMES:]]


async def carry(rig, agent, frames):
    """Have ``dock`` bring frames; return how far the stream is by the answer, None for none."""
    carried = wire.Carried(key=uuid.UUID(agent.uid).bytes, stream="logs", frames=b"".join(frames))
    down = await rig.dock.relay(streams=[carried])
    return down.standings[0].standing.next if down.standings else None


async def bring(rig, agent, frames):
    """Have an agent bring frames itself."""
    await rig.intake.append(rig.fleet.record(agent), Stream.LOGS, b"".join(frames), Sent())


async def next_of(rig, agent):
    return (await rig.intake.standing(rig.fleet.record(agent), Stream.LOGS, EPOCH)).next


async def test_rel_7_frames_that_a_proxy_held_as_its_agent_was_taken_from_it_arrive_where_the_agent_left_room(
    rig, web
):
    frames = frames_of(rig, web)
    assert await carry(rig, web, frames[:4]) is None
    await bring(rig, web, frames[4:8])
    assert await next_of(rig, web) == 0
    assert await carry(rig, web, frames[:4]) == 8
    assert await carry(rig, web, frames[:4]) == 8  # the answer may have been lost
    await rig.judge_streams()
    assert not rig.broken


async def test_sec_30_beyond_what_an_agent_brought_itself_a_proxy_brings_nothing_of_it(rig, web):
    frames = frames_of(rig, web)
    await bring(rig, web, frames[4:6])
    for some in (frames[6:7], frames[3:7], frames[:4] + frames[6:7], []):
        assert await carry(rig, web, some) is None
    assert await next_of(rig, web) == 0


async def test_sec_30_what_is_not_signed_by_the_agent_tells_nobody_how_far_it_is_and_spends_nothing(rig, web):
    frames = frames_of(rig, web)
    await bring(rig, web, frames[4:6])
    forged = frames[0][:-1] + bytes([frames[0][-1] ^ 1])
    others = frames_of(rig, rig.mine[1])
    for some in ([forged], [frames[1], forged], [frames[1][:-3]], others[:1], [b"x" * 500]):
        assert await carry(rig, web, some) is None
    assert await next_of(rig, web) == 0
    assert not any(rig.intake._door.refused.values())
