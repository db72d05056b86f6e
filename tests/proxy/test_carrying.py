"""Frames of agents at a proxy: what is taken, what is said of it, and what is carried on."""

import asyncio
from dataclasses import replace

import pytest
from tests.manager.intake.framing import Sender, join
from tests.proxy.streams_rig import Rig, heads, record

from popham.errors import LinkError, StreamError
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.streams.frame import Stream
from popham.trust.keys import IdentityKey
from popham.upstream.intake import Sent
from popham.upstream.standings import to_wire

LOGS = Stream.LOGS
MIB = 1024**2


async def send(intake, sender, frames, sent=None):
    """Bring frames."""
    return await intake.append(record(sender.uid), sender.stream, join(frames), sent or Sent())


def agent(number=1, stream=LOGS, **kwargs):
    """Return one stream of one agent."""
    return Sender(uid=bytes([number]) * 16, stream=stream, **kwargs)


async def test_under_hop_an_agent_is_told_what_is_durable_here():
    rig = Rig("hop")
    async with rig.running() as intake:
        sender = agent()
        told = await send(intake, sender, sender.frames(3))
        assert (told.next, told.last, told.ranges) == (3, sender.before, ())
        assert (rig.news, rig.held) == (1, 3)
        rig.manager.away = True
        assert (await intake.standing(record(sender.uid), LOGS, 1)).next == 3


async def test_under_end_to_end_an_agent_is_told_what_is_above():
    rig = Rig()
    async with rig.running() as intake:
        sender = agent()
        told = await send(intake, sender, sender.frames(3))
        assert (told.next, told.ranges, told.credit) == (0, (), 0)
        assert told.retry_after > 0
        assert rig.held == 3
        assert await rig.exchange() == 1
        assert rig.told == [(sender.uid, LOGS)]
        assert rig.held == 0
        told = await intake.standing(record(sender.uid), LOGS, 1)
        assert (told.next, told.last, told.retry_after) == (3, sender.before, 0)


async def test_under_end_to_end_an_answer_waits_for_the_word_that_comes_soon():
    rig = Rig()
    async with rig.running() as intake:
        intake.hold = 30.0
        carry = asyncio.Event()
        intake.on_news = carry.set
        sender = agent()
        appended = asyncio.ensure_future(send(intake, sender, sender.frames(2)))
        await carry.wait()
        await rig.exchange()
        assert (await appended).next == 2
        # Where what came before waits for longer, nobody waits.
        frames = sender.frames(2)
        intake.hold = 0.0
        await send(intake, sender, frames[:1])
        intake.hold = 30.0
        rig.clock.time += 31.0
        async with asyncio.timeout(10):
            assert (await send(intake, sender, frames[1:])).next == 2


@pytest.mark.parametrize("custody", ["hop", "end to end"])
async def test_rel_8_what_is_sent_twice_is_carried_once(custody):
    rig = Rig(custody)
    async with rig.running() as intake:
        sender = agent()
        frames = sender.frames(4)
        await send(intake, sender, frames[:3])
        await send(intake, sender, frames)
        await send(intake, sender, frames)
        assert rig.held == 4
        await rig.exchange()
        await send(intake, sender, frames)
        assert (rig.held, rig.manager.intake.repeats) == (0, 0)


async def test_sec_29_frames_are_verified_as_the_manager_does():
    rig = Rig("hop")
    async with rig.running() as intake:
        sender, other = agent(), agent(key=IdentityKey.create())
        for frames, code in (
            (join(other.frames(1)), "stream.signature"),
            (join(agent(2).frames(1)), "stream.signature"),
            (join(agent(stream=Stream.EVENTS).frames(1)), "stream.signature"),
            (join(sender.frames(1))[:-1], "stream.short"),
            (b"x" * 300, "stream.damaged"),
        ):
            with pytest.raises(StreamError) as error:
                await intake.append(record(sender.uid), LOGS, frames, Sent())
            assert error.value.code == code
        assert rig.held == 0
        sender = agent()
        first = sender.frames(1)
        await send(intake, sender, first)
        with pytest.raises(StreamError, match=r"stream\.overlap"):
            await send(intake, sender, agent().frames(1, payload=b"another"))
        assert rig.held == 1


async def test_what_the_manager_has_beyond_is_known_and_nothing_of_it_is_taken():
    """The agent went to the Manager meanwhile, and comes back."""
    rig = Rig("hop")
    async with rig.running() as intake:
        sender = agent()
        frames = sender.frames(6)
        await send(intake, sender, frames[:2])
        who = record(sender.uid)
        await rig.manager.intake.append(who, LOGS, join(frames[3:5]), Sent())
        assert await rig.exchange() == 1
        told = await intake.standing(who, LOGS, 1)
        assert (told.next, [(one.first, one.end) for one in told.ranges]) == (2, [(3, 5)])
        told = await send(intake, sender, frames[2:])
        assert (told.next, rig.held) == (6, 2)
        await rig.exchange()
        assert (rig.held, rig.manager.intake.repeats) == (0, 0)


async def test_what_the_manager_has_already_is_trimmed_by_its_word():
    rig = Rig("hop")
    async with rig.running() as intake:
        sender = agent()
        frames = sender.frames(6)
        await send(intake, sender, frames)
        who = record(sender.uid)
        said = await rig.manager.intake.append(who, LOGS, join(frames[:4]), Sent())
        intake.stood(wire.Stood(key=who.key, standing=to_wire(said)))
        assert rig.held == 2
        assert (await intake.standing(who, LOGS, 1)).next == 6
        [carried] = intake.next_frames(MIB)
        assert [head.first for head in heads(carried.frames)] == [4, 5]


async def test_a_refused_epoch_is_dropped_and_counted_and_the_agent_begins_another():
    rig = Rig()
    async with rig.running() as intake:
        [one] = rig.agents[:1]
        one.write(LOGS, 2, 2)
        foreign = Sender(uid=one.uid, stream=LOGS, epoch=one.spool(LOGS).epoch, boot=b"boot-two")
        await one.send(intake, LOGS)
        await rig.manager.intake.append(one.record, LOGS, join(foreign.frames(1, count=2)), Sent())
        await rig.exchange()
        assert rig.held == 0
        assert intake.depth()["dropped"] == {"refused": 4}
        assert (one.uid, LOGS) in rig.told
        refused = await intake.standing(one.record, LOGS, one.spool(LOGS).epoch)
        assert refused.refused
        with pytest.raises(StreamError, match=r"stream\.overlap"):
            await intake.append(one.record, LOGS, join(foreign.frames(1)), Sent())
        rig.agents = [one]
        await rig.drain()
        found = rig.manager.intake.payloads(one.uid.hex(), LOGS)
        assert found[1:] == [b"0 1", b"2 3"]


async def test_events_go_first_and_agents_take_turns():
    rig = Rig("hop", agents=0)
    async with rig.running() as intake:
        noisy, quiet = agent(1), agent(2)
        for _ in range(8):
            await send(intake, noisy, [noisy.frame(bytes(100_000) + b"%d" % noisy.next)])
        await send(intake, quiet, quiet.frames(2))
        for stream in (Stream.METRICS, Stream.SUMMARY, Stream.EVENTS):
            other = agent(3, stream)
            await send(intake, other, other.frames(1))
        found = intake.next_frames(300_000)
        assert [(one.key[0], one.stream) for one in found[:3]] == [
            (3, "events"),
            (3, "summary"),
            (3, "metrics"),
        ]
        assert {one.key[0] for one in found[3:]} == {1, 2}
        assert sum(len(one.frames) for one in found) <= 300_000
        rest = intake.next_frames(10 * MIB)
        sent = [head for one in [*found, *rest] if one.key == noisy.uid for head in heads(one.frames)]
        assert [head.first for head in sent] == list(range(8))
        assert not intake.waits
        intake.lost()
        assert intake.waits
        assert len(intake.next_frames(10 * MIB)) == 5


async def test_a_frame_that_is_larger_than_the_message_goes_alone():
    rig = Rig("hop")
    async with rig.running() as intake:
        sender = agent()
        await send(intake, sender, [sender.frame(bytes(400_000)), *sender.frames(1)])
        assert [len(one.frames) > 400_000 for one in intake.next_frames(1000)] == [True]
        assert len(intake.next_frames(1000)) == 1


async def test_what_is_not_taken_above_is_said_again_later_and_holds_up_nobody():
    rig = Rig("hop")
    async with rig.running() as intake:
        sender, other = agent(1), agent(2)
        await send(intake, sender, sender.frames(1))
        rig.manager.wait = 20.0
        assert await rig.exchange() == 1
        rig.manager.wait = 0.0
        await send(intake, other, other.frames(1))
        assert (await rig.exchange(), rig.held) == (1, 1)
        assert await rig.exchange() == 0
        rig.clock.time += 20.0
        assert (await rig.exchange(), rig.held) == (1, 0)


async def test_what_was_never_answered_is_said_again_after_a_minute():
    rig = Rig("hop")
    async with rig.running() as intake:
        sender = agent()
        await send(intake, sender, sender.frames(1))
        assert len(intake.next_frames(MIB)) == 1
        assert not intake.waits
        rig.clock.time += 61.0
        assert len(intake.next_frames(MIB)) == 1


async def test_the_clock_of_an_agent_goes_on_while_its_frames_wait():
    rig = Rig("hop")
    async with rig.running() as intake:
        sender = agent()
        await send(intake, sender, sender.frames(1), Sent(1000.0, 7))
        await send(intake, agent(2), agent(2).frames(1))
        rig.clock.time += 30.0
        one, other = intake.next_frames(MIB)
        assert (one.now, one.waiting, other.now) == (pytest.approx(1030.0), 7, 0.0)


async def test_nothing_is_said_before_it_is_known_how_far_it_is_above():
    rig = Rig("hop")
    rig.manager.away = True
    async with rig.running() as intake:
        sender = agent()
        frames = sender.frames(4)
        with pytest.raises(LinkError) as error:
            await intake.standing(record(sender.uid), LOGS)
        assert (error.value.code, error.value.retry_after > 0) == ("link.busy", True)
        with pytest.raises(LinkError, match=r"link\.busy"):
            await send(intake, sender, frames[2:])
        # Who brings the beginning was told of nothing that it lacks.
        assert (await send(intake, sender, frames[:1])).next == 1
        rig.manager.away = False
        with pytest.raises(LinkError):  # it is not asked all the time
            await intake.standing(record(b"z" * 16), LOGS)
        rig.clock.time += 11.0
        assert (await intake.standing(record(sender.uid), LOGS)).next == 1
        assert rig.manager.asked == 1
        await intake.standing(record(sender.uid), LOGS)
        assert rig.manager.asked == 1
        intake.forget(sender.uid)
        await intake.standing(record(sender.uid), LOGS)
        assert rig.manager.asked == 2


async def test_what_is_known_from_the_disk_serves_while_the_manager_is_away():
    rig = Rig("hop")
    sender = agent()
    frames = sender.frames(6)
    async with rig.running() as intake:
        await rig.manager.intake.append(record(sender.uid), LOGS, join(frames[:2]), Sent())
        await send(intake, sender, frames[2:4])
    rig.manager.away = True
    async with rig.running() as intake:
        told = await intake.standing(record(sender.uid), LOGS, 1)
        assert (told.next, rig.held) == (4, 2)
        assert (await send(intake, sender, frames[4:])).next == 6


async def test_what_was_promised_by_hop_stays_so_when_custody_changes():
    rig = Rig("hop")
    sender = agent()
    frames = sender.frames(4)
    intake = await rig.begin()
    await send(intake, sender, frames[:2])
    intake.custody = {}
    assert (await send(intake, sender, frames[2:])).next == 2
    rig.custody = {}
    intake = await rig.restart()
    assert (await intake.standing(record(sender.uid), LOGS, 1)).next == 2
    await rig.exchange()
    assert (await intake.standing(record(sender.uid), LOGS, 1)).next == 4
    await intake.close()


async def test_copies_that_an_agent_was_told_of_by_hop_are_promised_from_then_on():
    rig = Rig()
    async with rig.running() as intake:
        sender = agent()
        assert (await send(intake, sender, sender.frames(2))).next == 0
        intake.custody = {LOGS: "hop"}
        assert (await intake.standing(record(sender.uid), LOGS, 1)).next == 2
        intake.strict = lambda _uid, _stream: True
        assert (await intake.standing(record(sender.uid), LOGS, 1)).next == 2, "never less than was said"
        assert (await send(intake, sender, sender.frames(1))).next == 2, "and no more"


async def test_a_word_of_less_is_believed_as_from_a_manager_that_was_restored():
    rig = Rig("hop")
    async with rig.running() as intake:
        sender = agent()
        await send(intake, sender, sender.frames(4))
        who = record(sender.uid)
        await rig.exchange()
        before = await intake.standing(who, LOGS, 1)
        assert before.next == 4
        less = replace(before, next=0, last=bytes(16), boots=())
        intake.stood(wire.Stood(key=who.key, standing=to_wire(less)))
        assert (await intake.standing(who, LOGS, 1)).next == 0
        assert rig.told[-1] == (sender.uid, LOGS)


async def test_of_one_stream_one_thing_is_said_at_a_time():
    rig = Rig("hop")
    async with rig.running() as intake:
        sender = agent()
        old, sender.epoch = sender.frames(300), 2
        await send(intake, sender, old[:200])
        await send(intake, sender, old[200:])
        sender.next, sender.before = 0, bytes(16)
        new = sender.frames(2)
        await send(intake, sender, new)
        carried = []
        while found := intake.next_frames(MIB):
            carried += found
            assert len(found) == 1
        assert [len(heads(one.frames)) for one in carried] == [256, 44, 2]
        for one in carried:
            intake.stood(await rig.manager.take(one))
        assert rig.held == 0


async def test_what_is_trimmed_in_the_middle_of_what_was_said_skips_nothing():
    rig = Rig("hop")
    async with rig.running() as intake:
        sender = agent()
        frames = sender.frames(6)
        await send(intake, sender, frames)
        [said] = intake.next_frames(len(join(frames[:3])))
        assert len(heads(said.frames)) == 3
        above = await rig.manager.intake.append(record(sender.uid), LOGS, join(frames[:2]), Sent())
        intake.stood(wire.Stood(key=sender.uid, standing=to_wire(above)))
        [said] = intake.next_frames(MIB)
        assert [head.first for head in heads(said.frames)] == [3, 4, 5]
        intake.lost()
        [said] = intake.next_frames(MIB)
        assert [head.first for head in heads(said.frames)] == [2, 3, 4, 5]
