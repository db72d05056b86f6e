"""Every policy type: its schema and its check agree, its forms stay, its secrets are found."""

import copy
import io
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from popham.agent.settings import AgentSettings
from popham.agent.types.registry import APPLIERS
from popham.errors import DefinitionError
from popham.model.definition import SourceFile, check
from popham.model.policy import STOCK_TYPES, TYPES, Policy, check_policy
from popham.model.schema import find_fault
from popham.model.types.redaction import CHANGED, HIDDEN, has_secret, redact, secret_values

from .collecting import COLLECT_FURTHER, collect_specs

ENTRY = {"path": "/etc/popham.d/motd", "content": "hi"}
FORMER = [
    (
        "f7cdb19b1cee0cb6988364c0ec744366f3837ce24e2533d7dc22fe2200ba7532",
        "files",
        {"files": [ENTRY]},
    ),
    (
        "4b10862e609a82e34711f659ad64c68461abb4319253c64ab7c5b594784d3ced",
        "files",
        {
            "files": [
                {
                    "path": "/etc/popham.d/motd",
                    "content": "Grüße\n",
                    "mode": "644",
                    "owner": "root",
                    "group": "adm",
                },
                {"path": "/etc/popham.d/sub/empty", "content": "", "mode": "0600"},
            ],
            "validate": "check-motd",
            "reload": "reload-motd",
        },
    ),
    (
        "5d628fbdf6be773d07fae902ef0f26c3f1cbe367ba15add1a3c494e16882e2f0",
        "files",
        {
            "files": [
                {
                    "path": "/srv/a b",
                    "content": "{{ facts.host_name }} {{",
                    "mode": "1777",
                    "owner": None,
                }
            ],
            "validate": None,
        },
    ),
    (
        "5754d737a55e69f6a5afd94e4c2b922aae109134dc87464f589a27097e6b5bfd",
        "otelcol",
        {
            "config": {
                "receivers": {"otlp": {"protocols": {"grpc": None}}},
                "exporters": {"debug": {}},
                "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}}},
                "x": [1, 2.5, True, "0644"],
            }
        },
    ),
]
"""Digests that version 0.1.0 gave to these definitions."""


def example(kind):
    return YAML(typ="safe", pure=True).load(io.StringIO(TYPES[kind].example))


def refusal(kind, spec):
    with pytest.raises(DefinitionError) as caught:
        check_policy(kind, spec)
    return caught.value


@pytest.mark.parametrize(("sha256", "kind", "spec"), FORMER, ids=range(len(FORMER)))
def test_f_y2_what_could_be_written_before_keeps_its_digest(sha256, kind, spec):
    assert Policy(name="p", type=kind, body=check_policy(kind, spec)).sha256 == sha256


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_has_an_applier_on_machines_and_an_example_that_passes(kind):
    assert TYPES[kind].applier in APPLIERS
    assert TYPES[kind].name == kind
    assert find_fault(example(kind), TYPES[kind].schema) is None
    assert check_policy(kind, example(kind))


def test_stock_agents_receive_the_types_that_say_so():
    assert {"otelcol"} == STOCK_TYPES


# Schema and check.

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXT, below, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["nginx", "check-motd", "a.b", "Nginx", "a b", "/bin/sh", "", "nginx\n", "x" * 65])
PATHS = st.sampled_from(
    [
        "/a",
        "/etc/popham.d/x",
        "/a/b/.c",
        "/a/...",
        "a",
        "/",
        "/a/",
        "//a",
        "/a/../b",
        "/a/.",
        "/a\n",
        "/a\0b",
        "",
    ]
)
MODES = st.sampled_from(["0644", "644", "1777", "06444", "64", "0888", "0644\n", 420, None])
ACCOUNTS = st.sampled_from(["root", "_x", "a$", "Root", "-r", "", "root\n", None, 0])
TEMPLATES = st.sampled_from(["x", "{{ facts.a }}", '{{ "{{" }}', "{{", 5])
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "path": PATHS | JSON,
        "content": TEXT | JSON,
        "content_template": TEMPLATES,
        "directory": st.sampled_from([True, False, 1, None]),
        "mode": MODES,
        "owner": ACCOUNTS,
        "group": ACCOUNTS,
        "secret": st.booleans() | st.sampled_from([1, None]),
        "colour": JSON,
    },
)
LIKELY = st.fixed_dictionaries(
    {"path": st.sampled_from(["/a", "/b", "/a/c", "/d/e"])},
    optional={"content": TEXT, "mode": MODES, "owner": ACCOUNTS, "secret": st.booleans()},
)
COMMANDS = NAMES | JSON
SPECS = {
    "files": st.fixed_dictionaries(
        {},
        optional={
            "files": st.lists(ENTRIES | LIKELY, max_size=3) | JSON,
            "validate": COMMANDS,
            "reload": COMMANDS,
            "x": JSON,
        },
    ),
    "otelcol": st.fixed_dictionaries({}, optional={"config": JSON, "conf": JSON}),
    "collect": collect_specs(JSON),
    "custom": st.fixed_dictionaries(
        {},
        optional={
            "command": COMMANDS,
            "data": JSON,
            "schema": st.sampled_from(
                [None, {}, {"type": "object"}, {"typ": 1}, {"enum": [None, 1, {}]}, [], 5]
            ),
            "x": JSON,
        },
    ),
}
FURTHER = {
    "files": ("stands twice", "lies below", "is no place to fill"),
    "otelcol": (),
    "collect": COLLECT_FURTHER,
    "custom": ("data", "schema"),
}
"""What the sentences of a refusal hold where the schema cannot say why; each type's page says it in words."""


@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_what_the_schema_takes_the_check_takes_and_the_reverse(kind, data):
    spec = data.draw(SPECS[kind])
    fault = find_fault(spec, TYPES[kind].schema)
    try:
        body, said = check_policy(kind, spec), ""
    except DefinitionError as error:
        body, said = None, error.problem
    if body is None:
        assert fault or any(words in said for words in FURTHER[kind]) or strange_path(spec), said
        return
    assert fault is None
    assert check_policy(kind, body) == body, "the normal form is a definition of itself"
    assert find_fault(body, TYPES[kind].schema) is None


def strange_path(spec):
    """Return whether a path has names that no schema of ours can describe."""
    return "files" in spec and any(
        not entry["path"].isprintable() or not entry["path"].isascii() for entry in spec["files"]
    )


def test_defaults_of_the_schema_are_what_the_check_fills_in():
    properties = TYPES["files"].schema["properties"]["files"]["items"]["properties"]
    assert check_policy("files", {"files": [ENTRY]})["files"][0]["mode"] == properties["mode"]["default"]
    folder = check_policy("files", {"files": [{"path": "/a", "directory": True}]})["files"][0]
    assert f"`{folder['mode']}`" in properties["mode"]["description"]


# Templates, directories, custom data.


def test_a_template_and_a_directory_have_forms_that_an_older_agent_refuses():
    spec = {"files": [{"path": "/a", "directory": True}, {"path": "/a/b", "content_template": "x"}]}
    body = check_policy("files", spec)
    assert body == {
        "files": [
            {"path": "/a", "directory": True, "mode": "0755"},
            {"path": "/a/b", "content_template": "x", "mode": "0644"},
        ]
    }
    assert not any("content" in entry for entry in body["files"])


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ({"content": "x", "content_template": "y"}, "definition.files"),
        ({"content": "x", "directory": True}, "definition.files"),
        ({"content_template": "{{ facts.x | y }}"}, "definition.template"),
        ({"content_template": 5}, "definition.files"),
        ({"directory": False}, "definition.flag"),
        ({"directory": True, "secret": True}, "definition.flag"),
        ({"content": "x", "secret": "yes"}, "definition.flag"),
    ],
)
def test_an_entry_is_one_thing(entry, code):
    error = refusal("files", {"files": [{"path": "/a", **entry}]})
    assert error.code == code
    assert error.hint


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({}, "definition.command"),
        ({"command": "till -x", "data": 1}, "definition.command"),
        ({"command": "till"}, "definition.custom"),
        ({"command": "till", "data": {"n": 1}, "schema": {"type": "array"}}, "definition.custom"),
        ({"command": "till", "data": 1, "schema": {"patern": "x"}}, "definition.schema"),
        ({"command": "till", "dat": 1}, "definition.unknown_key"),
    ],
)
def test_a_custom_policy_that_is_wrong_is_refused(spec, code):
    assert refusal("custom", spec).code == code


def test_f_y7_data_that_does_not_fit_is_named_with_its_line():
    text = """\
apiVersion: popham/v1
kind: Policy
metadata: {name: till}
spec:
  type: custom
  command: till
  schema:
    properties:
      lines: {type: integer}
  data:
    currency: EUR
    lines: many
"""
    with pytest.raises(DefinitionError) as caught:
        check([SourceFile("till.yaml", text)])
    found = caught.value.errors[0]
    assert (found.code, found.line) == ("definition.custom", 12)
    assert found.problem == "data.lines: 'many' is not of type integer"


# Locks.


@pytest.mark.parametrize("kind", TYPES)
def test_f_y4_every_key_of_a_body_is_locked_and_no_key_of_a_machines_configuration_has_its_name(kind):
    keys = set(TYPES[kind].schema["properties"]) - {"schema"}
    assert set(TYPES[kind].locked) == keys
    names = {field.encode_name for field in msgspec.structs.fields(AgentSettings)}
    for written in TYPES[kind].local:
        for key in written.split(", "):
            top, _, below = key.partition(".")
            assert top in names
            assert not below or below in {
                field.encode_name
                for one in msgspec.structs.fields(AgentSettings)
                if one.encode_name == top
                for field in msgspec.structs.fields(one.type)
            }


# Secrets.


def test_secrets_of_files_are_the_contents_that_say_so():
    body = check_policy("files", {"files": [ENTRY, {"path": "/k", "content": "hunter2", "secret": True}]})
    shown = redact("files", body)
    assert shown["files"][0] == body["files"][0]
    assert shown["files"][1]["content"] == HIDDEN
    assert list(secret_values("files", body)) == ["hunter2"]
    assert body["files"][1]["content"] == "hunter2"


def test_secrets_of_a_collector_are_found_by_their_keys():
    config = {
        "exporters": {
            "otlp": {"headers": {"Authorization": "Bearer x1", "x-api-key": "k2", "env": "prod"}},
            "kafka": {"auth": {"plain_text": {"username": "u", "password": "p3"}}, "token": "${env:TOKEN}"},
            "url": {"endpoint": "https://me:p4@example.net", "token_url": "https://example.net/token"},
            "list": {"client_secret": ["p5", {"a": 6}], "empty": {"password": "", "secret": None}},
        }
    }
    assert sorted(map(str, secret_values("otelcol", {"config": config}))) == [
        "6",
        "Bearer x1",
        "https://me:p4@example.net",
        "k2",
        "p3",
        "p5",
    ]


def test_secrets_of_custom_data_are_marked_in_its_schema():
    body = check_policy("custom", example("custom"))
    assert redact("custom", body)["data"] == {"currency": "EUR", "receipt_lines": 42, "pin": HIDDEN}


def test_a_secret_that_changed_is_told_from_one_that_did_not():
    old = check_policy("custom", example("custom"))
    new = copy.deepcopy(old)
    new["data"]["pin"] = "1234"
    assert redact("custom", new, against=old)["data"]["pin"] == CHANGED
    assert redact("custom", old, against=old)["data"]["pin"] == HIDDEN


def test_of_an_unknown_type_everything_is_secret():
    assert redact("later", {"a": 1, "b": {"c": 2}}) == {"a": HIDDEN, "b": HIDDEN}
    assert list(secret_values("later", {"a": 1})) == []


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_secret_is_left_in_what_is_shown(data):
    secret = data.draw(st.text(st.sampled_from("QXZJ"), min_size=8, max_size=20))
    schema = {"properties": {"pin": {"writeOnly": True}}, "additionalProperties": True}
    bodies = {
        "files": {"files": [{"path": "/a", "content_template": secret, "secret": True}]},
        "otelcol": {"config": {"a": [{"b": {"db_password": secret}}]}},
        "custom": {"command": "till", "data": {"pin": {"deep": [secret]}}, "schema": schema},
    }
    for kind, spec in bodies.items():
        body = check_policy(kind, spec)
        assert secret in json.dumps(body)
        assert secret not in json.dumps(redact(kind, body))
        assert secret not in json.dumps(redact(kind, body, against={}))


@pytest.mark.parametrize(
    ("kind", "body", "has"),
    [
        ("files", {"files": [ENTRY]}, False),
        ("files", {"files": [ENTRY, {"path": "/k", "content": "x", "secret": True}]}, True),
        ("otelcol", {"config": {"exporters": {"debug": None}}}, False),
        ("otelcol", {"config": {"exporters": {"otlp": {"password": "x"}}}}, True),
        ("otelcol", {"config": {"exporters": {"otlp": {"password": "${env:PASSWORD}"}}}}, False),
        ("custom", {"schema": {}, "data": "x", "command": "take"}, False),
        ("custom", {"schema": {"writeOnly": True}, "data": "x", "command": "take"}, True),
    ],
)
def test_f_y14_a_body_holds_a_secret_if_its_type_finds_one(kind, body, has):
    assert has_secret(kind, check_policy(kind, body)) is has


def test_f_y14_what_nobody_here_knows_counts_as_secret():
    assert has_secret("of a later version", {})
