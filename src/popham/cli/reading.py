"""What commands that read logs and metrics share: whose, and of when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from popham.cli.text import clean
from popham.errors import DefinitionError
from popham.model.duration import parse_duration

_OPTIONS = (
    click.argument("agents", metavar="[AGENT]...", nargs=-1),
    click.option(
        "-g", "--group", "groups", multiple=True, help="Of the agents of this group, and of groups below it."
    ),
    click.option(
        "-l", "--selector", default="", help="Of agents with such labels: env=prod,role in (web,db)."
    ),
)
_TIMES = (
    click.option(
        "--since",
        default="1h",
        show_default=True,
        metavar="TIME",
        help="From when on: so long ago (90s, 2h, 7d), or a time (2026-11-22T10:00, UTC).",
    ),
    click.option("--until", default="", metavar="TIME", help="Up to when; now if not said."),
)


def agent_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add AGENT..., ``--group`` and ``--selector``; :func:`whose` reads them."""
    return _add(_OPTIONS, command)


def time_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--since`` and ``--until``; :func:`when` reads them."""
    return _add(_TIMES, command)


def whose(options: dict[str, Any]) -> dict[str, Any]:
    """Take what :func:`agent_options` added out of ``options``; return it as the REST client wants it."""
    return {
        "agent": list(options.pop("agents", ())),
        "group": list(options.pop("groups")),
        "selector": options.pop("selector"),
    }


def when(options: dict[str, Any], now: float) -> dict[str, float]:
    """Take what :func:`time_options` added out of ``options``; return it in unix seconds.

    Raises:
        click.UsageError: It is no time.
    """
    since, until = options.pop("since"), options.pop("until")
    found = {"since": read_time(since, now)}
    return found | ({"until": read_time(until, now)} if until else {})


def read_time(text: str, now: float) -> float:
    """Return a time, in unix seconds, from how long ago it was, or from a date and a time in UTC.

    Raises:
        click.UsageError: It is neither.
    """
    try:
        return max(0.0, now - parse_duration(text, "time"))
    except DefinitionError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        problem = (
            f"{clean(text)!r} is no time: write 90s, 2h or 7d for so long ago, or 2026-11-22T10:00 in UTC"
        )
        raise click.UsageError(problem) from None
    return max(0.0, (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def instant(at: float) -> str:
    """Return a time in UTC, to the millisecond."""
    try:
        text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{at:g}"
    return f"{text.removesuffix('+00:00')}Z"


def _add(options: Sequence[Callable[..., Any]], command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command
