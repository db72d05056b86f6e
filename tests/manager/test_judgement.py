import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.manager.judgement import Sight, judge, judge_record, show_span
from popham.manager.kept import record_of
from popham.manager.roster import read_record
from popham.manager.saving import STATUS
from popham.model.bundle import Bundle, LocationSet
from popham.model.communication import CommunicationSettings
from popham.model.fleet import Admission, AgentKind
from popham.model.status import Outcome, Presence, StateRecord
from popham.store.rows import AgentRow
from popham.trust.keys import IdentityKey
from popham.trust.verify import seal_state
from popham.upstream.record import NO_OBJECTS, Wanted

NOW = 1_800_000_000.0
BUNDLE = Bundle(
    group="paris",
    serial=3,
    version=5,
    issued=0,
    locations={"default": LocationSet(policies=(), communication=CommunicationSettings())},
)
RECORD = StateRecord(
    uid="u",
    revision=1,
    group="paris",
    promise=300.0,
    mode="push",
    dialer="agent",
    serial=3,
    content_digest=BUNDLE.content_digest,
    resolved="r",
    applied_resolved="r",
    applied_serial=3,
    outcome=Outcome.APPLIED,
)
OFF = replace(BUNDLE, download=False)
OFF_RECORD = replace(
    RECORD, content_digest=OFF.content_digest, applied_digest=BUNDLE.content_digest, applied_resolved="r0"
)
OLD = replace(RECORD, serial=2, content_digest="old")
ROW = AgentRow(
    uid="u", name="web", group="paris", kind="own", admission="accepted", first_seen=NOW, capabilities=2
)
STOCK = replace(ROW, kind="stock")
HASH = bytes(32)


def sight(**more):
    known = {
        "row": ROW,
        "record": RECORD,
        "bundle": BUNDLE,
        "config_hash": b"",
        "presence": Presence.ON_TIME,
        "connected": False,
        "next_contact": NOW + 250,
        "now": NOW,
    }
    return Sight(**(known | more))


def remote(**more):
    return replace(STOCK, remote=json.dumps({"hash": HASH.hex()} | more))


@pytest.mark.parametrize(
    ("seen", "state", "reason"),
    [
        (
            sight(record=replace(OLD, error_code="trust.crit", error="needs download"), connected=True),
            "pending",
            "refused what came: needs download",
        ),
        (sight(), "in sync", ""),
        (
            sight(record=replace(RECORD, withheld=("keys", "pins")), minimum_serial=7),
            "pending",
            "waits for policies keys, pins: they are given from serial 7 on, it has 3",
        ),
        (
            sight(record=replace(RECORD, withheld=("keys",)), minimum_serial=3),
            "pending",
            "waits for policies keys: it is given them when it asks at its next contact",
        ),
        (
            sight(record=replace(RECORD, withheld=("keys",), outcome=Outcome.FAILED, error="no room")),
            "failed",
            "refused: no room",
        ),
        (sight(row=replace(ROW, admission="new")), "pending", "not accepted yet: popham accept agent web"),
        (
            sight(row=replace(ROW, admission="revoked")),
            "pending",
            "revoked by an administrator: it is given nothing",
        ),
        (sight(row=replace(ROW, kind="unknown")), "pending", "it has not said yet what it is"),
        (sight(bundle=None), "pending", "group paris has no bundle"),
        (
            sight(record=None, next_contact=None, presence=Presence.NEVER_SEEN),
            "pending",
            "never seen; waits for its first report",
        ),
        (
            sight(record=None, connected=True),
            "pending",
            "told over its held link; waits for its first report",
        ),
        (sight(record=OLD), "pending", "waits for its heartbeat in 4m"),
        (
            sight(record=replace(OLD, applied_resolved=BUNDLE.locations["default"].resolved_digest)),
            "pending",
            "has serial 3 already, by a rollout that went on since; waits for its heartbeat in 4m",
        ),
        (sight(record=OLD, connected=True), "pending", "told over its held link; waits for its answer"),
        (sight(record=OLD, next_contact=NOW - 90), "pending", "waits for its heartbeat, due 1m ago"),
        (
            sight(record=OLD, next_contact=NOW - 7200, presence=Presence.MISSING),
            "pending",
            "missing: its heartbeat was due 2h ago",
        ),
        (
            sight(record=replace(RECORD, outcome=Outcome.FAILED, error="validate failed: exit 1")),
            "failed",
            "refused: validate failed: exit 1",
        ),
        (
            sight(record=replace(RECORD, outcome=Outcome.FAILED, error_code="policy.path")),
            "failed",
            "refused: policy.path",
        ),
        (sight(record=replace(RECORD, outcome=Outcome.APPLYING)), "pending", "applying serial 3"),
        (
            sight(record=replace(RECORD, applied_resolved="q")),
            "pending",
            "has, and has not applied yet, serial 3",
        ),
        (sight(bundle=OFF, record=OFF_RECORD), "pending", "download is off for group paris"),
        (
            sight(bundle=OFF, record=replace(OFF_RECORD, applied_resolved="r")),
            "pending",
            "download is off for group paris",
        ),
        (sight(bundle=OFF), "pending", "waits for its heartbeat in 4m"),
        (
            sight(bundle=OFF, record=replace(OFF_RECORD, outcome=Outcome.FAILED, error="no")),
            "failed",
            "refused: no",
        ),
        (
            sight(record=replace(OLD, serial=9)),
            "pending",
            "holds serial 9, which is newer than this Manager's 3",
        ),
    ],
)
def test_an_agents_sync_state_comes_with_its_reason(seen, state, reason):
    assert judge(seen) == (state, reason)


@pytest.mark.parametrize(
    ("seen", "state", "reason"),
    [
        (sight(row=STOCK, config_hash=b""), "in sync", ""),
        (sight(row=replace(STOCK, capabilities=1), config_hash=b""), "in sync", ""),
        (
            sight(row=replace(STOCK, capabilities=1), config_hash=HASH),
            "cannot take it",
            "it takes no configuration",
        ),
        (sight(row=STOCK, config_hash=HASH), "pending", "waits for its heartbeat in 4m"),
        (sight(row=remote(status="APPLIED"), config_hash=HASH), "in sync", ""),
        (sight(row=remote(status="APPLYING"), config_hash=HASH), "pending", "applying its configuration"),
        (
            sight(row=remote(status="FAILED", error="bad port"), config_hash=HASH),
            "failed",
            "refused: bad port",
        ),
        (sight(row=remote(status="FAILED"), config_hash=HASH), "failed", "refused: it did not say why"),
        (
            sight(row=remote(status="APPLIED"), config_hash=b"", connected=True),
            "pending",
            "told over its held link; waits for its answer",
        ),
    ],
)
def test_a_stock_agents_sync_state_follows_its_remote_config_status(seen, state, reason):
    assert judge(seen) == (state, reason)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0.4, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (7300, "2h"), (200_000, "2d")],
)
def test_a_span_is_shown_in_its_largest_unit(seconds, text):
    assert show_span(seconds) == text


KEY = IdentityKey.create()
OTHER = replace(BUNDLE, serial=4, version=6)
DIGESTS = st.sampled_from([b"", HASH, NO_OBJECTS, b"\1" * 32])
RECORDS = st.builds(
    replace,
    st.just(RECORD),
    content_digest=st.sampled_from(["", BUNDLE.content_digest, "old"]),
    serial=st.integers(0, 9),
    outcome=st.sampled_from(Outcome),
    applied_resolved=st.sampled_from(["", "r"]),
)
REMOTES = st.one_of(
    st.just("{}"),
    st.builds(
        lambda held, status: json.dumps({"hash": held.hex(), "status": status, "error": ""}),
        DIGESTS,
        st.sampled_from(STATUS),
    ),
)


@given(
    kind=st.sampled_from(AgentKind),
    admission=st.sampled_from(Admission),
    capabilities=st.integers(0, 2**16),
    state=st.none() | RECORDS,
    remote=REMOTES,
    bundle=st.none() | st.just(BUNDLE) | st.just(OTHER),
    objects=st.sampled_from([b"", HASH]),
    connected=st.booleans(),
)
def test_the_census_and_the_table_of_agents_judge_alike(
    kind, admission, capabilities, state, remote, bundle, objects, connected
):
    row = replace(
        ROW,
        uid="01020304-0506-0708-090a-0b0c0d0e0f10",
        kind=str(kind),
        admission=str(admission),
        capabilities=capabilities,
        state=seal_state(state, KEY) if state else b"",
        remote=remote,
    )
    wanted = bundle and Wanted(
        group=row.group,
        serial=bundle.serial,
        version=bundle.version,
        content_digest=bundle.content_digest,
        envelope=b"",
        blobs={},
        objects={},
        objects_digest=objects,
        communication=CommunicationSettings(),
    )
    seen = sight(
        row=row,
        record=read_record(row),
        bundle=bundle,
        config_hash=objects if bundle and kind is AgentKind.STOCK else b"",
        connected=connected,
    )
    assert judge_record(record_of(row), wanted) is judge(seen)[0]
