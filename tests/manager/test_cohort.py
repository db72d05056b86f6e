"""Who goes first: within the quota, with somebody in contact, whatever the groups look like."""

import math
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from popham.errors import ConflictError
from popham.manager.cohort import Member, allot, draw, takes_part
from popham.model.rollout import PPM, RolloutRef, bucket


def members(group, here, away=0):
    return [Member(f"{group}-{number}", number < here) for number in range(here + away)]


def cohort(groups, parts):
    return {
        name: [
            one
            for one in held
            if bucket(parts[name].salt, one.uid)
            < RolloutRef(id="r1", salt="", ppm=parts[name].ppm, wave=1, stable_serial=1).share
        ]
        for name, held in groups.items()
    }


SIZES = st.dictionaries(
    st.sampled_from(["paris", "lyon", "lab", "shop"]),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
    min_size=1,
)


@given(SIZES, st.integers(5000, PPM), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_f_y17_the_first_cohort_has_somebody_in_contact_and_nobody_too_many(sizes, ppm, seed):
    assume(any(here for here, _ in sizes.values()))
    groups = {name: members(name, *size) for name, size in sizes.items()}
    parts = draw(groups, ppm, Random(seed))
    found = cohort(groups, parts)
    everybody = sum(map(len, groups.values()))
    assert any(one.in_contact for held in found.values() for one in held)
    assert sum(map(len, found.values())) <= math.ceil(ppm * everybody / PPM)
    for name, held in found.items():
        assert len(held) <= math.ceil(ppm * len(groups[name]) / PPM)
        assert 0 <= parts[name].ppm <= ppm


@given(SIZES, st.integers(100, PPM))
def test_f_y17_quotas_add_up_and_none_is_above_its_share(sizes, ppm):
    assume(any(here for here, _ in sizes.values()))
    counts = {name: here + away for name, (here, away) in sizes.items()}
    present = {name: ["x"] * here for name, (here, _) in sizes.items()}
    quotas = allot(counts, ppm, present)
    assert sum(quotas.values()) == math.ceil(ppm * sum(counts.values()) / PPM)
    assert all(0 <= quotas[name] <= math.ceil(ppm * counts[name] / PPM) for name in counts)
    assert any(quotas[name] and present[name] for name in counts)


def test_sec_42_of_two_hundred_a_hundredth_are_two_at_most():
    for seed in range(50):
        groups = {"lab": members("lab", 200)}
        (held,) = cohort(groups, draw(groups, 10_000, Random(seed))).values()
        assert 1 <= len(held) <= 2


def test_f_y17_one_agent_of_many_groups_goes_first():
    groups = {f"g{number}": members(f"g{number}", 1 if number == 33 else 0, 3) for number in range(60)}
    parts = draw(groups, 100, Random(1))
    found = cohort(groups, parts)
    assert [name for name, held in found.items() if held] == ["g33"]
    assert sum(part.ppm > 0 for part in parts.values()) == 1


def test_f_y17_where_nobody_is_in_contact_nobody_is_drawn():
    with pytest.raises(ConflictError) as caught:
        draw({"lab": members("lab", 0, 5)}, 10_000, Random(1))
    assert caught.value.code == "conflict.contact"


def test_f_y17_all_are_all():
    groups = {"lab": members("lab", 3, 4)}
    assert draw(groups, PPM, Random(1))["lab"].ppm == PPM


@pytest.mark.parametrize(
    ("version", "takes"),
    [("0.4.0", True), ("0.4.1.dev3", True), ("1.0.0", True), ("0.2.9", False), ("", False), ("x", False)],
)
def test_sec_42_agents_before_0_4_0_take_no_part(version, takes):
    assert takes_part(version) is takes
