"""Presence of agents at a proxy: one byte says when each was heard of, well enough to judge it."""

import math

from hypothesis import given
from hypothesis import strategies as st

from popham.model.status import presence
from popham.upstream.presence import LINKED, MOST, PARTS, UNKNOWN, decode_age, encode_age
from popham.upstream.record import Record
from popham.upstream.relayed import Relayed, Roll

NOW = 1_800_000_000.0
PROMISES = st.floats(1, 7 * 86400.0)


@given(PROMISES, st.floats(0, MOST * 0.999))
def test_an_age_is_never_told_smaller_and_at_most_one_part_larger(promise, times):
    age = times * promise
    byte = encode_age(age, promise, held=False)
    told = decode_age(byte, promise)
    assert LINKED < byte < UNKNOWN
    assert age <= told * (1 + 1e-9) + 1e-9
    assert told <= age + promise / PARTS * (1 + 1e-9)


@given(PROMISES, st.floats(MOST * 1.01, 1e6))
def test_whoever_is_silent_for_longer_than_can_be_told_is_unknown(promise, times):
    assert encode_age(times * promise, promise, held=False) == UNKNOWN
    assert decode_age(UNKNOWN, promise) is None


def test_a_link_is_told_as_now_and_nonsense_as_nothing():
    assert encode_age(1e9, 1.0, held=True) == LINKED
    assert decode_age(LINKED, 300.0) == 0.0
    for age, promise in ((1.0, 0.0), (1.0, -1.0), (1.0, math.nan), (math.nan, 1.0), (math.inf, 1.0)):
        assert encode_age(age, promise, held=False) == UNKNOWN


def relayed(text, *, index=0, at=NOW, **said):
    proxy = Record(uid="p", key=b"p" * 16, name="dock", group="fleet", own_promise=300.0)
    record = Record(uid="a", key=b"a" * 16, name="a", group="fleet", own_promise=60.0)
    record.via, record.relay = ("p",), Relayed(Roll(proxy, 1, text, at), index, 60.0, **said)
    return record


def test_f_t2_an_agent_behind_a_proxy_is_as_old_as_its_byte_says_and_promises_with_its_proxy():
    record = relayed(bytes((UNKNOWN, encode_age(30.0, 60.0, held=False))), index=1)
    assert record.last_contact == NOW - 30.0
    assert record.promise == 360.0
    assert not record.is_linked
    assert presence(record.last_contact, record.promise, NOW + 500) == "on time"


def test_an_agent_of_whom_the_text_says_nothing_is_as_old_as_what_was_said_of_it():
    for text in (b"", bytes([UNKNOWN])):
        record = relayed(text, said=NOW - 100.0, held=True)
        assert record.last_contact == NOW - 100.0
        assert record.is_linked


def test_an_agent_that_came_itself_lately_is_not_older_for_being_at_a_proxy():
    record = relayed(bytes([encode_age(60.0, 60.0, held=False)]))
    record.last_contact = NOW - 5.0
    assert record.last_contact == NOW - 5.0


def test_a_linked_agent_is_as_old_as_the_word_of_its_proxy():
    record = relayed(bytes([LINKED]), at=NOW - 40.0)
    assert record.last_contact == NOW - 40.0
    assert record.is_linked


def test_promises_of_a_chain_add_up():
    outer, inner = relayed(b""), relayed(b"")
    inner.relay.roll.proxy = outer
    assert inner.promise == 60.0 + 60.0 + 300.0
