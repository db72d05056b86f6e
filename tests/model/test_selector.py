"""Selectors say which agents are meant."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import DefinitionError
from popham.model.selector import (
    LABEL_VALUE,
    Operator,
    Requirement,
    Selector,
    merge_labels,
    parse_selector,
    read_label_changes,
)

WEB = {"env": "prod", "role": "web"}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", True),
        ("env=prod", True),
        ("env==prod", True),
        ("env = prod , role in (web, db)", True),
        ("env=prod,role in (db)", False),
        ("role notin (db,cache)", True),
        ("role!=web", False),
        ("tier!=gold", True),
        ("role", True),
        ("gpu", False),
        ("!gpu", True),
        ("! gpu,env", True),
        ("!role", False),
    ],
)
def test_f_g5_a_selector_means_those_whose_labels_fit(text, meant):
    assert parse_selector(text).matches(WEB) is meant


@pytest.mark.parametrize(
    "text",
    [
        *("role within (web)", "env>prod", "role in web", "role in (web", "env=prod,", ",env", "=prod"),
        *('env="a', 'env=a"b', 'env="a"b', r'env="\x"', 'env in ("a" b)', 'env in ("a",)', '"env"=a'),
        *("a b", "role in ()", "role in (a,)", "(env)", "env=prod role=web", "x" * 2000, "in (a)"),
    ],
)
def test_what_is_no_selector_is_one_sentence(text):
    with pytest.raises(DefinitionError) as caught:
        parse_selector(text)
    assert caught.value.code == "definition.selector"
    assert caught.value.hint


def test_an_unknown_operator_is_named():
    with pytest.raises(DefinitionError, match="no operator 'within'"):
        parse_selector("role within (web)")


_WORDS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,5}", fullmatch=True)
_PARTS = st.builds(
    lambda key, operator, values: Requirement(
        key, operator, values if operator in {Operator.IN, Operator.NOT_IN} else frozenset()
    ),
    _WORDS,
    st.sampled_from(Operator),
    st.frozensets(
        _WORDS | st.from_regex(LABEL_VALUE, fullmatch=True).map(lambda text: text[:20]),
        min_size=1,
        max_size=3,
    ),
)


@given(st.lists(_PARTS, max_size=4).map(tuple).map(Selector))
def test_a_selector_is_read_back_as_it_is_shown(selector):
    assert parse_selector(str(selector)) == selector


@given(st.text(max_size=40))
def test_any_text_is_a_selector_or_a_sentence(text):
    with contextlib.suppress(DefinitionError):
        parse_selector(text)


def test_f_g5_an_operators_label_wins_over_the_agents():
    assert merge_labels({"env": "test", "os": "linux"}, {"env": "prod"}) == {"env": "prod", "os": "linux"}


def test_labels_are_set_and_taken_away_by_words():
    assert read_label_changes(["env=prod", "note=two words", "old-"]) == {
        "env": "prod",
        "note": "two words",
        "old": None,
    }


@pytest.mark.parametrize("word", ["env", "=prod", "-", "a b=c", "env=a\nb"])
def test_a_word_that_is_no_label_is_one_sentence(word):
    with pytest.raises(DefinitionError) as caught:
        read_label_changes([word])
    assert caught.value.code == "definition.labels"


@pytest.mark.parametrize("text", ["env=prod,", "env=prod, ", " env=prod ,  "])
def test_a_selector_that_ends_with_a_comma_is_one_sentence(text):
    with pytest.raises(DefinitionError) as caught:
        parse_selector(text)
    assert "ends with a comma" in caught.value.problem


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('site="New York"', "New York"),
        ('site in ("New York",Paris)', "New York"),
        ('site in ( Paris , "New York" )', "Paris"),
        ('site in ("a)b","c,d")', "c,d"),
        (r'site="say \"hi\" \\"', r'say "hi" ' + "\\"),
        ('site=""', ""),
        (r"site=a\b", r"a\b"),
    ],
)
def test_f_g5_a_value_in_quotes_means_any_label(text, value):
    assert parse_selector(text).matches({"site": value})
    assert not parse_selector(text).matches({"site": "Lyon"})


def test_a_value_is_shown_in_quotes_only_where_it_needs_them():
    assert (
        str(parse_selector('site in ("New York","Paris"),env="prod"'))
        == 'site in ("New York",Paris),env=prod'
    )
