"""Names of commands in policies; what a command runs stands on each machine."""

from __future__ import annotations

from typing import Any, Final

from popham.errors import DefinitionError
from popham.model.names import NAME, show

COMMAND_SCHEMA: Final[dict[str, Any]] = {"type": "string", "pattern": f"^{NAME.pattern}$"}

CHECK_SCHEMA: Final[dict[str, Any]] = {
    **COMMAND_SCHEMA,
    "type": ["string", "null"],
    "description": "name of a command; it runs once the policy is in force and every 10 s while that is "
    "[watched](agent-configuration.md#health), and three failures in a row undo the set",
}


def check_command(value: object, key: str, line: int) -> str:
    """Return ``value`` if it may name a command.

    Raises:
        DefinitionError: ``definition.command``.
    """
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    problem = f"{key}: {show(value)} is not the name of a command"
    hint = "Name a command that the agents' own configuration allows, under [commands]; a policy cannot bring one"
    raise DefinitionError("command", problem, hint, line=line)
