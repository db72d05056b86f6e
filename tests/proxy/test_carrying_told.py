"""How far streams are, as a proxy is told unasked, and what it does while nobody has told it."""

import pytest
from tests.manager.intake.framing import Sender, join
from tests.manager.intake.rig import StandingClock
from tests.proxy.dock import AGENTS, Dock
from tests.proxy.streams_rig import FOLDER, Rig, heads, record

from popham.errors import LinkError
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.carrying import END_TO_END, HOP, ProxyIntake
from popham.proxy.spool.bounds import AWAY_MOST, AWAY_WAIT
from popham.streams.frame import Stream
from popham.testing.disk import LazyDisk
from popham.upstream.intake import Sent

from .desk import body_of

WEB = AGENTS[0]
LOGS = Stream.LOGS


class Carrier(Dock):
    """A proxy with an intake of its own, which asks its desk by calls."""

    def carry(self):
        return ProxyIntake(
            FOLDER,
            StandingClock(),
            ask=self.ask,
            draw=lambda: 0.5,
            disk=self.__dict__.setdefault("disk", LazyDisk()),
        )

    async def ask(self, kind, key, body):
        self.asked_above = True
        return await self.uplink.call(kind, key, body, seconds=0.05)

    async def knows(self, agent, custody=HOP):
        """Return whether it takes the agent's data at once, without asking above."""
        self.asked_above = False
        self.carrying.custody = dict.fromkeys(Stream, custody)
        for stream in Stream:
            await self.carrying.standing(self.book.find(agent.key), stream)
        return not self.asked_above


@pytest.fixture
async def carrier(tmp_path):
    dock = Carrier(tmp_path)
    dock.desk.put_group(body_of("first"))
    dock.desk.add(WEB)
    await dock.boot()
    return dock


async def test_of_an_agent_that_is_met_it_is_told_beside_how_far_its_streams_are(carrier):
    async with carrier.connected():
        await carrier.say(WEB, full=True)
    assert await carrier.knows(WEB)


async def test_an_agent_that_waits_to_be_accepted_has_no_streams_yet(carrier):
    carrier.desk.agents[WEB.key].admission = "new"
    async with carrier.connected():
        await carrier.say(WEB, full=True)
    assert carrier.carrying.knows(WEB.key)
    assert carrier.carrying._words.newest(WEB.key, LOGS) == 0


async def test_after_its_own_start_it_is_told_anew_and_after_that_of_the_manager_it_is_not(carrier):
    async with carrier.connected():
        await carrier.say(WEB, full=True)
    await carrier.settle()
    await carrier.write()
    await carrier.boot()
    assert not carrier.carrying.knows(WEB.key)
    await carrier.settle()
    assert await carrier.knows(WEB)
    carrier.boot_manager()
    told = []
    stood, carrier.carrying.stood = carrier.carrying.stood, told.append
    await carrier.settle()
    assert not told
    carrier.carrying.stood = stood


async def test_an_agent_that_is_gone_is_told_of_anew_when_it_comes_back(carrier):
    async with carrier.connected():
        await carrier.say(WEB, full=True)
        gone = carrier.desk.agents.pop(WEB.key)
        carrier.relays.agent_changed(WEB.uid)
        await carrier.settle()
        assert not carrier.carrying.knows(WEB.key)
        carrier.desk.agents[WEB.key] = gone
        await carrier.say(WEB, full=True)
    assert await carrier.knows(WEB)


async def test_a_revoked_agents_frames_are_not_carried_any_more(carrier):
    async with carrier.connected():
        await carrier.say(WEB, full=True)
    dropped = []
    carrier.carrying.discard = lambda key, why: dropped.append((key, why))
    carrier.desk.agents[WEB.key].admission = "revoked"
    carrier.relays.agent_changed(WEB.uid)
    await carrier.settle()
    assert dropped == [(WEB.key, "revoked")]
    # The process may have ended before that was done.
    await carrier.write()
    await carrier.boot()
    dropped.clear()
    carrier.carrying.discard = lambda key, why: dropped.append((key, why))
    carrier.uplink.discard()
    assert dropped == [(WEB.key, "revoked")]


async def test_that_nothing_waits_any_more_is_said_at_once(tmp_path):
    dock = Dock(tmp_path)
    dock.desk.put_group(body_of("first"))
    dock.desk.add(WEB)
    await dock.boot()
    dock.carrying.depth = lambda: {"logs": {"records": dock.carrying.held}}
    dock.carrying.waiting = [wire.Carried(key=WEB.key, stream="logs", frames=b"f")]
    await dock.exchange()
    assert dock.desk.status["spool"] == {"logs": {"records": 1}}
    await dock.settle()
    assert dock.desk.status["spool"] == {"logs": {"records": 0}}


def sender(number=1):
    return Sender(uid=bytes([number]) * 16, stream=LOGS)


async def test_an_agent_that_could_not_be_told_is_told_once_that_is_known():
    rig, one = Rig(HOP), sender()
    rig.manager.away = True
    async with rig.running() as intake:
        with pytest.raises(LinkError, match=r"link\.busy"):
            await intake.standing(record(one.uid), LOGS)
        assert not rig.told
        rig.manager.away = False
        for stream in Stream:
            standing = wire.Standing(stream=stream)
            intake.stood(wire.Stood(key=one.uid, standing=standing))
        assert rig.told == [(one.uid, Stream.EVENTS)], "once, however many streams were told"
        assert (await intake.standing(record(one.uid), LOGS)).newest == 0
        assert rig.manager.asked == 0


async def test_an_epoch_that_is_newer_than_the_newest_is_not_asked_for():
    rig, one = Rig(HOP), sender()
    async with rig.running() as intake:
        await intake.standing(record(one.uid), LOGS)
        rig.manager.away = True
        assert (await intake.standing(record(one.uid), LOGS, 7)).next == 0
        assert rig.manager.asked == 1


@pytest.mark.parametrize("custody", [HOP, END_TO_END])
async def test_after_a_kill_data_is_taken_at_once_by_hop_and_waits_end_to_end(custody):
    rig, one = Rig(custody), sender()
    intake = await rig.begin()
    await intake.standing(record(one.uid), LOGS)
    await intake._keeping.tidy()
    rig.manager.away = True
    intake = await rig.restart()
    frames = one.frames(2)
    if custody == HOP:
        assert (await intake.standing(record(one.uid), LOGS, 1)).next == 0
        assert (await intake.append(record(one.uid), LOGS, join(frames), Sent())).next == 2
    else:
        with pytest.raises(LinkError, match=r"link\.busy"):
            await intake.standing(record(one.uid), LOGS, 1)
    await intake.close()


@pytest.mark.parametrize(("beat", "most"), [(0.0, AWAY_WAIT), (600.0, AWAY_MOST), (86400.0, AWAY_MOST)])
async def test_end_to_end_an_agent_comes_again_as_often_as_those_above_are_heard_of(beat, most):
    rig, one = Rig(), sender()
    async with rig.running() as intake:
        intake.beat = lambda: beat
        told = await intake.append(record(one.uid), LOGS, join(one.frames(2)), Sent())
        assert (told.next, told.retry_after) == (0, most * 0.75)


async def test_a_word_that_comes_unasked_is_no_refusal_of_what_is_held():
    rig, one = Rig(HOP), sender()
    async with rig.running() as intake:
        await intake.append(record(one.uid), LOGS, join(one.frames(2)), Sent())
        intake.stood(wire.Stood(key=one.uid, standing=wire.Standing(stream=LOGS)))
        assert intake.waits
        await rig.exchange()
        assert not intake.held


async def test_what_waits_at_the_agent_and_here_is_said_together():
    rig, one = Rig(HOP), sender()
    async with rig.running() as intake:
        frames = one.frames(400)
        await intake.append(record(one.uid), LOGS, join(frames[:200]), Sent(waiting=205))
        await intake.append(record(one.uid), LOGS, join(frames[200:]), Sent(waiting=5))
        first, *_ = intake.next_frames(1 << 20)
        assert first.waiting == 400 - len(heads(first.frames)) + 5
        intake.lost()
        await intake.append(record(one.uid), LOGS, join(one.frames(1)), Sent())
        first, *_ = intake.next_frames(1 << 20)
        assert not first.HasField("waiting")
