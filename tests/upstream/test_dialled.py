"""A link that an upstream opened: order, bounds, and how it ends."""

import asyncio

import pytest

from popham.errors import LinkError, StateError, VisitError
from popham.net.seam import Limits, Peer
from popham.net.signing import Frames
from popham.testing.virtual import VirtualClock, pass_time, run_virtual
from popham.trust.keys import IdentityKey, SigningKey
from popham.upstream.dialled import DialledLink

DIRECTOR, IDENTITY = SigningKey.create(), IdentityKey.create()


class Wire:
    """The agent's end of a connection; ``flows`` unset is an agent that reads nothing."""

    def __init__(self):
        self.theirs = Frames(IDENTITY.crypto, DIRECTOR.public.crypto, nonce="n", up=True)
        self.said = asyncio.Queue()
        self.got, self.closed = [], None
        self.flows = asyncio.Event()
        self.flows.set()

    def say(self, text):
        self.said.put_nowait(self.theirs.seal(text))

    def end(self, error=None):
        self.said.put_nowait(error)

    async def send(self, data):
        await self.flows.wait()
        self.got.append(self.theirs.open(data))

    async def __aiter__(self):
        while (one := await self.said.get()) is not None:
            if isinstance(one, Exception):
                raise one
            yield one

    async def close(self, code=1000, reason=""):
        self.closed = code


class Hub:
    """Answers what a test has put under a message; others with nothing."""

    def __init__(self):
        self.answers, self.heard, self.ends = {}, [], []
        self.link = None

    def opened(self, link):
        self.link = link
        return self

    def message(self, data):
        self.heard.append(data)
        return self.answers.get(data)

    def closed(self, code):
        self.ends.append(code)


def run(story, **limits):
    clock = VirtualClock()
    loud = []

    async def tell():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: loud.append(context))
        wire, hub = Wire(), Hub()
        frames = Frames(DIRECTOR.crypto, IDENTITY.public.crypto, nonce="n", up=False)
        link = DialledLink(wire, frames, Peer(address="a"), Limits(**limits))
        running = asyncio.ensure_future(link.run(hub))
        await pass_time(0.1)
        try:
            await story(wire, hub, link, running)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert len(hub.ends) == 1, "it is told of the end exactly once"
        assert wire.closed is not None
        assert link.send(b"x") is False

    run_virtual(tell(), clock)
    assert not loud


def test_answers_leave_in_the_order_of_their_questions_however_long_one_takes():
    async def story(wire, hub, link, running):
        slow = asyncio.get_running_loop().create_future()

        async def own():
            await asyncio.sleep(1)
            return b"second"

        hub.answers = {b"1": slow, b"2": own(), b"3": b"third", b"4": b""}
        for text in (b"1", b"2", b"3", b"4"):
            wire.say(text)
        await pass_time(5)
        assert wire.got == []
        assert link.send(b"news")
        slow.set_result(b"first")
        await pass_time(1)
        assert wire.got == [b"first", b"second", b"third", b"news"]

    run(story)


def test_rel_6_an_agent_that_reads_nothing_is_let_go_and_keeps_no_more_than_the_queue():
    async def story(wire, hub, link, running):
        wire.flows.clear()
        sent = 0
        while link.send(b"x" * 1000):
            sent += 1
            await pass_time(0.01)
        assert sent <= 11
        with pytest.raises(LinkError) as ended:
            await running
        assert ended.value.status == 1013
        assert (hub.ends, wire.closed) == ([1013], 1013)

    run(story, queue=10_000)


def test_a_farewell_of_this_end_goes_after_what_was_said_and_is_no_fault():
    async def story(wire, hub, link, running):
        link.send(b"the last")
        link.close(1000, "another link was opened")
        await running
        assert wire.got == [b"the last"]
        assert link.let_go
        assert wire.closed == 1000

    run(story)


def test_a_refusal_of_this_end_is_a_fault_with_its_code():
    async def story(wire, hub, link, running):
        link.close(1008, "revoked")
        with pytest.raises(LinkError, match="revoked"):
            await running
        assert not link.let_go
        assert (hub.ends, wire.closed) == ([1008], 1008)

    run(story)


def test_the_agents_farewell_ends_it_without_a_fault_and_a_loss_with_one():
    async def farewell(wire, hub, link, running):
        wire.end()
        await running
        assert not link.let_go
        assert hub.ends == [1006]

    async def loss(wire, hub, link, running):
        wire.end(LinkError("closed", "it broke", status=1006))
        with pytest.raises(LinkError, match="it broke"):
            await running

    run(farewell)
    run(loss)


def test_sec_a_frame_that_the_agent_has_not_signed_ends_it_and_is_not_heard():
    async def story(wire, hub, link, running):
        wire.say(b"1")
        wire.said.put_nowait(b"x" * 80)
        wire.say(b"2")
        with pytest.raises(VisitError) as ended:
            await running
        assert ended.value.code == "visit.signature"
        assert hub.heard == [b"1"]

    run(story)


def test_what_was_heard_goes_on_when_the_link_ends_and_a_failure_of_it_is_nobodys(caplog):
    async def story(wire, hub, link, running):
        shared = asyncio.get_running_loop().create_future()
        done = []

        async def durable():
            await asyncio.sleep(2)
            done.append(True)
            raise StateError("full", "the disk is full")

        hub.answers = {b"1": shared, b"2": durable(), b"3": durable()}
        for text in (b"1", b"2", b"3"):
            wire.say(text)
        await pass_time(1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert not shared.cancelled(), "it may be another's too"
        await pass_time(5)
        assert done == [True, True]
        shared.set_result(b"nobody waits")

    run(story)
    assert caplog.text.count("An answer failed") == 2


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_an_answer_that_cannot_be_given_ends_the_link_and_nothing_else(how):
    async def story(wire, hub, link, running):
        answer = asyncio.get_running_loop().create_future()
        hub.answers = {b"1": answer}
        wire.say(b"1")
        await pass_time(1)
        if how == "cancelled":
            answer.cancel()
        else:
            answer.set_exception(StateError("full", "the disk is full"))
        with pytest.raises(LinkError) as ended:
            await running
        assert ended.value.status == 1011

    run(story)


def test_sec_10_an_agent_that_floods_is_heard_no_faster_than_any_other():
    async def story(wire, hub, link, running):
        for _ in range(2_000):
            wire.say(b"x")
        await pass_time(10)
        assert len(hub.heard) <= 100 * (10 + 6)
        await pass_time(15)
        assert len(hub.heard) == 2_000

    run(story, messages_per_second=100.0)


def test_too_many_answers_that_wait_end_it():
    async def story(wire, hub, link, running):
        never = asyncio.get_running_loop().create_future()
        hub.answers = {b"1": never}
        for _ in range(50):
            wire.say(b"1")
        await pass_time(60)
        assert hub.ends == [1013]
        assert running.done()
        assert not never.done()

    run(story, messages_per_second=10.0)
