"""Rules of placement, as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import DefinitionError
from popham.model.placement import Placement, Rules, place, read_placement
from popham.model.selector import SELECTOR_MAX, parse_selector


def test_f_g5_a_selector_that_would_be_kept_too_long_is_refused_before_an_agent_arrives():
    short = ",".join(f"k{number} in(a,b)" for number in range(70))
    kept = read_placement("rule", {"selector": short, "group": "web"}, {})
    assert Rules([kept]).place(token="", labels={}, address="10.0.0.1") is None
    long = ",".join(f"k{number} in(a,b)" for number in range(86))
    assert len(long) <= SELECTOR_MAX
    with pytest.raises(DefinitionError) as caught:
        read_placement("rule", {"selector": long, "group": "web"}, {})
    assert caught.value.code == "definition.selector"


def test_f_o18_a_rule_by_names_places_whoever_has_one_of_them():
    rule = read_placement("rule", {"names": ["web1", "web2", "web1"], "token": "t", "group": "web"}, {})
    assert rule.names == ("web1", "web2")
    assert Placement.from_dict("rule", rule.as_dict()) == rule
    rules = Rules([rule])
    assert rules.place(token="t", labels={}, address="", agent="web2") == rule
    assert rules.place(token="u", labels={}, address="", agent="web2") is None
    assert rules.place(token="t", labels={}, address="", agent="web20") is None
    assert read_placement("rule", {"names": "web1", "group": "web"}, {}).names == ("web1",)


@pytest.mark.parametrize("names", [["Web1"], [7], 7, ["a"] * 1001, [""]])
def test_names_that_no_agent_has_are_refused(names):
    with pytest.raises(DefinitionError):
        read_placement("rule", {"names": names, "group": "web"}, {})


def test_a_rule_that_was_kept_before_there_were_names_is_read_and_kept_as_it_was():
    kept = {"order": 1, "token": "t", "selector": "", "address": [], "group": "g", "labels": {}}
    assert Placement.from_dict("rule", kept).as_dict() == kept


_VALUES = st.sampled_from(["a", "b", "c"])
_PARTS = st.sampled_from(["x=a", "x in (a,b)", "x!=a", "y=b", "!y", "y", "z notin (a,c)", "z=c"])


@given(
    rules=st.lists(
        st.tuples(
            st.lists(_PARTS, max_size=3),
            st.integers(0, 2),
            st.sampled_from(["", "t"]),
            st.sampled_from([(), ("a",), ("a", "b")]),
        ),
        max_size=6,
    ),
    labels=st.dictionaries(st.sampled_from("xyz"), _VALUES),
    token=st.sampled_from(["", "t"]),
    agent=st.sampled_from(["a", "b", "c"]),
)
def test_rules_that_are_read_once_place_as_one_by_one(rules, labels, token, agent):
    made = [
        Placement(name=f"r{number}", selector=",".join(parts), order=order, token=by, names=names, group="g")
        for number, (parts, order, by, names) in enumerate(rules)
    ]
    ordered = sorted(made, key=lambda rule: (rule.order, rule.name))
    fitting = [
        rule
        for rule in ordered
        if rule.token in {"", token}
        and (not rule.names or agent in rule.names)
        and parse_selector(rule.selector).matches(labels)
    ]
    found = Rules(made).place(token=token, labels=labels, address="", agent=agent)
    assert found == (fitting[0] if fitting else None)
    assert place(made, token=token, labels=labels, address="", agent=agent) == found
