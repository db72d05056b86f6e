"""Questions whose answers come after whoever asked had to go."""

import asyncio

import pytest

from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.calls import PATIENCE, Calls
from popham.proxy.questions import KEPT, Questions
from popham.testing.virtual import VirtualClock, run_virtual

KEY = bytes(16)


class Asking:
    """Questions, and the calls that they make."""

    def __init__(self, clock, most=2):
        self.clock = clock
        self.calls = Calls(self.clock)
        self.questions = Questions(self.calls, self.clock, most=most)

    async def ask(self, name="a"):
        return await self.questions.ask(name, "meet", KEY, b"?")

    def answer(self, body=b"told"):
        """Answer everything that is asked now."""
        self.calls.reply([wire.RelayReply(id=call.id, body=body) for call in self.calls.take(1 << 20)])


def virtually(story):
    """Tell a story in virtual time."""
    clock = VirtualClock()
    run_virtual(story(clock), clock)


def test_f_t2_an_answer_that_comes_late_is_there_when_it_is_asked_for_again():
    async def story(clock):
        asking = Asking(clock)
        assert await asking.ask() is None
        asking.answer()
        assert await asking.ask() == b"told"
        # Said once: then what holds by then is asked for.
        later = asyncio.ensure_future(asking.ask())
        await asyncio.sleep(0)
        asking.answer(b"anew")
        assert await later == b"anew"

    virtually(story)


@pytest.mark.parametrize("answered", [True, False])
def test_without_room_the_oldest_answer_that_nobody_came_for_goes(answered):
    async def story(clock):
        asking = Asking(clock, most=1)
        assert await asking.ask("a") is None
        if answered:
            asking.answer()
        begin = asyncio.get_running_loop().time()
        assert await asking.ask("b") is None
        waited = asyncio.get_running_loop().time() - begin
        assert waited == pytest.approx(PATIENCE if answered else 0.0)
        assert len(asking.calls) == 1

    virtually(story)


def test_a_question_ends_after_its_time():
    async def story(clock):
        asking = Asking(clock)
        assert await asking.ask() is None
        await asyncio.sleep(KEPT)
        asking.calls.expire()
        assert len(asking.calls) == 0

    virtually(story)
