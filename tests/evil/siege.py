"""Sieges: an evil proxy and the Manager above it; what they came to."""

import asyncio
import itertools
from collections import Counter

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st

from .blows import Evil
from .fleet import EvilFleet

EACH = 50
"""Messages of one siege, at least."""


def besiege(keys, messages, *, least, chosen=None):
    """Have a Manager besieged until there were so many messages; return what was counted: the property holds, or this raises.

    Args:
        keys: Of the Manager.
        messages: Strategy of single ones.
        least: How many there are to be at least.
        chosen: Settings of hypothesis; None for what tests have.
    """
    counts, numbers = Counter(), itertools.count()

    @settings(
        chosen,
        max_examples=-(-least // EACH),
        deadline=None,
        database=None,
        derandomize=chosen is None,
        phases=(Phase.generate,),
        verbosity=Verbosity.quiet,  # what was drawn says less than where it failed
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(messages, min_size=EACH, max_size=EACH + 8))
    def siege(drawn):
        next(numbers)
        asyncio.run(_suffer(keys, drawn, counts))

    siege()
    assert counts["messages"] >= least, counts
    return counts


async def _suffer(keys, drawn, counts):
    rig = await EvilFleet().begin(keys)
    evil = Evil(rig)
    try:
        for parts, whole, seed, wait in drawn:
            rig.fleet.clock.elapsed += wait
            await strike(rig, evil.render(parts, whole, seed), counts)
            counts.update(part.kind for part in parts)
            counts[whole] += 1
            assert not rig.broken, (rig.broken, parts, whole, seed)
        await rig.judge_streams()
        rig.judge_rows()
        assert not rig.broken, rig.broken
        await rig.others_are_served()
    finally:
        await rig.end()


async def strike(rig, data, counts):
    """Send one message, and judge what came of it."""
    before = rig.look()
    response = await rig.post(data)
    counts["messages"] += 1
    counts[response.status] += 1
    if response.status == 200:
        rig.judge_answer(response.body)
        rig.hear(response.body, counts)
    rig.judge(before)
