"""The exchange of a relay: whatever is lost or begins anew, in the end each end has heard the newest of everything."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import WireError
from popham.opamp.relay import Exchange, News, Outbox
from popham.opamp.schema.popham.v1.popham_pb2 import RelayHead


class End:
    """One end that says the newest of each of its things, a few at a time."""

    boots = itertools.count(1)

    def __init__(self, things=()):
        self.exchange = Exchange(next(self.boots))
        self.outbox = Outbox()
        self.things = dict(things)
        self.heard = {}
        self.outstanding = False
        self.outbox.mark(self.things)

    def change(self, key):
        self.things[key] = self.things.get(key, 0) + 1
        self.outbox.mark([key])

    def say(self):
        if self.outstanding:
            self.outbox.lost()
        keys = self.outbox.take(2)
        self.outstanding = True
        return self.exchange.head(more=bool(self.outbox)), {key: self.things[key] for key in keys}

    def hear(self, message):
        head, things = message
        news = self.exchange.hear(head)
        self.outstanding = False
        if news is News.BOOTED:
            self.outbox.clear()
            self.outbox.mark(self.things)
        elif news is News.HEARD:
            self.outbox.heard()
        else:
            self.outbox.lost()
        self.heard.update(things)


STEP = st.one_of(
    st.tuples(
        st.just("exchange"), st.sampled_from(["whole", "question lost", "answer lost", "question twice"])
    ),
    st.tuples(st.just("change"), st.tuples(st.integers(0, 1), st.integers(0, 6))),
    st.tuples(st.just("reboot"), st.integers(0, 1)),
    st.tuples(st.just("turn"), st.none()),
)


def exchange(first, second, how="whole"):
    question = first.say()
    if how == "question lost":
        return
    second.hear(question)
    answer = second.say()
    if how == "question twice":
        second.hear(question)
        answer = second.say()
    if how != "answer lost":
        first.hear(answer)


@given(st.lists(STEP, max_size=40))
def test_in_the_end_each_end_has_heard_all_that_was_marked_at_the_other(steps):
    ends = [End(), End()]
    begins = 0
    for kind, what in steps:
        if kind == "exchange":
            exchange(ends[begins], ends[1 - begins], what)
        elif kind == "change":
            ends[what[0]].change(what[1])
        elif kind == "reboot":
            ends[what] = End(ends[what].things)
        else:
            begins = 1 - begins
    for _ in range(12):
        exchange(ends[begins], ends[1 - begins])
    assert ends[0].heard == ends[1].things
    assert ends[1].heard == ends[0].things
    assert not ends[0].outbox.waits or ends[0].outstanding
    exchange(ends[begins], ends[1 - begins])
    assert ends[1 - begins].outbox.waits is False


def test_a_message_without_boot_or_number_is_refused():
    for head in (RelayHead(boot=1), RelayHead(number=1)):
        with pytest.raises(WireError, match="from which process"):
            Exchange(7).hear(head)


def test_what_finds_no_room_waits_before_all_others():
    outbox = Outbox()
    outbox.mark("abc")
    assert outbox.take(2) == ["a", "b"]
    outbox.put_back(["b"])
    assert outbox.take(9) == ["b", "c"]


def test_what_is_marked_again_while_it_is_said_is_not_taken_for_heard():
    outbox = Outbox()
    outbox.mark("ab")
    outbox.take(2)
    outbox.mark("a")
    assert set(outbox.said) == {"b"}
    outbox.heard()
    assert outbox.take(9) == ["a"]
    outbox.drop("a")
    assert not outbox.waits
