"""Rules of placement, as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import DefinitionError
from popham.model.placement import Placement, Rules, read_placement
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


_VALUES = st.sampled_from(["a", "b", "c"])
_PARTS = st.sampled_from(["x=a", "x in (a,b)", "x!=a", "y=b", "!y", "y", "z notin (a,c)", "z=c"])


@given(
    rules=st.lists(
        st.tuples(st.lists(_PARTS, max_size=3), st.integers(0, 2), st.sampled_from(["", "t"])), max_size=6
    ),
    labels=st.dictionaries(st.sampled_from("xyz"), _VALUES),
    token=st.sampled_from(["", "t"]),
)
def test_rules_that_are_read_once_place_as_one_by_one(rules, labels, token):
    made = [
        Placement(name=f"r{number}", selector=",".join(parts), order=order, token=by, group="g")
        for number, (parts, order, by) in enumerate(rules)
    ]
    ordered = sorted(made, key=lambda rule: (rule.order, rule.name))
    fitting = [
        rule
        for rule in ordered
        if rule.token in {"", token} and parse_selector(rule.selector).matches(labels)
    ]
    found = Rules(made).place(token=token, labels=labels, address="")
    assert found == (fitting[0] if fitting else None)
