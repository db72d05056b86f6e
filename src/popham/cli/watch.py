"""Lists that go on: asked again every second, and only changed rows are printed.

What moves with the clock alone (how long ago, when next) is no change, or a
quiet fleet would fill the screen. A Manager that goes away is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import click

from popham.cli.exits import sentence
from popham.cli.show import Column, Shown, encode_json, lay_out, names, table_rows
from popham.cli.text import widths
from popham.errors import LinkError

INTERVAL = 1.0
"""Seconds between two looks."""
MOVING = frozenset({"age", "oldest", "last_contact", "next_contact", "next"})
"""Fields that change without anything having happened."""
FORMS = ("table", "wide", "jsonl", "name")


def watch(
    look: Callable[[], Sequence[Shown]],
    columns: Sequence[Column],
    form: str,
    *,
    wait: Callable[[float], None],
) -> None:
    """Print the list, then every row that changes, until interrupted.

    Args:
        look: Asks for the list.
        columns: Of its table.
        form: One of :data:`FORMS`.
        wait: Sleeps for so many seconds.

    Raises:
        click.UsageError: The form cannot go on.
        PophamError: As ``look`` raises it.
    """
    if form not in FORMS:
        raise click.UsageError(f"-w prints rows one by one: use -o {', '.join(FORMS)}")
    printer = _Printer(columns, form)
    known = _by_key(look())
    printer.show(list(known.values()))
    away = False
    while True:
        wait(INTERVAL)
        try:
            seen = _by_key(look())
        except LinkError as error:
            if not away:
                click.echo(f"{sentence(error)} Still trying.", err=True)
            away = True
            continue
        away = False
        printer.show(list(changes(known, seen)))
        for key in known.keys() - seen.keys():
            click.echo(f"{names([known[key]])[0]} is gone", err=True)
        known = seen


class _Printer:
    """Prints rows under one another, in columns that only grow wider."""

    def __init__(self, columns: Sequence[Column], form: str) -> None:
        self._columns = columns
        self._form = form
        self._sizes: list[int] = []

    def show(self, items: Sequence[Shown]) -> None:
        for line in self._lines(items) if items else []:
            click.echo(line)

    def _lines(self, items: Sequence[Shown]) -> list[str]:
        if self._form == "jsonl":
            return [encode_json(item, indent=None) for item in items]
        if self._form == "name":
            return names(items)
        rows = table_rows(self._columns, items, wide=self._form == "wide")
        first, sizes = not self._sizes, widths(rows)
        self._sizes = sizes if first else [max(pair) for pair in zip(self._sizes, sizes, strict=True)]
        return lay_out(rows if first else rows[1:], self._sizes)


def changes(known: Mapping[str, Shown], seen: Mapping[str, Shown]) -> Iterator[Shown]:
    """Yield what is new or different in ``seen``."""
    for key, item in seen.items():
        if key not in known or _still(known[key]) != _still(item):
            yield item


def _by_key(items: Sequence[Shown]) -> dict[str, Shown]:
    return {_key(item): item for item in items}


def _key(item: Shown) -> str:
    return str(item.get("id") or item.get("uid") or item.get("name"))


def _still(item: Shown) -> dict[str, object]:
    return {key: value for key, value in item.items() if key not in MOVING}
