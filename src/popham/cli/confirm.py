"""Asking before what cannot be undone: the name must be typed."""

from __future__ import annotations

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
        ConflictError: Something else was typed (``conflict.not_confirmed``).
        click.Abort: There is nobody to ask.
    """
    if yes:
        return
    click.echo(consequence, err=True)
    typed = click.prompt(f"Type {clean(name)} to go on", err=True, default="", show_default=False)
    if typed != name:
        raise ConflictError("not_confirmed", "nothing was changed", "Type the name, or give --yes")
