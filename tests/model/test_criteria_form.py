import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import DefinitionError
from popham.model.criteria import Combination, Condition, Kind, Rule
from popham.model.criteria_form import CONDITIONS_MAX, DEPTH_MAX, criterion_from_dict

GOOD = {
    "address": ["10.0.0.0/8", "10.1.2.3", "fd00::/8", " 10.0.0.1/8 "],
    "gateway": ["10.0.0.1"],
    "dns_suffix": ["corp.example", ".Corp.Example."],
    "dns_server": ["fd00::53"],
    "dns_name": ["intranet", "intranet.example=10.0.0.0/8"],
    "interface": ["wireless", "eth0"],
    "reachable": ["a.example:443", "[fd00::1]:443", "10.0.0.1:1"],
    "manager": ["reachable", "Unreachable"],
    "host_name": ["till-*"],
    "environment": ["SITE", "SITE=paris", "SITE="],
    "file": ["/etc/site"],
}
conditions = st.sampled_from([(kind, value) for kind, values in GOOD.items() for value in values])
written = st.recursive(
    st.lists(conditions, min_size=1, max_size=2).map(dict) | conditions.map(lambda one: {one[0]: [one[1]] * 2}),
    lambda inner: st.fixed_dictionaries({}, optional={"all": st.lists(inner, min_size=1, max_size=2), "not": inner}).filter(bool)
    | st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"any": parts}),
    max_leaves=6,
)  # fmt: skip
garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from([v for vs in GOOD.values() for v in vs]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*GOOD, *Rule, "addres"]) | st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(written)
def test_f_g3_criteria_come_back_from_a_bundle_as_they_were_written(data):
    try:
        found = criterion_from_dict(data)
    except DefinitionError as error:
        assert "deep" in error.problem  # noqa: PT017 - the other outcome is checked below
        return
    assert criterion_from_dict(found.as_dict()) == found


@given(garbage)
def test_f_g3_garbage_is_refused_in_a_sentence_or_is_a_criterion(data):
    try:
        found = criterion_from_dict(data)
    except DefinitionError as error:
        assert (error.code, bool(error.problem)) == ("definition.criteria", True)  # noqa: PT017 - the other outcome is checked below
        return
    assert criterion_from_dict(found.as_dict()) == found


def test_f_g3_several_keys_mean_all_of_them_and_a_list_means_any():
    assert criterion_from_dict({"interface": "vpn", "address": ["10.0.0.0/8", "fd00::/8"]}) == Combination(
        Rule.ALL,
        (
            Condition(Kind.INTERFACE, "vpn"),
            Combination(
                Rule.ANY, (Condition(Kind.ADDRESS, "10.0.0.0/8"), Condition(Kind.ADDRESS, "fd00::/8"))
            ),
        ),
    )


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in GOOD.items() for value in values]
)
def test_f_g3_every_kind_has_its_form(kind, value):
    assert criterion_from_dict({kind: value}).kind == kind


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("address", "10.0.0.0/33"), ("address", "office"), ("address", 10), ("address", None), ("address", ""), ("address", []), ("address", {"a": 1}),
        ("gateway", "10.0.0"), ("dns_suffix", "corp example"), ("dns_name", "=10.0.0.0/8"), ("dns_name", "a="), ("interface", "  "), ("host_name", " "),
        ("host_name", "a\x1b[2J"), ("host_name", "x" * 256), ("reachable", "a.example"), ("reachable", "a.example:0"), ("reachable", "a.example:²"), ("reachable", "10.0.0.1:٤٤"), ("reachable", "fd00::1:443"),
        ("manager", "dead"), ("environment", "1A=b"), ("file", "etc/site"), ("file", "/a\0b"),
    ],
)  # fmt: skip
def test_f_g3_a_value_that_makes_no_sense_is_refused_with_an_example(kind, value):
    with pytest.raises(DefinitionError) as caught:
        criterion_from_dict({kind: value})
    assert caught.value.code == "definition.criteria"
    assert caught.value.hint.startswith("Write ")


def test_f_g3_an_unknown_criterion_is_refused_with_the_nearest():
    with pytest.raises(DefinitionError, match="there is no criterion 'adress'") as caught:
        criterion_from_dict({"adress": "10.0.0.0/8"})
    assert caught.value.hint == "Did you mean 'address'?"


def nested(depth):
    return {"file": "/x"} if depth == 0 else {"not": nested(depth - 1)}


def test_f_g3_depth_is_bounded_as_it_stands_in_a_bundle():
    assert criterion_from_dict(nested(DEPTH_MAX))
    # Two keys in one mapping are one level more there.
    assert criterion_from_dict(nested(DEPTH_MAX - 1) | {"file": "/y"})
    for data in (nested(DEPTH_MAX + 1), nested(DEPTH_MAX) | {"file": "/y"}, nested(100)):
        with pytest.raises(DefinitionError, match="nested more than"):
            criterion_from_dict(data)


def test_f_g3_the_number_of_conditions_is_bounded():
    addresses = [f"10.0.0.{number}" for number in range(CONDITIONS_MAX)]
    assert criterion_from_dict({"address": addresses})
    with pytest.raises(DefinitionError, match="more than 64 conditions"):
        criterion_from_dict({"address": addresses, "file": "/x"})
