"""What a list looks like: a table for people, other forms for programs.

Rules:

1. ``json``, ``jsonl``, ``yaml`` and ``name`` are stable; tables may change.
2. One object is itself; a list is ``{"items": [...]}``.
3. Colour only repeats what a word says, and only on a terminal.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from popham.cli.text import GAP, clean, clean_json, pad, widths

Shown = Mapping[str, Any]
"""One object as the API renders it."""

FORMS = ("table", "wide", "json", "jsonl", "yaml", "name")
COLOURS = {
    "in sync": "green",
    "on time": "green",
    "connected": "green",
    "usable": "green",
    "promoted": "green",
    "pending": "yellow",
    "overdue": "yellow",
    "drifted": "yellow",
    "cannot take it": "yellow",
    "new": "yellow",
    "paused": "yellow",
    "undone": "yellow",
    "failed": "red",
    "missing": "red",
    "revoked": "red",
    "refused": "red",
    "halted": "red",
    "visited": "green",
    "fails": "red",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        title: In capitals.
        cell: From an object to its text; foreign text is cleaned afterwards.
        wide: Whether it is shown by ``-o wide`` only.
    """

    title: str
    cell: Callable[[Shown], str]
    wide: bool = False


def output_option(*forms: str, default: str = "table") -> Callable[[Any], Any]:
    """Return the option ``-o`` with these forms."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(forms or FORMS),
        default=default,
        show_default=True,
        help="Form of the output.",
    )


def table_rows(columns: Sequence[Column], items: Sequence[Shown], *, wide: bool) -> list[list[str]]:
    """Return the cells of a table, the titles first, everything foreign cleaned."""
    shown = [column for column in columns if wide or not column.wide]
    rows = [[column.title for column in shown]]
    return rows + [[clean(column.cell(item)) for column in shown] for item in items]


def lay_out(rows: Sequence[Sequence[str]], sizes: Sequence[int]) -> list[str]:
    """Return rows as lines, each column at least as wide as ``sizes`` says."""
    return [_line(row, sizes) for row in rows]


def show_list(form: str, columns: Sequence[Column], items: Sequence[Shown]) -> None:
    """Print a list in one of :data:`FORMS`; an empty table prints nothing."""
    if form in {"table", "wide"}:
        rows = table_rows(columns, items, wide=form == "wide") if items else []
        for line in lay_out(rows, widths(rows)):
            click.echo(line)
    elif form == "jsonl":
        for item in items:
            click.echo(encode_json(item, indent=None))
    elif form == "name":
        for name in names(items):
            click.echo(name)
    else:
        show_object(form, {"items": list(items)})


def show_object(form: str, item: Shown) -> None:
    """Print one object as ``json``, ``jsonl`` or ``yaml``."""
    if form == "yaml":
        click.echo(encode_yaml(item), nl=False)
    else:
        click.echo(encode_json(item, indent=None if form == "jsonl" else 2))


def names(items: Sequence[Shown]) -> list[str]:
    """Return what other commands take: the name, or the id where a name is not alone or absent."""
    found = [str(item.get("name", "")) for item in items]
    return [
        clean(name if name and found.count(name) == 1 else item.get("uid") or item.get("id") or name)
        for name, item in zip(found, items, strict=True)
    ]


def encode_json(value: Any, *, indent: int | None) -> str:
    """Return ``value`` as JSON that is safe to print."""
    return clean_json(json.dumps(value, indent=indent, ensure_ascii=False))


def encode_yaml(value: Any) -> str:
    """Return ``value`` as YAML that is safe to print."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # its stub says None
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


def _line(row: Sequence[str], sizes: Sequence[int]) -> str:
    cells = [pad(cell, size) for cell, size in zip(row, sizes, strict=True)]
    coloured = [
        cell.replace(word, click.style(word, fg=COLOURS[word]), 1) if word in COLOURS else cell
        for cell, word in zip(cells, row, strict=True)
    ]
    return GAP.join(coloured).rstrip()
