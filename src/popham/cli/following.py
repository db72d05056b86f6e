"""Following what goes on to its end: redrawn on a terminal, a line per change elsewhere."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import click

from popham.cli.exits import TIMEOUT, sentence
from popham.cli.show import Shown, encode_json
from popham.cli.text import width
from popham.cli.watch import INTERVAL, MOVING
from popham.errors import LinkError

_UP = "\x1b[{lines}A\x1b[J"
"""Moves the cursor so many lines up and clears what is below. Source: ECMA-48, CUU and ED."""
_INDENT = " " * 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """How something that goes on is shown.

    Attributes:
        look: Asks for it.
        page: Returns all about it, at a time in unix seconds.
        headline: Returns one line that says all that matters.
        is_over: Returns whether nothing more will happen.
        end: Says what comes next, and returns the exit code.
    """

    look: Callable[[], Shown]
    page: Callable[[Shown, float], list[str]]
    headline: Callable[[Shown], str]
    is_over: Callable[[Shown], bool]
    end: Callable[[Shown], int]


def follow(
    what: Followed,
    form: str,
    *,
    draws: bool,
    timeout: float | None,
    now: Callable[[], float],
    wait: Callable[[float], None],
) -> int:
    """Show something until it is over; return the exit code.

    Args:
        what: How it is looked at and shown.
        form: ``text`` or ``jsonl``.
        draws: Whether what was printed may be drawn over.
        timeout: Seconds to follow it, at most; None for as long as it takes.
        now: Wall time, in unix seconds.
        wait: Sleeps for so many seconds.

    Raises:
        PophamError: As looking raises it the first time; later, a Manager that is away is waited for.
    """
    printer = _Screen(what) if draws and form == "text" else _Log(what, form)
    until = None if timeout is None else now() + timeout
    found = what.look()
    away = False
    while True:
        printer.show(found, now())
        if what.is_over(found):
            return what.end(found)
        if until is not None and now() >= until:
            click.echo(f"{what.headline(found)}: not over in time", err=True)
            return TIMEOUT
        wait(INTERVAL if until is None else max(0.0, min(INTERVAL, until - now())))
        try:
            found = what.look()
        except LinkError as error:
            if not away:
                printer.say(f"{sentence(error)} Still trying.")
            away = True
            continue
        away = False


class _Log:
    """Prints a line when something has changed."""

    def __init__(self, what: Followed, form: str) -> None:
        self._what = what
        self._form = form
        self._last: object = None

    def show(self, found: Shown, now: float) -> None:  # noqa: ARG002 - as a screen
        line = self._what.headline(found)
        seen: object = line
        if self._form == "jsonl":
            line = encode_json(found, indent=None)
            seen = {key: value for key, value in found.items() if key not in MOVING}
        if seen != self._last:
            click.echo(line)
        self._last = seen

    def say(self, text: str) -> None:
        click.echo(text, err=True)


class _Screen:
    """Draws over what it has drawn."""

    def __init__(self, what: Followed) -> None:
        self._what = what
        self._lines = 0

    def show(self, found: Shown, now: float) -> None:
        columns, rows = shutil.get_terminal_size()
        # A line that the terminal wraps, or a page longer than the screen, could not be drawn over.
        shown = [part for line in self._what.page(found, now) for part in _wrap(line, columns - 1)]
        lines = shown[: max(1, rows - 1)]
        back = _UP.format(lines=self._lines) if self._lines else ""
        # The cursor moves without colours too.
        click.echo(back + "\n".join(lines), color=True)
        self._lines = len(lines)

    def say(self, text: str) -> None:
        click.echo(text, err=True)
        self._lines = 0


def _wrap(line: str, columns: int) -> list[str]:
    """Return a line as lines that the screen has room for."""
    columns = max(columns, 2 * len(_INDENT))
    parts = textwrap.wrap(line, columns, subsequent_indent=_INDENT) or [""]
    return [_cut(part, columns) for part in parts]


def _cut(line: str, columns: int) -> str:
    """Return as much of a line as there is room for: some letters take two columns."""
    while width(line) > columns:
        line = line[:-1]
    return line
