"""Foreign text on a terminal."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.cli.show import encode_json, encode_yaml
from popham.cli.text import clean, clean_lines, pad, width

HOSTILE = {
    "escape": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;owned\x07",
    "c1": "\x9b31m",
    "return": "honest\rforged",
    "newline": "a\nagent b accepted",
    "bidi": "\u202egnp.exe",
    "zero width": "web\u200b-1",
    "separator": "a\u2028b",
    "surrogate": "\ud800",
    "delete": "a\x7f",
    "tag": "\U000e0041",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_sec_13_nothing_foreign_moves_a_cursor_or_turns_the_text(text):
    shown = clean(text)
    assert "\\" in shown
    assert not [mark for mark in shown if unicodedata.category(mark).startswith(("C", "Zl", "Zp"))]


@given(st.text())
def test_sec_13_clean_text_has_one_line_and_no_control_characters(text):
    assert not [mark for mark in clean(text) if unicodedata.category(mark) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_letters_of_every_script_stay_as_they_are(text):
    assert clean(text) == text


@given(
    st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_sec_13_json_means_the_same_and_is_safe_to_print(value):
    for indent in (None, 2):
        shown = encode_json(value, indent=indent)
        assert json.loads(shown) == value
        assert not [
            m for m in shown if m != "\n" and unicodedata.category(m) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        ]


@pytest.mark.parametrize("text", [t for t in HOSTILE.values() if t != "\ud800"])
def test_sec_13_yaml_is_safe_to_print(text):
    shown = encode_yaml({"name": text})
    assert not [m for m in shown if m != "\n" and unicodedata.category(m) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]


def test_yaml_keeps_the_order_of_fields():
    assert encode_yaml({"name": "a", "group": "b", "detail": {"z": 1, "a": 2}}).split() == [
        "name:", "a", "group:", "b", "detail:", "z:", "1", "a:", "2",
    ]  # fmt: skip


def test_lines_of_a_text_are_kept_and_its_escapes_are_not():
    assert clean_lines("one\n\x1b[2Jtwo") == "one\n\\x1b[2Jtwo"


def test_wide_characters_take_two_columns():
    assert width("東京") == 4
    assert pad("東京", 6) == "東京  "
