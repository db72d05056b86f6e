import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from popham.manager.stock import stock_config, write_yaml
from popham.model.definition import SourceFile
from popham.model.documents import read_documents
from popham.model.policy import Policy

COLLECTOR = Policy(
    name="col", type="otelcol", body={"config": {"receivers": {"otlp": None}, "list": ["a", {"b": 1}]}}
)
FILES = Policy(name="motd", type="files", body={"files": []})


def test_an_otelcol_policy_becomes_an_object_named_after_it():
    objects, digest = stock_config([COLLECTOR, FILES])
    assert list(objects) == ["col"]
    assert objects["col"].content_type == "text/yaml"
    assert objects["col"].body == b"receivers:\n  otlp: null\nlist:\n- a\n- b: 1\n"
    assert len(digest) == 32


def test_without_such_a_policy_there_is_nothing_to_offer():
    assert stock_config([FILES]) == ({}, b"")


def test_the_hash_follows_names_and_bodies():
    other = Policy(name="col", type="otelcol", body={"config": {"receivers": {}}})
    renamed = Policy(name="col2", type="otelcol", body=COLLECTOR.body)
    assert stock_config([COLLECTOR])[1] == stock_config([COLLECTOR, FILES])[1]
    assert len({stock_config([policy])[1] for policy in (COLLECTOR, other, renamed)}) == 3


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "no",
        "on",
        "0644",
        "1e3",
        "null",
        "~",
        "",
        " x ",
        "a: b",
        "# c",
        "- d",
        "'q'",
        '"',
        "\\",
        "multi\nline",
        "\t",
        "\x7f\u2028",
        "é😀",
    ],
)
@pytest.mark.parametrize("version", [(1, 1), (1, 2)])
def test_text_stays_text_in_every_version_of_yaml(text, version):
    reader = YAML(typ="safe", pure=True)
    reader.version = version
    assert reader.load(write_yaml({"key": text, "list": [text]})) == {"key": text, "list": [text]}


@pytest.mark.parametrize("key", ["yes", "n", "5", "a b", "otlp/2", "null", "a:b", "", "*x"])
@pytest.mark.parametrize("version", [(1, 1), (1, 2)])
def test_keys_stay_text_in_every_version_of_yaml(key, version):
    reader = YAML(typ="safe", pure=True)
    reader.version = version
    assert reader.load(write_yaml({key: 1})) == {key: 1}


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(lambda t: t != "<<"), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(TEXT.filter(lambda t: t != "<<"), VALUES, max_size=4))
def test_what_is_written_is_read_back(value):
    (document,) = read_documents([SourceFile("x", write_yaml(value))])
    assert document.data == value
