import pytest

from popham.errors import DefinitionError
from popham.model.lines import LinedDict
from popham.model.schema import MAX_DEPTH, MAX_ENUM, check_schema, find_fault, find_secrets

TILL = {
    "type": "object",
    "required": ["currency"],
    "additionalProperties": False,
    "properties": {
        "currency": {"enum": ["EUR", "USD"]},
        "lines": {"type": "integer", "minimum": 1, "maximum": 80},
        "names": {"type": "array", "items": {"type": "string", "maxLength": 3}},
        "pin": {"type": ["string", "null"], "writeOnly": True},
    },
}


def test_what_fits_has_no_fault():
    check_schema(TILL)
    assert find_fault({"currency": "EUR", "lines": 80, "names": ["abc"], "pin": None}, TILL) is None


@pytest.mark.parametrize(
    ("value", "place", "said"),
    [
        ([], (), "is not of type object"),
        ({}, (), "has no 'currency'"),
        ({"currency": "GBP"}, ("currency",), "is not one of"),
        ({"currency": "EUR", "lines": 0}, ("lines",), "0 is less than 1"),
        ({"currency": "EUR", "lines": 81}, ("lines",), "81 is more than 80"),
        ({"currency": "EUR", "lines": 1.5}, ("lines",), "is not of type integer"),
        ({"currency": "EUR", "lines": True}, ("lines",), "is not of type integer"),
        ({"currency": "EUR", "names": ["abc", "abcd"]}, ("names", 1), "has 4 characters, and may have 3"),
        ({"currency": "EUR", "pin": 7}, ("pin",), "is not of type string or null"),
        ({"currency": "EUR", "other": 1}, ("other",), "has no key"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(value, place, said):
    where, sentence = find_fault(value, TILL) or ((), "")
    assert where == place or (where, place) == ((), ("other",))
    assert said in sentence


@pytest.mark.parametrize(
    ("one", "schema", "fits"),
    [
        (1.0, {"type": "integer"}, True),
        (1, {"type": "number"}, True),
        (True, {"type": "number"}, False),
        (1, {"enum": [True]}, False),
        (True, {"enum": [True]}, True),
        (1.0, {"enum": [1]}, True),
        ([1, {"a": 1}], {"enum": [[1.0, {"a": 1.0}]]}, True),
        ([1, True], {"enum": [[1, 1]]}, False),
        ({"a": 1}, {"enum": [{"a": 1, "b": 2}]}, False),
        (None, {"type": "null"}, True),
        ("x", {}, True),
        ({"a": "x"}, {"additionalProperties": {"type": "integer"}}, False),
        ({"a": 1}, {"additionalProperties": {"type": "integer"}}, True),
        ({"a": 1}, {"additionalProperties": True}, True),
        ("a", {"minimum": 5}, True),
        (10**400, {"type": "integer", "maximum": 1}, False),
        (10**400, {"type": "integer", "minimum": 1}, True),
    ],
)
def test_values_are_compared_as_json_knows_them(one, schema, fits):
    check_schema(schema)
    assert (find_fault(one, schema) is None) is fits


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ([], "schema is no mapping"),
        ({"typ": "object"}, "'typ' has no meaning here"),
        ({"pattern": "(a+)+$"}, "'pattern' has no meaning here"),
        ({"$ref": "#"}, "'\\$ref' has no meaning"),
        ({"type": "text"}, "schema.type: 'text' is not one of object, array"),
        ({"type": []}, "schema.type"),
        ({"type": ["object", 5]}, "schema.type"),
        ({"properties": []}, "schema.properties"),
        ({"properties": {"a": 5}}, "schema.properties.a is no mapping"),
        ({"required": "a"}, "schema.required"),
        ({"enum": []}, "schema.enum"),
        ({"items": True}, "schema.items"),
        ({"items": {"maxLength": -1}}, "schema.items.maxLength"),
        ({"maxLength": True}, "schema.maxLength"),
        ({"minimum": "1"}, "schema.minimum"),
        ({"additionalProperties": "no"}, "schema.additionalProperties"),
        ({"writeOnly": "yes"}, "schema.writeOnly"),
        ({"title": 1}, "schema.title"),
    ],
)
def test_a_word_that_nobody_would_check_is_refused(schema, said):
    with pytest.raises(DefinitionError, match=said) as caught:
        check_schema(schema)
    assert caught.value.code == "definition.schema"
    assert caught.value.hint


def test_a_schema_that_is_nested_too_deeply_is_refused():
    schema = {}
    for _ in range(MAX_DEPTH):
        schema = {"items": schema}
    with pytest.raises(DefinitionError, match="nested deeper than 32 levels"):
        check_schema(schema)
    check_schema(schema["items"])


def test_a_wrong_word_is_named_with_its_line():
    schema = LinedDict(3)
    schema["typ"], schema.lines["typ"] = "object", 4
    with pytest.raises(DefinitionError) as caught:
        check_schema(schema)
    assert (caught.value.line, caught.value.hint) == (4, "Did you mean 'type'?")


def test_secrets_are_where_the_schema_says_write_only():
    schema = {
        "properties": {"pin": {"writeOnly": True}, "list": {"items": {"writeOnly": True}}},
        "additionalProperties": {"properties": {"key": {"writeOnly": True}}},
    }
    data = {"pin": {"a": 1}, "list": [1, 2], "more": {"key": "k", "open": "o"}, "n": 5}
    assert list(find_secrets(data, schema)) == [("pin",), ("list", 0), ("list", 1), ("more", "key")]
    assert list(find_secrets(data, {"additionalProperties": True})) == []
    assert list(find_secrets(data, None)) == []


def test_a_schema_that_costs_more_than_its_length_is_refused():
    for schema in (
        {"enum": list(range(MAX_ENUM + 1))},
        {"required": ["a", "a"]},
        {"type": ["string", "string"]},
    ):
        with pytest.raises(DefinitionError) as caught:
            check_schema(schema)
        assert caught.value.code == "definition.schema"
    check_schema({"enum": list(range(MAX_ENUM))})


def test_an_enum_knows_true_from_one():
    assert find_fault([True], {"items": {"enum": [1, "a"]}}) is not None
    assert find_fault([1], {"enum": [[True], [1]]}) is None
    assert find_fault({"a": [True]}, {"enum": [{"a": [1]}]}) is not None
