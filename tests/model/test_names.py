import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.errors import DefinitionError
from popham.model.names import canonical, check_name, digest, nearest, parse_json, show


@pytest.mark.parametrize("name", ["a", "paris", "web-1.site_2", "0", "x" * 64])
def test_a_good_name_is_returned(name):
    assert check_name(name, "group") == name


@pytest.mark.parametrize(
    "name", ["", "A", "-a", ".a", "..", "a/b", "a b", "a\n", "ä", "x" * 65, None, 5, ["a"], "a\0"]
)
def test_sec_6_a_name_that_would_be_unsafe_as_a_path_is_refused(name):
    with pytest.raises(DefinitionError, match="cannot be the name of a group") as caught:
        check_name(name, "group")
    assert caught.value.code == "definition.name"


def test_the_nearest_name_is_offered():
    assert nearest("pariss", ["paris", "london"]) == "Did you mean 'paris'?"


def test_all_names_are_listed_where_none_is_near():
    assert nearest("zzz", ["b", "a"]) == "Known here: a, b"
    assert nearest("zzz", []) == ""


def test_a_long_value_is_cut_in_a_sentence():
    assert show("short") == "'short'"
    assert len(show("x" * 10_000)) <= 84
    assert len(show(["x" * 100] * 100)) <= 84


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


@given(VALUES)
def test_the_canonical_form_is_read_back_and_is_the_same_again(value):
    found = parse_json(canonical(value))
    assert found == value
    assert canonical(found) == canonical(value)


def test_the_order_of_keys_does_not_matter_to_the_digest():
    assert digest(canonical({"a": 1, "b": 2})) == digest(canonical({"b": 2, "a": 1}))


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"a":1,"a":1}', b"NaN", b"[Infinity]", b"1e999", b"\xff", b"[" * 100_000]
)
def test_sec_49_loose_json_is_refused(data):
    with pytest.raises(ValueError):  # noqa: PT011  # which sentence does not matter
        parse_json(data)
