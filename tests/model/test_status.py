import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import WireError
from popham.model.names import canonical
from popham.model.status import Downtime, Outcome, Presence, StateRecord, SyncState, presence, sync_state

RECORD = StateRecord(
    uid="0190a0b1-0000-7000-8000-000000000001",
    revision=4,
    group="paris",
    promise=300.0,
    mode="push",
    dialer="agent",
    serial=2,
    content_digest="aa",
    resolved="r1",
    applied_serial=2,
    applied_resolved="r1",
    outcome=Outcome.APPLIED,
    facts={"host.name": "web"},
    unsupported=("collect",),
)


def payload(**changes):
    return canonical(json.loads(RECORD.payload()) | changes)


def test_a_state_record_is_read_back():
    assert StateRecord.from_payload(RECORD.payload()) == RECORD


def test_a_state_record_that_was_checked_is_the_one_that_its_constructor_makes():
    least = {"uid": "u", "revision": 1, "group": "g", "promise": 30.0, "mode": "push", "dialer": "agent"}
    made = StateRecord(**least, outcome=Outcome.APPLIED)
    read = StateRecord.from_checked(least | {"outcome": "applied", "unheard": 1})
    assert read == made
    assert read.facts is not StateRecord.from_checked(least | {"outcome": "applied"}).facts
    assert json.loads(read.payload()) == json.loads(canonical(asdict(made)))
    for name in least:
        with pytest.raises(WireError):
            StateRecord.from_checked(
                {known: least[known] for known in least if known != name} | {"outcome": "applied"}
            )


def test_a_slim_state_record_shares_texts_and_has_no_facts():
    asked = []
    made = StateRecord(
        uid="u", revision=1, group="g", promise=30.0, mode="push", dialer="agent", error="e", facts={"a": "b"}
    )
    slim = made.slim("u", lambda text: asked.append(text) or text)
    assert slim == replace(made, facts={})
    assert {"g", "push", "agent"} <= set(asked)
    assert "e" not in asked
    assert made.facts == {"a": "b"}


def test_what_a_newer_agent_adds_is_ignored():
    assert StateRecord.from_payload(payload(weather="fine")) == RECORD


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b"null",
        b"[" * 100_000,
        payload(outcome="exploded"),
        payload(group=5),
        payload(error=None),
        payload(facts=[]),
        payload(facts={"a": 1}),
        payload(unsupported=[1]),
        payload(unsupported=5),
        payload(serial="2"),
        payload(serial=True),
        payload(serial=-1),
        payload(serial=2**63),
        payload(revision=1.5),
        payload(promise=0),
        payload(promise=-5.0),
        payload(promise="5m"),
        payload(promise=1e9),
        payload(since=None),
        RECORD.payload().replace(b'"promise":300.0', b'"promise":NaN'),
        RECORD.payload().replace(b'"promise":300.0', b'"promise":300.0,"promise":300.0'),
    ],
)
def test_a_malformed_state_record_is_refused(data):
    with pytest.raises(WireError) as caught:
        StateRecord.from_payload(data)
    assert caught.value.code == "wire.state"


@pytest.mark.parametrize(
    ("silent", "known"),
    [
        (0, Presence.ON_TIME),
        (150, Presence.ON_TIME),
        (151, Presence.OVERDUE),
        (300, Presence.OVERDUE),
        (301, Presence.MISSING),
    ],
)
def test_presence_follows_the_promise(silent, known):
    assert presence(1000.0, 100.0, 1000.0 + silent) is known


def test_an_agent_that_never_came_was_never_seen():
    assert presence(None, 100.0, 1000.0) is Presence.NEVER_SEEN


def test_the_managers_own_downtime_does_not_count():
    down = [Downtime(1050.0, 1250.0)]
    assert presence(1000.0, 100.0, 1340.0, down) is Presence.ON_TIME
    assert presence(1000.0, 100.0, 1340.0) is Presence.MISSING
    assert presence(1300.0, 10.0, 1340.0, down) is Presence.MISSING  # it was over before the last contact


@given(st.floats(0, 1e6), st.floats(1, 1e5), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_downtime_never_makes_presence_worse(silent, promise, begin, length):
    order = [Presence.ON_TIME, Presence.OVERDUE, Presence.MISSING]
    down = [Downtime(1e6 + begin, 1e6 + begin + length)]
    with_down = presence(1e6, promise, 1e6 + silent, down)
    assert order.index(with_down) <= order.index(presence(1e6, promise, 1e6 + silent))


def test_an_agent_that_applied_what_is_wanted_is_in_sync():
    assert sync_state("aa", RECORD) is SyncState.IN_SYNC


@pytest.mark.parametrize(
    ("wanted", "record", "state"),
    [
        ("aa", None, SyncState.PENDING),
        ("bb", RECORD, SyncState.PENDING),
        ("bb", replace(RECORD, outcome=Outcome.FAILED), SyncState.PENDING),
        ("aa", replace(RECORD, outcome=Outcome.FAILED), SyncState.FAILED),
        ("aa", replace(RECORD, outcome=Outcome.APPLYING), SyncState.PENDING),
        ("aa", replace(RECORD, applied_resolved="r0"), SyncState.PENDING),
        ("aa", replace(RECORD, applied_digest="aa"), SyncState.IN_SYNC),
        ("aa", replace(RECORD, applied_digest="99"), SyncState.PENDING),  # download is off
    ],
)
def test_sync_state_comes_from_digests_only(wanted, record, state):
    assert sync_state(wanted, record) is state
