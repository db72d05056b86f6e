"""Asking before what cannot be undone: the name must be typed."""

from __future__ import annotations

import sys

import click

from popham.cli.text import clean
from popham.errors import ConflictError


def confirm(consequence: str, name: str, *, yes: bool) -> None:
    """Return if ``yes``, or if the person types ``name``.

    Args:
        consequence: One sentence about what will be.
        name: What must be typed.
        yes: Whether ``--yes`` was given.

    Raises:
        ConflictError: Something else was typed (``conflict.not_confirmed``), or there is nobody to ask
            (``conflict.no_terminal``).
        click.Abort: The person wants to end it.
    """
    if yes:
        return
    click.echo(consequence, err=True)
    if sys.stdin is not None and sys.stdin.isatty():
        typed = click.prompt(f"Type {clean(name)} to go on", err=True, default="", show_default=False)
    else:
        # Nobody reads a prompt; but a script may hand the name on.
        line = sys.stdin.readline() if sys.stdin is not None else ""
        if not line:
            problem = "there is nobody to ask whether that is meant, and nothing was changed"
            raise ConflictError("no_terminal", problem, f"Give --yes, or {clean(name)} on standard input")
        typed = line.rstrip("\r\n")
    if typed != name:
        raise ConflictError("not_confirmed", "nothing was changed", "Type the name, or give --yes")
