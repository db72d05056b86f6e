"""Campaigns of an evil proxy against one agent each, and what they came to."""

import asyncio
import itertools
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .history import history
from .victim import Victim

EACH = 25
"""Attacks of one campaign."""
DELIVER, RESTART = "deliver", "restart"


def wage(attacks, *, least, chosen=None):
    """Wage campaigns until there were so many attacks; return what was counted: the property holds, or this raises.

    Args:
        attacks: Strategy of single ones.
        least: How many there are to be at least.
        chosen: Settings of hypothesis; None for what tests have.
    """
    history()  # it is made in a loop of its own
    counts, numbers = Counter(), itertools.count()
    step = st.one_of(attacks, attacks, attacks, st.sampled_from([DELIVER, RESTART]))
    steps = st.tuples(st.lists(attacks, min_size=EACH, max_size=EACH), st.lists(step, max_size=8))
    examples = -(-least // EACH)

    with tempfile.TemporaryDirectory(prefix="popham-evil-") as folder:

        @settings(
            chosen,
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=chosen is None,
            suppress_health_check=list(HealthCheck),
        )
        @given(steps, st.randoms(use_true_random=False))
        def campaign(drawn, rng):
            sure, more = drawn
            order = [DELIVER, DELIVER, RESTART, *sure, *more]
            rng.shuffle(order)
            asyncio.run(_suffer(Path(folder) / str(next(numbers)), order, counts))

        campaign()
    attacked = sum(number for place, number in counts.items() if "." not in place and place != "taken")
    assert attacked >= least, counts
    return counts


async def _suffer(folder, order, counts):
    victim = Victim(folder, counts)
    try:
        for step in order:
            if step is DELIVER:
                await victim.deliver()
            elif step is RESTART:
                victim.restart()
            else:
                await victim.bear(step)
            assert victim.broken == [], step
        record = victim.report()
        assert record is None or record.assignment == victim.assigned.number
        victim.restart()
        victim.judge()
        # Whatever was done to it: the next thing that is right is taken at once.
        await victim.deliver()
        assert victim.broken == []
    finally:
        victim.close()


def places(counts):
    """Return the places in which there were attacks."""
    return {place for place in counts if "." not in place and place != "taken"}
