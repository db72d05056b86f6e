"""Policies of type ``custom``: data for a program that this machine names.

The program is run with the data, JSON, on its standard input, and one word in
the place of ``{phase}``; its exit status decides.

1. ``check`` comes before anything is changed, by whatever policy; it changes nothing.
2. ``apply`` makes the data hold.  It may be called again with the same data, and with former data to go back.
3. ``remove`` takes back what the data it reads had brought: the policy is withdrawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from popham.agent.permission import Permission, malformed, read_body
from popham.agent.types.wanted import WantedHanding, WantedPolicy
from popham.errors import DefinitionError
from popham.model.names import canonical
from popham.model.schema import check_schema, find_fault
from popham.model.types.redaction import secret_values


class CustomBody(msgspec.Struct, frozen=True, kw_only=True):
    """A policy of type ``custom`` as the document says it."""

    command: str
    data: Any
    schema: dict[str, Any] | None = None
    check: str | None = None


def want_custom(permission: Permission, name: str, body: Mapping[str, Any]) -> WantedPolicy:
    """Return what the policy ``name`` wants.

    Raises:
        PolicyError: The policy is malformed, or this machine does not permit its command.
    """
    asked = read_body(name, body, CustomBody)
    permission.check_command(name, "custom", asked.command)
    permission.check_watcher(name, asked.check)
    if asked.schema is not None:
        try:
            check_schema(asked.schema)
        except DefinitionError as error:
            raise malformed(name, error.problem) from None
        if find_fault(asked.data, asked.schema) is not None:
            raise malformed(name, "its data does not fit its schema")
    return WantedPolicy(
        name=name,
        handing=WantedHanding(asked.command, canonical(asked.data)),
        secrets=tuple(str(value) for value in secret_values("custom", body)),
    )
