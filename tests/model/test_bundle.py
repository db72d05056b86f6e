import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popham.errors import WireError
from popham.model.bundle import Bundle, LocationSet, PolicyRef, Side
from popham.model.cell import Cell
from popham.model.communication import CommunicationSettings, Dialer, Mode
from popham.model.criteria import Condition, Kind
from popham.model.location import Location, LocationRules
from popham.model.names import canonical, digest
from popham.model.rollout import PPM, RolloutRef, bucket
from popham.model.schedule import Override

REF = PolicyRef(type="files", name="motd", revision=3, sha256="ab" * 32, length=120)
HELD = LocationSet(policies=(REF,), communication=CommunicationSettings())
BUNDLE = Bundle(
    group="paris",
    serial=2,
    version=1_800_000_000_000,
    issued=1_800_000_000,
    prev="cd" * 32,
    locations={"default": HELD},
)


def payload(**changes):
    """Return the payload with other fields, its content digest fitting again."""
    data = json.loads(BUNDLE.payload()) | changes
    said = {k: v for k, v in data.items() if k not in {"version", "issued", "content_digest"}}
    return canonical(data | {"content_digest": digest(canonical(said))})


REFS = st.builds(
    PolicyRef,
    type=st.sampled_from(["files", "otelcol"]),
    name=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,9}", fullmatch=True),
    revision=st.integers(1, 10**6),
    sha256=st.just("ab" * 32),
    length=st.integers(0, 4 * 2**20),
)
SETS = st.builds(
    LocationSet,
    policies=st.lists(REFS, max_size=3).map(tuple),
    communication=st.builds(
        CommunicationSettings,
        mode=st.sampled_from(Mode),
        heartbeat=st.floats(1, 604800) | st.integers(1, 100),
    ),
)


def _bundle(held, default, download, **numbers):
    found = (Location(name=name, when=Condition(Kind.INTERFACE, "vpn")) for name in sorted(held))
    rules = LocationRules(locations=(*found, Location(name="default")), check=10.0) if held else None
    locations = held | {"default": default}
    return Bundle(group="paris", locations=locations, rules=rules, download=download, **numbers)


BUNDLES = st.builds(
    _bundle,
    held=st.dictionaries(st.sampled_from(["office", "home"]), SETS),
    default=SETS,
    download=st.booleans(),
    serial=st.integers(1, 10**6),
    version=st.integers(1, 2**53),
    issued=st.integers(0, 2**40),
    prev=st.sampled_from(["", "cd" * 32]),
)


@given(BUNDLES)
@settings(max_examples=50)
def test_a_bundle_is_read_back_from_its_payload(bundle):
    found = Bundle.from_payload(bundle.payload())
    assert found == bundle
    assert found.content_digest == bundle.content_digest
    assert found.payload() == bundle.payload()


@given(BUNDLES, st.integers(1, 2**53), st.integers(0, 2**40))
@settings(max_examples=30)
def test_f_y2_the_content_digest_does_not_change_by_signing_again(bundle, version, issued):
    assert replace(bundle, version=version, issued=issued).content_digest == bundle.content_digest


@pytest.mark.parametrize(
    "change",
    [
        {"serial": 3},
        {"prev": ""},
        {"group": "lyon"},
        {"tenant": "other"},
        {"tuf": {"root": 2, "targets": 1}},
        {"locations": {}},
    ],
)
def test_the_content_digest_changes_with_everything_else(change):
    assert replace(BUNDLE, **change).content_digest != BUNDLE.content_digest


def test_unknown_fields_are_ignored_and_kept_in_the_digest():
    found = Bundle.from_payload(payload(colour={"sea": 5}))
    assert replace(found) == BUNDLE
    assert found.content_digest == json.loads(payload(colour={"sea": 5}))["content_digest"]
    assert found.content_digest != BUNDLE.content_digest


def test_a_changed_copy_computes_its_own_digest():
    found = Bundle.from_payload(BUNDLE.payload())
    assert replace(found, serial=9).content_digest == replace(BUNDLE, serial=9).content_digest


def test_unknown_fields_listed_in_crit_are_refused():
    with pytest.raises(WireError) as caught:
        Bundle.from_payload(payload(crit=["colour"]))
    assert (caught.value.code, caught.value.hint) == ("wire.crit", "Upgrade the agent")


def test_criteria_that_are_unknown_are_a_newer_managers():
    rules = {
        "locations": [
            {"name": "default", "weight": 0},
            {"name": "moon", "weight": 1, "when": {"gravity": "low"}},
        ],
        "default": "default",
        "check": 30.0,
        "remembers": True,
    }
    held = HELD.as_dict()
    with pytest.raises(WireError) as caught:
        Bundle.from_payload(payload(location_rules=rules, sets={"stable": {"default": held, "moon": held}}))
    assert (caught.value.code, caught.value.hint) == ("wire.crit", "Upgrade the agent")
    assert "there is no criterion 'gravity'" in caught.value.problem


def test_blobs_names_every_body_once():
    twice = replace(BUNDLE, locations={"default": HELD, "home": HELD})
    assert twice.blobs() == {REF.sha256: 120}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        BUNDLE.payload().replace(b'"serial":2', b'"serial":3'),
        BUNDLE.payload()[:-1] + b',"serial":2}',
        payload(serial="x"),
        payload(serial=0),
        payload(version=0),
        payload(default_location="nowhere"),
        payload(sets={}),
        payload(
            sets={
                "stable": {
                    "default": {
                        "policies": [],
                        "communication": CommunicationSettings().as_dict() | {"heartbeat": 0},
                    }
                }
            }
        ),
        payload(
            sets={
                "stable": {"default": {"policies": [{}], "communication": CommunicationSettings().as_dict()}}
            }
        ),
        b"[" * 100_000,
    ],
)
def test_a_malformed_bundle_is_refused(data):
    with pytest.raises(WireError) as caught:
        Bundle.from_payload(data)
    assert caught.value.code == "wire.bundle"


def test_the_resolved_digest_depends_on_policies_and_settings_only():
    assert HELD.resolved_digest == replace(BUNDLE, serial=99).locations["default"].resolved_digest
    assert HELD.resolved_digest != replace(HELD, policies=()).resolved_digest
    slower = replace(HELD, communication=CommunicationSettings(heartbeat=600.0))
    assert HELD.resolved_digest != slower.resolved_digest


def test_f_c1_with_download_off_older_agents_refuse_instead_of_taking_policies_away():
    held = {"default": LocationSet(policies=(), communication=CommunicationSettings())}
    off = Bundle(group="paris", serial=1, version=1, issued=1, locations=held, download=False)
    assert off.as_dict()["crit"] == ["download"]
    assert Bundle.from_payload(off.payload()) == off
    assert replace(off, download=True).as_dict()["crit"] == []


@pytest.mark.parametrize(
    "settings",
    [
        CommunicationSettings(dialer=Dialer.MANAGER),
        CommunicationSettings(data=Cell(mode=Mode.PULL, dialer=Dialer.MANAGER)),
        CommunicationSettings(metered=Override(dialer=Dialer.MANAGER)),
    ],
)
def test_f_c3_where_the_manager_is_to_dial_older_agents_refuse_instead_of_waiting_for_ever(settings):
    visited = replace(HELD, communication=settings)
    assert BUNDLE.as_dict()["crit"] == []
    for bundle in (
        replace(BUNDLE, locations={"default": visited}),
        replace(BOTH, candidate=Side(locations={"default": visited})),
        replace(BOTH, locations={"default": visited}),
    ):
        assert bundle.as_dict()["crit"] == ["visits"]
        assert Bundle.from_payload(bundle.payload()) == bundle
    both = replace(BUNDLE, locations={"default": visited}, download=False)
    assert both.as_dict()["crit"] == ["download", "visits"]


CANDIDATE = Side(
    locations={"default": replace(HELD, policies=(replace(REF, revision=4, sha256="ef" * 32, length=7),))}
)
ROLLOUT = RolloutRef(id="r1", salt="salt", ppm=PPM // 2, wave=2, stable_serial=1)
BOTH = replace(BUNDLE, candidate=CANDIDATE, rollout=ROLLOUT)
UIDS = [f"uid-{number}" for number in range(40)]


@given(BUNDLES, BUNDLES, st.integers(0, PPM), st.integers(1, 20), st.integers(0, 2**31))
@settings(max_examples=40)
def test_f_y17_a_bundle_with_two_sides_is_read_back_from_its_payload(bundle, other, ppm, wave, serial):
    rollout = RolloutRef(id="r7", salt="0123456789abcdef", ppm=ppm, wave=wave, stable_serial=serial)
    both = replace(bundle, candidate=other.stable, rollout=rollout)
    found = Bundle.from_payload(both.payload())
    assert found == both
    assert found.payload() == both.payload()
    assert found.content_digest != bundle.content_digest
    for uid in UIDS[:5]:
        chosen = found.chosen(candidate=found.is_candidate(uid))
        assert chosen.stable == (found.candidate if found.is_candidate(uid) else found.stable)
        assert (chosen.content_digest, chosen.serial) == (found.content_digest, found.serial)


def test_sec_42_an_agent_has_the_candidate_by_its_own_bucket_only():
    first = {uid for uid in UIDS if BOTH.is_candidate(uid)}
    assert first == {uid for uid in UIDS if bucket("salt", uid) < 0.5}
    assert 0 < len(first) < len(UIDS)
    for uid in UIDS:
        assert BOTH.chosen(candidate=uid in first).stable == (CANDIDATE if uid in first else BUNDLE.stable)
        assert BOTH.serial_of(candidate=uid in first) == (2 if uid in first else 1)
    assert not any(replace(BOTH, rollout=replace(ROLLOUT, ppm=0)).is_candidate(uid) for uid in UIDS)
    assert all(replace(BOTH, rollout=replace(ROLLOUT, ppm=PPM)).is_candidate(uid) for uid in UIDS)


def test_f_y9_an_agent_has_a_candidate_by_name_where_the_rollout_says_so():
    outside = next(uid for uid in UIDS if not BOTH.is_candidate(uid))
    assert not BOTH.is_candidate(outside, "r1")
    by_name = replace(BOTH, rollout=replace(ROLLOUT, named=True))
    assert by_name.is_candidate(outside, "r1")
    assert not by_name.is_candidate(outside, "r2")
    assert not by_name.is_candidate(outside)
    assert Bundle.from_payload(by_name.payload()) == by_name
    assert "named" not in json.loads(BOTH.payload())["rollout"], "older agents know nothing of it"


def test_f_y17_blobs_are_those_of_both_sides():
    assert BOTH.blobs() == {REF.sha256: 120, "ef" * 32: 7}


def test_f_y17_who_knows_no_rollouts_reads_the_stable_side():
    data = json.loads(BOTH.payload())
    assert data["crit"] == []
    assert data["sets"]["stable"] == BUNDLE.stable.sets()


@pytest.mark.parametrize(
    "wrong", [{"ppm": -1}, {"ppm": PPM + 1}, {"wave": 0}, {"salt": None, "ppm": "x"}, {}]
)
def test_sec_42_a_rollout_that_cannot_be_is_refused(wrong):
    data = json.loads(BOTH.payload())
    rollout = data["rollout"] | wrong if wrong else {}
    said = {k: v for k, v in data.items() if k not in {"version", "issued", "content_digest"}}
    said["rollout"] = rollout
    with pytest.raises(WireError):
        Bundle.from_payload(canonical(data | said | {"content_digest": digest(canonical(said))}))
