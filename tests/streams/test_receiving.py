"""What a receiver knows: whatever comes, in whatever order and however often, counts once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import StateError, StreamError
from popham.streams.frame import START, Cause, Stream
from popham.streams.kept import Maker
from popham.streams.receiving import Receiving, Verdict
from popham.streams.standing import BOOTS, RANGES, Range


def chain(*parts, boot=b"bootboot", text="a"):
    """Return heads in a row: a number for so many records, a pair for a gap of them."""
    maker = Maker(stream=Stream.LOGS, uid=bytes(16), epoch=1, boot=boot, written=0, first=0, before=START)
    heads = []
    for number, part in enumerate(parts):
        count, cause = part if isinstance(part, tuple) else (part, None)
        made = maker.records(f"{text}{number}".encode(), count) if cause is None else maker.gap(cause, count)
        heads.append(made.head)
        maker = Maker(
            stream=Stream.LOGS,
            uid=bytes(16),
            epoch=1,
            boot=boot,
            written=0,
            first=made.head.end,
            before=made.head.tail,
        )
    return heads


def give(receiving, *heads):
    for head in heads:
        if receiving.offer(head) is not Verdict.HAVE:
            receiving.take(head)
    return receiving


def gap(first, count, before, tail, cause=Cause.COUNT):
    maker = Maker(
        stream=Stream.LOGS, uid=bytes(16), epoch=1, boot=b"bootboot", written=0, first=first, before=before
    )
    return maker.gap(cause, count, tail=tail).head


@given(st.lists(st.integers(1, 4), min_size=1, max_size=10), st.data())
def test_rel_8_any_order_and_any_repeats_end_alike(counts, data):
    heads = chain(*counts)
    order = data.draw(st.lists(st.sampled_from(heads), max_size=30)) + data.draw(st.permutations(heads))
    receiving = give(Receiving(Stream.LOGS, 1), *order)
    assert (receiving.next, receiving.stored, receiving.lost) == (sum(counts), sum(counts), {})
    assert receiving.last == heads[-1].tail
    assert receiving.standing().ranges == ()
    assert Receiving.from_dict(receiving.as_dict()).as_dict() == receiving.as_dict()


def test_what_comes_beyond_stands_in_ranges_until_the_rest_is_there():
    one, two, three, four = chain(2, 3, 4, 5)
    receiving = give(Receiving(Stream.LOGS, 1), four, two)
    assert receiving.next == 0
    assert receiving.standing().ranges == (Range(2, 5, two.tail), Range(9, 14, four.tail))
    again = Receiving.from_dict(receiving.as_dict())
    assert give(again, one, three).standing() == give(receiving, three, one).standing()
    assert (receiving.next, receiving.last) == (14, four.tail)


def test_f_d2_a_gap_counts_what_is_missing_and_nothing_that_is_there():
    one, two, three = chain(2, 3, 4)
    receiving = give(Receiving(Stream.LOGS, 1), one, three)
    whole = gap(0, 9, START, three.tail)
    assert receiving.offer(whole) is Verdict.PART
    give(receiving, whole, whole, two)
    assert (receiving.next, receiving.stored, receiving.lost) == (9, 6, {"count": 3})


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.data())
def test_f_d2_rel_8_frames_and_gaps_over_them_in_any_order_count_every_record_once(counts, data):
    heads = chain(*counts)
    places = st.integers(0, len(heads) - 1)
    receiving, stored = Receiving(Stream.LOGS, 1), 0
    for one, other, is_gap in data.draw(st.lists(st.tuples(places, places, st.booleans()), max_size=20)):
        first, last = heads[min(one, other)], heads[max(one, other)]
        head = gap(first.first, last.end - first.first, first.before, last.tail) if is_gap else first
        if receiving.offer(head) is not Verdict.HAVE:
            stored += 0 if is_gap else head.count
            receiving.take(head)
        beyond = sum(part.end - part.first for part in receiving.standing().ranges)
        assert receiving.stored == stored
        assert receiving.stored + receiving.lost.total() == receiving.next + beyond
    give(receiving, *heads)
    assert (receiving.next, receiving.last) == (sum(counts), heads[-1].tail)
    assert receiving.stored + receiving.lost.total() == receiving.next


def test_a_frame_that_was_counted_as_lost_does_not_count_again():
    one, two = chain(2, 3)
    receiving = give(Receiving(Stream.LOGS, 1), gap(0, 5, START, two.tail, Cause.AGE))
    assert receiving.offer(one) is receiving.offer(two) is Verdict.HAVE
    assert (receiving.stored, receiving.lost) == (0, {"age": 5})


def test_another_history_is_refused_at_the_first_frame_that_differs():
    ours, other = chain(2, 3, 4), chain(2, 3, 4, text="b")
    receiving = give(Receiving(Stream.LOGS, 1), ours[0])
    for head in (other[0], other[1]):
        with pytest.raises(StreamError) as caught:
            receiving.offer(head)
        assert caught.value.code == "stream.overlap"
    give(receiving, ours[2])
    with pytest.raises(StreamError):
        receiving.offer(other[1])
    assert receiving.offer(ours[1]) is Verdict.NEW


def test_a_frame_that_begins_or_ends_inside_of_another_is_refused():
    receiving = give(Receiving(Stream.LOGS, 1), *chain(4))
    for counts in ((5,), (3, 2)):
        with pytest.raises(StreamError) as caught:
            give(receiving, *chain(*counts, text="c"))
        assert caught.value.code == "stream.overlap"


def test_frames_all_over_the_place_are_refused_once_there_are_too_many_ranges():
    heads = chain(*[1] * (2 * RANGES + 4))
    receiving = give(Receiving(Stream.LOGS, 1), *heads[1 : 2 * RANGES : 2])
    assert len(receiving.standing().ranges) == RANGES
    with pytest.raises(StreamError) as caught:
        receiving.offer(heads[2 * RANGES + 1])
    assert caught.value.code == "stream.scattered"
    assert receiving.offer(heads[0]) is Verdict.NEW
    assert receiving.offer(heads[2 * RANGES]) is Verdict.NEW, "it is beside one that is there"


def test_the_newest_boots_are_remembered():
    receiving, before, first = Receiving(Stream.LOGS, 1), START, 0
    for number in range(BOOTS + 3):
        maker = Maker(
            stream=Stream.LOGS,
            uid=bytes(16),
            epoch=1,
            boot=number.to_bytes(8, "big"),
            written=0,
            first=first,
            before=before,
        )
        head = maker.records(b"%d" % number, 2).head
        give(receiving, head)
        before, first = head.tail, head.end
    boots = receiving.standing().boots
    assert [(int.from_bytes(one.boot, "big"), one.first) for one in boots] == [
        (number, 2 * number) for number in range(3, BOOTS + 3)
    ]


def test_it_goes_on_where_another_receiver_is():
    heads = chain(2, 3, 4, 5, 6)
    other = give(Receiving(Stream.LOGS, 1), heads[0], heads[2], heads[4])
    receiving = Receiving.from_standing(other.standing())
    assert receiving.standing() == other.standing()
    assert [receiving.offer(head) for head in heads] == [
        Verdict.HAVE,
        Verdict.NEW,
        Verdict.HAVE,
        Verdict.NEW,
        Verdict.HAVE,
    ]
    for wrong in (chain(2, 4)[1], chain(2, 3, 4, text="b")[2], chain(2, 3, 4, 5, text="b")[3]):
        with pytest.raises(StreamError, match=r"stream\.overlap"):
            receiving.offer(wrong)
    apart = receiving.copy()
    give(apart, heads[1], heads[3])
    assert (apart.next, apart.last, apart.standing().ranges) == (20, heads[4].tail, ())
    assert receiving.next == 2


def test_what_is_kept_of_it_and_cannot_be_read_is_named():
    with pytest.raises(StateError) as caught:
        Receiving.from_dict({"stream": "logs"})
    assert caught.value.code == "state.corrupt"
