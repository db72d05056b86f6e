"""YAML that we write reads back as what it was written from."""

from hypothesis import given, settings
from hypothesis import strategies as st

from popham.model.documents import SourceFile, read_documents
from popham.model.yaml_text import write_yaml

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=30),
    st.text("ab: -#'\"\n\t|>{}[]&*!%@,?0~", max_size=30),
    st.sampled_from(
        [
            "null",
            "On",
            "0644",
            "1e5",
            ".5",
            "-",
            "a: b",
            "a #b",
            "~",
            "0x1f",
            "a\n",
            "a\n\nb",
            " a\nb",
            "a\nb\n\n",
        ]
    ),
)
LEAVES = st.one_of(
    TEXTS,
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
)
KEYS = st.one_of(st.text("abc_.-/ ", min_size=1, max_size=12), TEXTS.filter(lambda text: text != "<<"))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
def test_f_y6_what_is_written_reads_back_as_the_same(value):
    [document] = read_documents([SourceFile("one.yaml", write_yaml(value))])
    assert document.data == value


def test_what_is_written_reads_well():
    text = write_yaml(
        {
            "kind": "Policy",
            "spec": {"files": [{"path": "/etc/motd", "content": "Hello,\nworld\n", "mode": "0644"}], "x": {}},
        }
    )
    assert text.splitlines() == [
        "kind: Policy",
        "spec:",
        "  files:",
        "    - path: /etc/motd",
        "      content: |",
        "        Hello,",
        "        world",
        '      mode: "0644"',
        "  x: {}",
    ]
