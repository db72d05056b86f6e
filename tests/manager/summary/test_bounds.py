"""F.L8: how old what is shown may be, in all four cells, in virtual time."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popham.manager.summary.bounds import HANDLING, KEEPALIVES, LINGER, hop_bound, newest_bound, path_bound
from popham.model.cell import Dialer, Mode
from popham.model.status import OVERDUE, Presence, presence

KEEPALIVE = 45.0
TIMES = st.floats(0, 1)


def test_f_l8_the_bound_is_collecting_rolling_up_and_every_hop():
    held = hop_bound(Mode.PUSH, 300.0, connected=True, keepalive=45.0)
    pulled = hop_bound(Mode.PULL, 600.0, connected=False, keepalive=45.0)
    assert path_bound(60.0, held) == 60.0 + 0.2 + 135.0 + 5.0
    assert path_bound(60.0, pulled, roll_up=600.0) == 60.0 + 600.0 + 900.0 + 5.0


def test_f_l8_an_agent_that_lost_its_link_is_bounded_by_what_it_promised():
    assert hop_bound(Mode.PUSH, 300.0, connected=False, keepalive=45.0, away=7.0) == 450.0 + 7.0


@dataclass
class Machine:
    """An agent that samples every interval, and a way on which all that there is arrives now and then.

    Attributes:
        arrivals: (when it was sent, when it can be seen).
        contacts: When the Manager heard of it.
        held: (from, to): a link was held, as far as the Manager knew.
    """

    interval: float
    arrivals: list = field(default_factory=list)
    contacts: list = field(default_factory=list)
    held: list = field(default_factory=list)

    def newest(self, now):
        """Return when the newest that can be seen was sampled."""
        sent = max((sent for sent, seen in self.arrivals if seen <= now), default=None)
        return None if sent is None else sent // self.interval * self.interval

    def held_for(self, now):
        """Return how long a link has been held; None if none is, as far as the Manager knows."""
        return next((now - begin for begin, end in self.held if begin <= now < end), None)

    def moments(self):
        """Return when it is looked at: just before anything changes, when what is shown is oldest."""
        edges = [seen for _, seen in self.arrivals] + [edge for span in self.held for edge in span]
        return sorted({max(0.0, edge - 1e-6) for edge in [*edges, *self.contacts]})


def in_rounds(interval, promise, draws):
    """Return a machine whose rounds come early and late, though always so that it is on time."""
    machine, at = Machine(interval), 0.0
    for late, slow in draws:
        machine.contacts.append(at)
        machine.arrivals.append((at, at + slow * HANDLING))
        at += promise * (1.0 - 0.5 * late if late < 0.5 else OVERDUE * (0.7 + 0.3 * late))
    return machine


def over_links(interval, promise, draws):
    """Return a machine that sends as it samples, whose link breaks silently, and comes again while it is on time."""
    machine, at = Machine(interval), 0.0
    for lasts, slow in draws:
        begin, cut = at, at + lasts * 2 * promise + 1.0
        noticed = cut + KEEPALIVES * KEEPALIVE * (1 - 1e-9) * slow
        machine.held.append((begin, noticed))
        machine.contacts.append(begin)
        machine.arrivals.append((begin, begin + slow * HANDLING))
        sample = (begin // interval + 1) * interval
        while sample <= cut:
            machine.arrivals.append((sample, sample + LINGER + slow * HANDLING))
            sample += interval
        beat = begin + promise
        while beat <= cut:
            machine.contacts.append(beat)
            beat += promise
        at = max(noticed, max(machine.contacts) + OVERDUE * promise * lasts)
    return machine


@pytest.mark.parametrize("dialer", list(Dialer))
@pytest.mark.parametrize("mode", list(Mode))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_f_l8_what_is_shown_is_never_older_than_its_bound_while_the_agent_is_on_time(mode, dialer, data):
    heartbeat = data.draw(st.floats(30, 600))
    # The Manager's visits are spread; what an agent promises has that in it.
    promise = heartbeat if dialer is Dialer.AGENT else heartbeat * data.draw(st.floats(1, 1.25))
    interval = data.draw(st.sampled_from([30.0, 60.0, 300.0]))
    draws = data.draw(st.lists(st.tuples(TIMES, TIMES), min_size=3, max_size=6))
    machine = (over_links if mode is Mode.PUSH else in_rounds)(interval, promise, draws)
    looked = 0
    for now in machine.moments():
        last = max((at for at in machine.contacts if at <= now), default=None)
        at = machine.newest(now)
        if at is None or presence(last, promise, now) is not Presence.ON_TIME:
            continue
        held_for = machine.held_for(now)
        connected = held_for is not None
        bound = newest_bound(now - at, interval, mode, promise, connected=connected, keepalive=KEEPALIVE)
        assert now - at <= bound, (now, at, last, connected)
        if connected and held_for >= HANDLING:
            # What there was has come over this link: nothing but the tighter bound holds.
            assert bound == interval + LINGER + KEEPALIVES * KEEPALIVE + HANDLING
        looked += 1
    assert looked
