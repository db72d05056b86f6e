"""Commands that are imported when they are used, so that ``--help`` is quick.

A group of 20 commands would otherwise import an HTTP client, a database and a
web framework to print 20 lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click

_OTHERS = {"policy": "policies", "policies": "policy", "proxy": "proxies", "proxies": "proxy"}
"""Nouns whose other number is not made by an ``s``."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command stands, and what its help line says.

    Attributes:
        module: Imported when the command is used.
        attribute: Name of the command in it.
        help: One line; the same as the command's own.
    """

    module: str
    attribute: str
    help: str


class LazyGroup(click.Group):
    """A group that knows its commands by name and line until one is used."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names, in the order of the table."""
        return list(self.entries)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Return a command, importing its module; None if there is none."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        found = getattr(import_module(entry.module), entry.attribute)
        if not isinstance(found, click.Command):
            raise TypeError(f"{entry.module}.{entry.attribute} is no command")
        return found

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the list of commands from the table; nothing is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])


class NounGroup(click.Group):
    """A group whose commands are nouns; ``agent`` and ``agents`` are one, and long ones have a short form."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command by either number of its noun; None if there is none."""
        cmd_name = {"ad": "agent-definition"}.get(cmd_name, cmd_name)
        other = _OTHERS.get(cmd_name) or (
            cmd_name.removesuffix("s") if cmd_name.endswith("s") else f"{cmd_name}s"
        )
        return super().get_command(ctx, cmd_name) or super().get_command(ctx, other)
