"""Agents that nobody at a proxy knows, and many of them at once."""

import asyncio
import random
from collections import Counter

import pytest

from popham.errors import LinkError
from popham.net.seam import Refused
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.calls import Calls
from popham.proxy.meeting import LONGEST, RETURNS, SHORTEST, Meeting
from popham.testing.virtual import VirtualClock, pass_time, run_virtual

HERD = 10_000
AT_ONCE = 256
"""Calls that those above answer in a second."""


async def answer(calls):
    """Answer what is asked, as those above do who are visited, or visit, each second."""
    while True:
        for call in calls.take(1 << 20)[:AT_ONCE]:
            calls.reply([wire.RelayReply(id=call.id, body=wire.AgentTold(key=call.key).SerializeToString())])
        calls.lost()
        await pass_time(1.0)


async def join(meeting, clock, number, tries):
    """Come until let in, when one is told to."""
    while True:
        tries[int(clock.elapsed)] += 1
        try:
            return await meeting.ask(number.to_bytes(16, "big"), b"", "", "")
        except Refused as refused:
            await pass_time(refused.refusal.retry_after)


def test_a_herd_that_finds_an_empty_cache_is_let_in_without_returning_as_one_wave():
    clock, tries = VirtualClock(), Counter()

    async def story():
        calls = Calls(clock)
        meeting = Meeting(calls, clock, random.Random(7))
        answering = asyncio.ensure_future(answer(calls))
        met = await asyncio.gather(*(join(meeting, clock, number, tries) for number in range(HERD)))
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        return met

    met = run_virtual(story(), clock)
    assert len({told.key for told in met}) == HERD
    assert tries.pop(0) == HERD, "they come all at once, as after a power cut"
    assert max(tries.values()) <= 4 * RETURNS
    assert clock.elapsed <= 1.5 * LONGEST


def test_one_agent_alone_is_not_sent_away_for_long_and_what_those_above_ask_is_kept_to():
    clock = VirtualClock()

    async def story():
        calls = Calls(clock)
        meeting = Meeting(calls, clock, random.Random(7))
        with pytest.raises(Refused) as alone:
            await meeting.ask(bytes(16), b"", "", "")
        assert 1.0 <= alone.value.refusal.retry_after <= 1.0 + SHORTEST
        asking = asyncio.ensure_future(meeting.ask(bytes(15) + b"1", b"", "", ""))
        await asyncio.sleep(0)
        (call,) = (one for one in calls.take(1 << 20) if one.key != bytes(16))
        calls.reply([wire.RelayReply(id=call.id, code="link.busy", status=503, retry_after=120)])
        with pytest.raises(Refused) as asked:
            await asking
        assert 121.0 <= asked.value.refusal.retry_after <= 121.0 + SHORTEST
        assert isinstance(asked.value.__cause__, LinkError)

    run_virtual(story(), clock)


async def test_a_machine_that_is_no_proxy_any_more_asks_nothing():
    calls, clock = Calls(VirtualClock()), VirtualClock()
    meeting = Meeting(calls, clock, random.Random(7))
    meeting.closed = "no proxy"
    with pytest.raises(Refused, match="no proxy") as refused:
        await meeting.ask(bytes(16), b"", "", "")
    assert (refused.value.refusal.status, len(calls)) == (503, 0)
