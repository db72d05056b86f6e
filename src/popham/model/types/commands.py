"""Names of commands in policies; what a command runs stands on each machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from popham.errors import DefinitionError
from popham.model.lines import line_of
from popham.model.names import NAME, show

COMMAND_SCHEMA: Final[dict[str, Any]] = {"type": "string", "pattern": f"^{NAME.pattern}$"}

OPTIONAL_SCHEMA: Final[dict[str, Any]] = {**COMMAND_SCHEMA, "type": ["string", "null"]}

CHECK_SCHEMA: Final[dict[str, Any]] = {
    **OPTIONAL_SCHEMA,
    "description": "name of a command; it runs once the policy is in force and every 10 s while that is "
    "[watched](agent-configuration.md#health), and three failures in a row undo the set",
}


def read_commands(spec: Mapping[str, Any], keys: Iterable[str]) -> dict[str, str]:
    """Return key → command, of the ``keys`` that name one in ``spec``; errors as :func:`read_command`."""
    return {key: read_command(spec, key) for key in keys if spec.get(key) is not None}


def read_command(spec: Mapping[str, Any], key: str) -> str:
    """Return the command that ``key`` names in ``spec``.

    Raises:
        DefinitionError: ``definition.command``: it names none.
    """
    value = spec.get(key)
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    problem = f"{key}: {show(value)} is not the name of a command"
    hint = "Name a command that the agents' own configuration allows, under [commands]; a policy cannot bring one"
    raise DefinitionError("command", problem, hint, line=line_of(spec, key))
