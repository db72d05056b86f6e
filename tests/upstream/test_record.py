"""What an upstream expects of a stock agent: the heartbeat it accepted, else what it is used to."""

import pytest

from popham.errors import WireError
from popham.model.fleet import AgentKind
from popham.model.status import Presence, StateRecord, presence
from popham.trust.keys import IdentityKey
from popham.trust.verify import seal_state
from popham.upstream import record as records
from popham.upstream.record import (
    APPLIED,
    APPLYING,
    FAILED,
    NO_OBJECTS,
    STOCK_PROMISE,
    Record,
    RemoteStatus,
    stock_digest,
)

NOW = 1_800_000_000.0
TOLD = b"t" * 32


@pytest.fixture
def record():
    return Record(uid="u", key=bytes(16), name="web", group="fleet", kind=AgentKind.STOCK)


def meet(record, *gaps):
    """Let a contact come after each of these gaps, and return the time of the last."""
    at = NOW if record.last_contact is None else record.last_contact
    for gap in gaps:
        at += gap
        record.contact(at, "192.0.2.1")
    return at


def test_f_o16_a_stock_agent_is_expected_every_30_s_at_first(record):
    at = meet(record, 0)
    assert record.promise == STOCK_PROMISE
    seen = [presence(record.last_contact, record.promise, at + after) for after in (45, 46, 90, 91)]
    assert seen == [Presence.ON_TIME, Presence.OVERDUE, Presence.OVERDUE, Presence.MISSING]


def test_f_o16_the_longest_of_the_last_ten_intervals_counts(record):
    meet(record, 0, 60, 90, 60)
    assert record.promise == 90
    meet(record, *[60] * 8)
    assert record.promise == 90
    meet(record, 60)
    assert record.promise == 60


def test_f_o16_a_burst_of_messages_does_not_make_it_missing_a_minute_later(record):
    meet(record, 0, *[0.1] * 9)
    assert record.promise == STOCK_PROMISE


def test_f_o16_no_promise_is_shorter_than_a_second(record):
    meet(record, 0, *[0.01] * 20)
    assert record.promise == 1


def test_f_o16_the_silence_before_a_restart_of_the_manager_is_not_its_interval(record):
    record.last_contact, record.promise = NOW, 20.0
    meet(record, 86400, 20, 20)
    assert record.promise == 20


def test_f_o16_our_own_agents_promise_for_themselves(record):
    record.kind, record.promise = AgentKind.OWN, 300.0
    meet(record, 0, 900, 900)
    assert record.promise == 300


def test_f_o16_an_offered_heartbeat_is_expected_while_nobody_knows_whether_it_was_accepted(record):
    meet(record, 0, 30)
    record.settings_offered(TOLD, 300.0)
    assert record.promise == 300
    meet(record, *[30] * 12)
    assert record.promise == 300
    record.settings = RemoteStatus(TOLD, APPLYING)
    meet(record, 30)
    assert record.promise == 300


def test_f_o16_an_accepted_heartbeat_holds_at_once_also_where_it_is_shorter(record):
    meet(record, 0, *[600] * 10)
    record.settings_offered(TOLD, 60.0)
    assert record.promise == 600
    record.settings = RemoteStatus(TOLD, APPLIED)
    meet(record, 60)
    assert record.promise == 60


def test_f_o16_a_refused_heartbeat_is_not_expected(record):
    meet(record, 0, *[30] * 10)
    record.settings_offered(TOLD, 300.0)
    record.settings = RemoteStatus(TOLD, FAILED)
    meet(record, 30)
    assert record.promise == 30


def test_f_o16_what_was_said_of_older_settings_does_not_count(record):
    meet(record, 0, *[30] * 10)
    record.settings = RemoteStatus(b"o" * 32, FAILED)
    record.settings_offered(TOLD, 300.0)
    meet(record, 30)
    assert record.promise == 300


@pytest.mark.parametrize(
    ("objects", "held", "wanted"),
    [
        (b"", b"", b""),
        (TOLD, b"", TOLD),
        (TOLD, b"old", TOLD),
        (b"", b"old", NO_OBJECTS),
        (b"", NO_OBJECTS, NO_OBJECTS),
    ],
)
def test_f_o16_an_agent_that_holds_something_is_to_lose_it_with_its_policies(objects, held, wanted):
    assert stock_digest(objects, held) == wanted


# What it said last, read when it is asked for, by whatever thread.


def said(revision):
    state = StateRecord(uid="u", revision=revision, group="fleet", promise=60.0, mode="pull", dialer="agent")
    return state, seal_state(state, IdentityKey.create())


@pytest.mark.parametrize("damaged", [False, True])
def test_a_newer_state_that_comes_while_the_kept_one_is_read_is_the_one_that_stays(
    record, monkeypatch, damaged
):
    newer, envelope = said(2)
    record.envelope = said(1)[1]
    slim = records._slim

    def meanwhile(state, uid):
        monkeypatch.undo()
        record.note_state(newer, envelope)
        if damaged:
            raise WireError("state", "it is malformed")
        return slim(state, uid)

    monkeypatch.setattr(records, "_slim", meanwhile)
    assert record.state.revision == 2
    assert (record.state.revision, record.envelope) == (2, envelope)


def test_a_kept_state_that_cannot_be_read_is_forgotten(record):
    record.envelope = b"{"
    assert (record.state, record.envelope) == (None, b"")
