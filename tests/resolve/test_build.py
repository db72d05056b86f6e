from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.resolve.conftest import REFS, ref, trees

from popham.errors import ConflictError
from popham.model.bundle import Bundle
from popham.model.communication import CommunicationSettings
from popham.model.fleet import Group, Tree
from popham.model.rollout import PPM, RolloutRef
from popham.resolve.build import advance, build_bundle, next_version, promote, resign, stage, widen

TREE = Tree(
    [
        Group(
            name="fleet", inherits=False, policies={"files": "motd"}, communication=CommunicationSettings()
        ),
        Group(name="paris", parent="fleet"),
    ]
)
NOW = 1_800_000_000.25


def built(previous=None, revision=1, now=NOW):
    return build_bundle(TREE, {"motd": ref("motd", revision=revision)}, "paris", previous=previous, now=now)


def test_the_first_bundle_has_serial_one_and_the_time_as_version():
    first = built()
    assert (first.serial, first.version, first.issued, first.prev) == (
        1,
        1_800_000_000_250,
        1_800_000_000,
        "",
    )


def test_f_y2_without_a_change_of_content_there_is_no_next_bundle():
    assert built(previous=built(), now=NOW + 7 * 86400) is None


def test_f_y2_serial_rises_by_one_when_content_changes():
    first = built()
    second = built(previous=first, revision=2)
    assert (second.serial, second.prev) == (2, first.content_digest)
    assert built(previous=second, revision=1).serial == 3


def test_f_y2_signing_again_raises_the_version_only():
    first = built()
    again = resign(first, now=NOW + 60)
    assert (again.serial, again.content_digest) == (first.serial, first.content_digest)
    assert again.version == first.version + 60_000
    assert built(previous=again) is None


def test_the_version_rises_even_if_the_clock_goes_back():
    assert next_version(2_000_000_000_000, NOW) == 2_000_000_000_001
    assert next_version(0, NOW) == 1_800_000_000_250


@given(
    trees(), st.lists(st.sampled_from(["change", "same", "resign", "reload"]), max_size=6), st.floats(0, 4e9)
)
@settings(max_examples=60)
def test_f_y2_serial_counts_changes_of_content_and_nothing_else(tree, steps, now):
    refs = dict(REFS)
    held = build_bundle(tree, refs, "fleet", previous=None, now=now)
    serial = 1
    for number, step in enumerate(steps, start=2):
        before = held
        if step == "change":
            refs = {name: ref(name, old.type, revision=number) for name, old in refs.items()}
            following = build_bundle(tree, refs, "fleet", previous=held, now=now)
            assert (following is not None) == bool(held.blobs())
            held = following or held
            serial += following is not None
        elif step == "same":
            assert build_bundle(tree, refs, "fleet", previous=held, now=now + number) is None
        elif step == "resign":
            held = resign(held, now=now)
            assert held.version > before.version
        else:
            held = Bundle.from_payload(held.payload())
        assert held.serial == serial
        assert held.version >= before.version


REF = RolloutRef(id="r1", salt="salt", ppm=10_000, wave=1, stable_serial=0)


def staged(ppm=10_000):
    first = built()
    return first, stage(first, built(previous=first, revision=2), replace(REF, ppm=ppm))


def test_f_y17_a_rollout_begins_under_a_new_serial_with_what_held_on_the_stable_side():
    first, both = staged()
    assert (both.serial, both.prev, both.rollout.stable_serial) == (2, first.content_digest, 1)
    assert both.stable == first.stable
    assert [held.policies[0].revision for held in both.candidate.locations.values()] == [2]


def test_f_y17_waves_and_promotion_keep_the_serial_and_an_undo_does_not():
    first, both = staged()
    wider = widen(both, ppm=500_000, wave=2, now=NOW)
    assert (wider.serial, wider.version, wider.rollout.ppm) == (2, both.version + 1, 500_000)
    assert wider.content_digest != both.content_digest
    done = promote(wider, now=NOW)
    assert (done.serial, done.rollout, done.candidate) == (2, None, None)
    assert done.stable == both.candidate
    gone = advance(wider, first.stable, now=NOW)
    assert (gone.serial, gone.prev, gone.rollout) == (3, wider.content_digest, None)
    assert gone.stable == first.stable
    assert both.version < wider.version < done.version
    assert gone.version > wider.version


def test_f_y17_a_group_in_a_rollout_is_built_for_nothing_else():
    _, both = staged()
    assert built(previous=both, revision=2) is None
    for revision in (1, 3):
        with pytest.raises(ConflictError) as caught:
            built(previous=both, revision=revision)
        assert caught.value.code == "conflict.rollout"
    assert built(previous=promote(both, now=NOW), revision=2) is None


@given(st.lists(st.tuples(st.integers(0, PPM), st.floats(0, 4e9)), max_size=6))
@settings(max_examples=40)
def test_f_y17_versions_rise_with_every_wave_and_nobody_has_it_at_none(waves):
    _, held = staged()
    serial = held.serial
    uids = [f"uid-{number}" for number in range(30)]
    for number, (ppm, now) in enumerate(sorted(waves), start=2):
        before = held
        held = Bundle.from_payload(widen(held, ppm=ppm, wave=number, now=now).payload())
        assert held.version > before.version
        assert held.serial == serial
        had = {uid for uid in uids if before.is_candidate(uid)}
        has = {uid for uid in uids if held.is_candidate(uid)}
        assert had <= has or ppm < before.rollout.ppm
        assert bool(ppm) or not has
        assert ppm < PPM or has == set(uids)
        for uid in uids:
            chosen = held.chosen(candidate=uid in has)
            assert chosen.stable == (held.candidate if uid in has else held.stable)
            assert held.serial_of(candidate=uid in has) == (2 if uid in has else 1)
