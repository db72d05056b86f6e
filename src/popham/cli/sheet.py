"""Lists as comma-separated values, for sheets. Source: RFC 4180."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from popham.cli.show import Shown
from popham.cli.text import clean

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a sheet takes for a formula. Source: guarantees SEC-13."""


def show_sheet(columns: Mapping[str, Callable[[Shown], Any]], items: Sequence[Shown]) -> None:
    """Print a line of titles, and one for each item; what is not known is empty."""
    print_csv([tuple(columns), *([cell(item) for cell in columns.values()] for item in items)])


def print_csv(rows: Iterable[Sequence[object]]) -> None:
    """Print rows as CSV; text that a sheet would take for a formula is marked as text by an apostrophe."""
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([_cell(value) for value in row])
        click.echo(line.getvalue())


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return value
    text = clean(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
