"""Lists as comma-separated values, for sheets.

Source: RFC 4180; a text that a sheet would take for a formula begins with an apostrophe.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from popham.cli.show import Shown
from popham.cli.text import clean

_FORMULAS = ("=", "+", "-", "@")


def show_sheet(columns: Mapping[str, Callable[[Shown], Any]], items: Sequence[Shown]) -> None:
    """Print a line of titles, and one for each item; what is not known is empty."""
    written = io.StringIO()
    sheet = csv.writer(written, lineterminator="\n")
    sheet.writerow(columns)
    sheet.writerows([_cell(cell(item)) for cell in columns.values()] for item in items)
    click.echo(written.getvalue(), nl=False)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return value
    text = clean(value)
    return f"'{text}" if text.startswith(_FORMULAS) else text
