"""What a proxy has room for, of all agents and of one, and what becomes of what waits for too long."""

import pytest
from tests.manager.intake.framing import Sender, join
from tests.proxy.streams_rig import Rig, record

from popham.errors import LinkError
from popham.proxy.spool.bounds import Limits
from popham.streams.frame import Stream
from popham.upstream.intake import Sent

LOGS = Stream.LOGS
MIB = 1024**2


async def send(intake, sender, frames, sent=None):
    """Bring frames."""
    return await intake.append(record(sender.uid), sender.stream, join(frames), sent or Sent())


def agent(number=1, stream=LOGS, **kwargs):
    """Return one stream of one agent."""
    return Sender(uid=bytes([number]) * 16, stream=stream, **kwargs)


async def test_sec_10_one_agent_has_a_share_and_what_is_dear_is_taken_last():
    rig = Rig("hop", limits=Limits(reserve=0, bytes=160 * 4096, share=64 * 4096), agents=0)
    async with rig.running() as intake:

        async def fill(number, stream):
            sender, taken = agent(number, stream), 0
            while intake.refusal(record(sender.uid), stream) is None:
                await send(intake, sender, sender.frames(1))
                taken += 1
            return taken

        assert await fill(1, LOGS) == 52
        assert await fill(1, Stream.EVENTS) == 12
        assert await fill(2, LOGS) == 52
        assert await fill(3, LOGS) == 14
        assert await fill(4, Stream.METRICS) == 10
        assert await fill(5, Stream.EVENTS) == 20
        late = agent(6, Stream.EVENTS)
        with pytest.raises(LinkError) as error:
            await send(intake, late, late.frames(2))
        assert (error.value.status, error.value.retry_after > 0) == (503, True)
        assert intake.depth()["refused"]["share"] >= 3
        assert intake.depth()["refused"]["full"] >= 3
        assert (await intake.standing(record(late.uid), Stream.EVENTS)).credit <= 8 * 4096


async def test_an_agent_whose_data_waits_for_too_long_keeps_the_rest():
    rig = Rig("hop", limits=Limits(reserve=0, age=3600.0))
    async with rig.running() as intake:
        sender, other = agent(1), agent(2)
        await send(intake, sender, sender.frames(1))
        rig.clock.time += 3601.0
        assert intake.refusal(record(sender.uid), LOGS).status == 503
        assert intake.refusal(record(other.uid), LOGS) is None
        await intake._keeping.tidy()
        assert rig.held == 1


async def test_copies_that_are_too_old_are_deleted_and_sent_again_by_their_agent():
    rig = Rig(limits=Limits(reserve=0, age=3600.0))
    async with rig.running() as intake:
        one = rig.agents[0]
        one.write(LOGS, 3)
        await one.send(intake, LOGS)
        rig.clock.time += 3601.0
        await intake._keeping.tidy()
        assert (rig.held, intake.depth()["dropped"]) == (0, {"age": 3})
        await rig.drain()
        rig.check()


async def test_what_was_promised_and_nobody_above_answers_is_said_ever_less_and_at_last_counted_as_dropped():
    """Its agent was taken from this proxy, or removed; while nobody above answers at all it waits."""
    rig = Rig("hop", limits=Limits(reserve=0, age=86_400.0))
    async with rig.running() as intake:
        sender, said = agent(), []
        await send(intake, sender, sender.frames(3))
        for hour in range(23):
            for minute in range(60):
                said += [60 * hour + minute for one in intake.next_frames(MIB) if one]
                rig.clock.time += 60.0
        assert said[:6] == [0, 1, 3, 7, 15, 31]
        assert len(said) < 40
        assert len(intake.next_frames(MIB)) <= 1
        await intake._keeping.tidy()
        assert (rig.held, intake.depth()["dropped"]) == (3, {})
        rig.clock.time += 7200.0
        await intake._keeping.tidy()
        assert (rig.held, intake.depth()["dropped"]) == (0, {"unanswered": 3})


async def test_what_was_promised_waits_for_as_long_as_those_above_are_away():
    rig = Rig("hop", limits=Limits(reserve=0, age=3600.0))
    async with rig.running() as intake:
        sender = agent()
        await send(intake, sender, sender.frames(3))
        for _ in range(40):
            intake.next_frames(MIB)
            intake.lost()
            rig.clock.time += 3600.0
        await intake._keeping.tidy()
        assert rig.held == 3


async def test_what_was_promised_waits_where_nobody_knows_whether_the_last_answer_to_a_visitor_arrived():
    rig = Rig("hop", limits=Limits(reserve=0, age=3600.0))
    async with rig.running() as intake:
        sender = agent()
        await send(intake, sender, sender.frames(3))
        assert intake.next_frames(MIB)
        for _ in range(40):
            rig.clock.time += 3600.0
            assert intake.waits
        await intake._keeping.tidy()
        assert (rig.held, intake.depth()["dropped"]) == (3, {})


async def test_what_nobody_takes_ever_is_discarded_and_counted():
    rig = Rig("hop")
    async with rig.running() as intake:
        sender = agent()
        await send(intake, sender, sender.frames(3))
        intake.discard(sender.uid)
        assert (rig.held, intake.depth()["dropped"]) == (0, {"discarded": 3})
        assert intake.next_frames(MIB) == []


async def test_depth_says_what_waits():
    rig = Rig("hop")
    async with rig.running() as intake:
        sender = agent()
        frames = sender.frames(3)
        since = rig.clock.now()
        await send(intake, sender, frames)
        rig.clock.time += 5.0
        found = intake.depth()
        assert found["logs"] == {"records": 3, "bytes": len(join(frames)), "oldest": pytest.approx(since)}
        assert found["events"] == {"records": 0, "bytes": 0, "oldest": None}
        assert found["files"] >= found["logs"]["bytes"]


async def test_copies_that_are_not_taken_for_long_are_deleted_and_sent_anew():
    rig = Rig()
    async with rig.running() as intake:
        one = rig.agents[0]
        one.write(LOGS, 3)
        await one.send(intake, LOGS)
        rig.manager.wait = 1.0
        for _ in range(8):
            assert rig.held == 3
            rig.clock.time += 400.0
            await rig.exchange()
        assert (rig.held, intake.depth()["dropped"]) == (0, {"unwanted": 3})
        await rig.drain()
        rig.check()
