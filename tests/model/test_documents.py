import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popham.errors import DefinitionError
from popham.model import documents
from popham.model.documents import SourceFile, read_documents
from popham.model.lines import line_of


def read(text, name="fleet.yaml"):
    return [document.data for document in read_documents([SourceFile(name, text)])]


def refusal(text):
    with pytest.raises(DefinitionError) as caught:
        read(text)
    return caught.value


def test_every_key_remembers_its_line():
    (data,) = read("# a comment\na: 1\nb:\n  c: [2]\n  d: x\n")
    assert (line_of(data, "a"), line_of(data, "b"), line_of(data["b"], "d")) == (2, 3, 5)


def test_a_key_that_is_not_there_has_the_line_of_its_mapping():
    (data,) = read("\n\na: 1\n")
    assert line_of(data, "zzz") == 3


def test_what_came_from_no_file_has_no_line():
    assert line_of({"a": 1}, "a") == 0


def test_lines_survive_leaving_out_keys():
    (data,) = read("a: 1\nb: 2\n")
    rest = data.without("a")
    assert rest == {"b": 2}
    assert line_of(rest, "b") == 2


def test_several_documents_of_several_files_keep_their_order_and_source():
    found = read_documents([SourceFile("x", "a: 1\n---\n---\nb: 2\n"), SourceFile("y", "c: 3\n")])
    assert [(d.source, d.line, d.data) for d in found] == [
        ("x", 1, {"a": 1}),
        ("x", 4, {"b": 2}),
        ("y", 1, {"c": 3}),
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("0x1f", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("off", "off"),
        ("0644", "0644"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("5m", "5m"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_words_mean_what_the_core_schema_says(text, value):
    assert read(f"a: {text}\n") == [{"a": value}]


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("a: 1\na: 2\n", "definition.duplicate_key", 2),
        ("a:\n  - b: 1\n    b: 2\n", "definition.duplicate_key", 3),
        ("a: !python/object:os.system x\n", "definition.tag", 1),
        ("a: !!python/name:eval\n", "definition.tag", 1),
        ("a: !!binary aGk=\n", "definition.tag", 1),
        ("a: !x {b: 1}\n", "definition.tag", 1),
        ("x: &x {a: 1}\ny:\n  <<: *x\n", "definition.key", 3),
        ("1: a\n", "definition.key", 1),
        ("? [a]\n: b\n", "definition.key", 1),
        ("k: &k [a]\n? *k\n: b\n", "definition.key", 2),
        ("a: *nobody\n", "definition.alias", 1),
        ("a: &a [*a]\n", "definition.alias", 1),
        ("a: .inf\n", "definition.number", 1),
        ("a: .nan\n", "definition.number", 1),
        ("a: 1e999\n", "definition.number", 1),
        ("a: 99999999999999999999\n", "definition.number", 1),
        ("a: 1\n b: 2\n", "definition.yaml", 2),
        ("a: 'open\n", "definition.yaml", 2),
        ("ok: 1\nbell: \a\n", "definition.yaml", 2),
        ('a: "\\ud800"\n', "definition.yaml", 1),
        ("a: \ud800\n", "definition.yaml", 1),
        ("%YAML 9.9\n---\na: 1\n", "definition.yaml", 1),
        ("a: [1\n", "definition.yaml", 2),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text, code, line):
    error = refusal(text)
    assert (error.code, error.source) == (code, "fleet.yaml")
    assert error.line in {line, line - 1} if code == "definition.yaml" else error.line == line


def test_deep_nesting_is_refused():
    assert refusal("[" * 5000).code == "definition.depth"
    assert refusal("a:\n" + "".join(" " * i + f"k{i}:\n" for i in range(1, 60))).code == "definition.depth"


def test_what_aliases_multiply_is_counted_before_it_is_built():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert refusal("\n".join(lines)).code in {"definition.size", "definition.alias"}


def test_too_many_aliases_are_refused():
    assert refusal("a: &a 1\nb: [" + ", ".join(["*a"] * 101) + "]\n").code == "definition.alias"


def test_a_file_that_is_too_large_is_refused_unread(monkeypatch):
    monkeypatch.setattr(documents, "MAX_FILE", 10)
    assert refusal("a: 'long enough'\n").code == "definition.size"


def test_a_set_that_is_too_large_is_refused_unread(monkeypatch):
    monkeypatch.setattr(documents, "MAX_TEXT", 10)
    assert refusal("a: 'long enough'\n").code == "definition.size"


def test_too_many_documents_are_refused():
    assert refusal("a: 1\n---\n" * 1001).code == "definition.size"


def test_a_key_that_is_too_long_is_refused():
    assert refusal(f"? {'k' * 1025}\n: 1\n").code == "definition.key"


def attempt(text):
    """Return what the text says, or the code of the refusal."""
    try:
        return read(text)
    except DefinitionError as error:
        return error.code


TEXT = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(lambda t: t != "<<"), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(TEXT.filter(lambda t: t != "<<"), VALUES, max_size=5))
@settings(max_examples=60, deadline=None)
def test_json_is_read_as_what_it_is(value):
    assert read(json.dumps(value)) == [value]


@given(st.text(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_or_refused_with_a_code(text):
    found = attempt(text)
    assert isinstance(found, list) or found.startswith("definition.")
