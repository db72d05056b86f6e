"""Type ``custom``: any JSON, under a schema of its author's, for a program on the machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from popham.errors import DefinitionError
from popham.model.keys import check_keys
from popham.model.lines import line_at, line_of
from popham.model.schema import WORDS, Place, check_schema, find_fault
from popham.model.schema import find_secrets as find_marked
from popham.model.types.commands import CHECK_SCHEMA, COMMAND_SCHEMA, read_command, read_commands
from popham.model.types.kind import PolicyType

_COMMANDS: Final = ("command", "check")


def check_custom(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the normal form of a policy of type ``custom``.

    Raises:
        DefinitionError: A key is unknown, the schema is none, or the data does not fit it.
    """
    check_keys(spec, {*_COMMANDS, "data", "schema"}, "a policy of type 'custom'")
    body: dict[str, Any] = {"command": read_command(spec, "command")}
    if "data" not in spec:
        problem, hint = "a policy of type 'custom' has no data", "Add 'data:'; null is data too"
        raise DefinitionError("custom", problem, hint, line=line_of(spec))
    body |= {"data": spec["data"], **read_commands(spec, ["check"])}
    if spec.get("schema") is None:
        return body
    body["schema"] = spec["schema"]
    check_schema(spec["schema"])
    fault = find_fault(spec["data"], spec["schema"])
    if fault is not None:
        place, said = fault
        where = ".".join(map(str, ("data", *place)))
        hint = "Correct the data, or its schema"
        raise DefinitionError("custom", f"{where}: {said}", hint, line=line_at(spec, ("data", *place)))
    return body


def find_secrets(body: Mapping[str, Any]) -> Iterator[Place]:
    """Yield where the data holds what its schema marks as ``writeOnly``."""
    yield from find_marked(body.get("data"), body.get("schema"), ("data",))


def mark_secrets(body: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of ``body`` under the schema of ``other``."""
    return {**body, "schema": other.get("schema")}


CUSTOM: Final = PolicyType(
    name="custom",
    summary="Any JSON, handed to a program that the machine's own configuration allows.",
    schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["command", "data"],
        "properties": {
            "command": COMMAND_SCHEMA
            | {"description": "name of a command under `[commands]` whose arguments say `{phase}`"},
            "data": {"description": "what the program reads on its standard input, as JSON"},
            "schema": {"type": ["object", "null"], "description": "what the data must fit"},
            "check": CHECK_SCHEMA,
        },
    },
    further=(
        "`data` fits `schema`.",
        f"`schema` is JSON Schema with these words only: {', '.join(f'`{word}`' for word in sorted(WORDS))}.",
    ),
    check=check_custom,
    secrets=find_secrets,
    marks=mark_secrets,
    withheld="What the schema marks as `writeOnly: true`.",
    commands=_COMMANDS,
    locked=("command", "data", "check"),
    local={
        "commands": "which programs the names stand for; without them the policy fails with `policy.command`"
    },
    example="""\
command: till
schema:
  type: object
  required: [currency]
  additionalProperties: false
  properties:
    currency: {enum: [EUR, USD]}
    receipt_lines: {type: integer, minimum: 1, maximum: 80}
    pin: {type: string, maxLength: 12, writeOnly: true}
data: {currency: EUR, receipt_lines: 42, pin: "0000"}
""",
    applier="custom",
)
"""The type ``custom``."""
