"""What the watch of drift notes, puts back and counts, and when it looks again; in virtual time."""

import asyncio
import logging
from pathlib import Path

import pytest

from popham.agent.drift import CALM, FIRST_WAIT, HOUR, INTERVAL, LONGEST_WAIT, DriftWatch, Patience
from popham.agent.inspection import Seen
from popham.agent.records import Drift
from popham.errors import PolicyError, StateError
from popham.testing.virtual import VirtualClock, pass_time, run_virtual

DAY = 86_400
MOTD = "/etc/popham.d/motd"


async def at_once(function):
    return function()


class Ears:
    """Events that a test makes."""

    def __init__(self):
        self.stale = False
        self.whole = True
        self.watched = []
        self.heard = None
        self.open = False

    def listen(self, heard):
        self.heard, self.open = heard, True
        return self

    def watch(self, places):
        self.stale = False
        self.watched.append(dict(places))
        return self.whole

    def close(self):
        self.open = False


class Till:
    """A machine with managed paths, of which some differ, and the enforcer that puts them back."""

    def __init__(self):
        self.clock = VirtualClock()
        self.ears = Ears()
        self.drift = Drift()
        self.noted, self.looks, self.restored = [], [], []
        self.differing, self.change = set(), 0
        self.places = {Path("/etc/popham.d"): frozenset({"motd"})}
        self.broken = self.unseen = None
        self.known = True

    # The applier's side.

    async def inspect(self, *, whole):
        self.looks.append((self.clock.elapsed, whole))
        if self.unseen:
            raise self.unseen
        return Seen(change=str(self.change), differing=tuple(sorted(self.differing)), places=self.places)

    # The enforcer's side.

    async def restore(self):
        if not self.known:
            return False
        self.restored.append(self.clock.elapsed)
        if self.broken:
            raise self.broken
        self.apply()
        return True

    def note_drift(self, drift):
        if drift != self.drift:
            self.drift = drift
            self.noted.append(drift)

    # The test's side.

    def apply(self):
        self.change += 1
        self.differing.clear()

    def harm(self, *paths):
        self.differing |= set(paths or (MOTD,))
        self.ears.heard()

    def tell_story(self, story, listen=None):
        async def tell():
            self.watch = DriftWatch(
                self, self, self.clock, listen=listen or self.ears.listen, offload=at_once
            )
            await self.watch.begin()
            running = asyncio.ensure_future(self.watch.run())
            try:
                await pass_time(1.0)
                await story()
                assert not running.done()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            assert not self.ears.open

        run_virtual(tell(), self.clock)


@pytest.fixture
def till():
    return Till()


def test_f_y3_a_changed_file_is_noted_then_put_back_then_counted(till, caplog):
    caplog.set_level(logging.WARNING)

    async def story():
        till.harm()
        await pass_time(1.0)
        assert [(held.paths, held.put_back) for held in till.noted] == [((MOTD,), 0), ((), 1)]
        assert (till.drift.path, till.drift.at) == (MOTD, pytest.approx(till.clock.now(), abs=1.0))
        assert [entry.getMessage() for entry in caplog.records] == [
            f"not as it was placed: {MOTD}",
            f"put back: {MOTD}",
        ]

    till.tell_story(story)


def test_what_is_undone_by_hand_is_not_counted(till):
    async def story():
        till.known = False
        till.harm()
        await pass_time(1.0)
        till.differing.clear()
        await pass_time(5.0)
        assert [(held.paths, held.put_back) for held in till.noted] == [((MOTD,), 0), ((), 0)]

    till.tell_story(story)


def test_what_changed_while_no_agent_ran_is_noted_and_counted_when_the_first_apply_puts_it_back(till):
    till.differing.add(MOTD)
    till.known = False

    async def story():
        assert till.drift.paths == (MOTD,)
        assert till.restored == []
        till.apply()
        till.watch.wake()
        await pass_time(1.0)
        assert (till.drift.paths, till.drift.put_back) == ((), 1)

    till.tell_story(story)


def test_nothing_is_put_back_while_nothing_is_known_to_be_in_force(till):
    async def story():
        till.known = False
        till.harm()
        await pass_time(60.0)
        assert till.restored == []
        till.known = True
        await pass_time(5.0)
        assert len(till.restored) == 1

    till.tell_story(story)


def test_put_backs_are_counted_by_the_day(till):
    async def story():
        for _ in range(2):
            till.harm()
            await pass_time(HOUR)
        assert till.drift.put_back == 2
        await pass_time(DAY)
        till.harm()
        await pass_time(1.0)
        assert till.drift.put_back == 1

    till.tell_story(story)


def test_a_file_that_is_changed_again_and_again_is_put_back_less_often_and_stays_reported(till, caplog):
    async def story():
        begin, waits = till.clock.elapsed, []
        while till.clock.elapsed < begin + 2000:
            if not till.differing:
                till.harm()
            await pass_time(0.25)
        waits = [after - before for before, after in zip(till.restored, till.restored[1:], strict=False)]
        assert all(wait <= CALM for wait in waits[:2])
        assert waits[2:7] == pytest.approx([10, 20, 40, 80, 160], abs=2 * CALM)
        assert waits[7:] == pytest.approx([LONGEST_WAIT] * len(waits[7:]), abs=2 * CALM)
        assert till.drift.paths == (MOTD,)
        assert till.drift.put_back == len(till.restored)
        await pass_time(LONGEST_WAIT)
        await pass_time(HOUR + 1)
        till.restored.clear()
        till.harm()
        await pass_time(1.0)
        assert len(till.restored) == 1, "an hour of quiet makes it calm again"

    till.tell_story(story)
    assert len(caplog.records) < 100


def test_another_path_does_not_wait_for_one_that_flaps(till):
    async def story():
        for _ in range(4):
            till.harm()
            await pass_time(1.0)
        assert till.drift.paths == (MOTD,)
        till.harm("/etc/popham.d/other")
        await pass_time(1.0)
        assert till.drift.paths == ()

    till.tell_story(story)


def test_what_cannot_be_put_back_stays_reported_and_is_tried_again_less_and_less_often(till, caplog):
    caplog.set_level(logging.WARNING)

    async def story():
        till.broken = PolicyError("kind", f"{MOTD} is a directory", "Remove it")
        till.harm()
        await pass_time(100.0)
        waits = [after - before for before, after in zip(till.restored, till.restored[1:], strict=False)]
        assert waits == pytest.approx([FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT], abs=0.1)
        assert (till.drift.paths, till.drift.put_back) == ((MOTD,), 0)
        said = [entry.getMessage() for entry in caplog.records]
        assert len(said) == 2, "the reason is said once"
        assert f"what drifted is not put back: {MOTD} is a directory" in said[1]
        assert till.drift.error == f"{MOTD} is a directory (policy.kind). Remove it"
        till.broken = None
        await pass_time(LONGEST_WAIT)
        assert (till.drift.paths, till.drift.put_back, till.drift.error) == ((), 1, "")

    till.tell_story(story)


@pytest.mark.parametrize("error", [StateError("corrupt", "the record is damaged"), OSError(5, "broken")])
def test_what_cannot_be_looked_at_is_said_once_and_ends_nothing(till, caplog, error):
    async def story():
        till.unseen = error
        till.watch.wake()
        await pass_time(10 * INTERVAL)
        assert len(caplog.records) == 1
        assert len(till.looks) < 15
        till.unseen = None
        await pass_time(INTERVAL)
        till.harm()
        await pass_time(1.0)
        assert till.drift.put_back == 1

    till.tell_story(story)


def test_with_events_nothing_is_looked_at_but_every_content_once_an_hour(till):
    async def story():
        till.looks.clear()
        await pass_time(3 * HOUR)
        assert [whole for _, whole in till.looks] == [True] * 3

    till.tell_story(story)


def test_without_events_signatures_are_looked_at_twice_a_minute(till):
    async def story():
        till.looks.clear()
        await pass_time(HOUR)
        assert len(till.looks) == pytest.approx(HOUR / INTERVAL, abs=2)
        assert sum(whole for _, whole in till.looks) == 1
        till.differing.add(MOTD)
        await pass_time(INTERVAL + 1)
        assert till.drift.put_back == 1

    till.tell_story(story, listen=lambda _: None)


def test_where_events_do_not_reach_everything_it_is_looked_at_as_well(till):
    till.ears.whole = False

    async def story():
        till.differing.add(MOTD)
        await pass_time(INTERVAL + 1)
        assert till.drift.put_back == 1

    till.tell_story(story)


def test_where_to_listen_is_told_anew_when_another_set_holds_and_when_a_directory_was_replaced(till):
    async def story():
        assert till.ears.watched == [till.places]
        till.harm()
        await pass_time(30.0)
        assert len(till.ears.watched) == 1
        till.places = {Path("/srv"): frozenset({"a"})}
        till.watch.wake()
        await pass_time(1.0)
        assert till.ears.watched[1:] == [till.places]
        till.ears.stale = True
        till.ears.heard()
        await pass_time(1.0)
        assert len(till.ears.watched) == 3

    till.tell_story(story)


def test_a_storm_of_events_that_changes_nothing_is_looked_at_less_and_less_often(till):
    async def story():
        till.looks.clear()
        for _ in range(1200):
            till.ears.heard()
            await pass_time(0.1)
        assert len(till.looks) < 120 / CALM + 10

    till.tell_story(story)


def test_patience_forgets_what_was_an_hour_ago():
    patience = Patience()
    for now in (0.0, 1.0, 2.0):
        patience.done(("a",), now)
    assert patience.due(("a",)) == 2.0 + FIRST_WAIT
    assert patience.due(("a", "b")) == 0.0
    patience.forget(HOUR + 1)
    assert patience.due(("a",)) == 2.0 + FIRST_WAIT
    patience.forget(HOUR + 2)
    assert patience.due(("a",)) == 0.0
