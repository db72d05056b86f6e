"""``popham logs``: what agents' logs say, and what they say next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from popham.cli.exits import sentence
from popham.cli.invocation import Invocation
from popham.cli.reading import agent_options, instant, time_options, when, whose
from popham.cli.sheet import print_csv
from popham.cli.show import Shown, encode_json, output_option, show_object
from popham.cli.text import clean
from popham.errors import LinkError

if TYPE_CHECKING:
    from popham.client import Client

EVERY = 0.25
"""Seconds between two looks of ``-f``."""
PAGE = 1000
LEVELS = {"trace": 1, "debug": 5, "info": 9, "warn": 13, "error": 17, "fatal": 21}
"""Level → the lowest severity number of it. Source: OpenTelemetry's data model of logs."""
_HEAD = ("time", "agent", "uid", "source", "level", "text")


@click.command()
@agent_options
@time_options
@click.option("--grep", default="", metavar="REGEX", help="Only lines that fit it; RE2 has the form.")
@click.option(
    "--level", type=click.Choice(list(LEVELS)), default=None, help="Only lines of this level or above."
)
@click.option("--source", default="", help="Only lines of this source of the policy, or this file.")
@click.option("-f", "--follow", is_flag=True, help="Go on, and print lines as they come.")
@click.option(
    "-n",
    "--lines",
    "most",
    type=click.IntRange(0, PAGE),
    default=100,
    show_default=True,
    help="The newest lines, so many; 0 for all.",
)
@output_option("text", "json", "jsonl", "csv", default="text")
@click.pass_obj
def logs(
    run: Invocation, /, level: str | None, most: int, form: str, *, follow: bool, **options: Any
) -> None:
    """Show lines of the logs of agents, by their time, corrected for clock skew.

    Without AGENT, --group and --selector it is the whole fleet.
    """
    if follow and (options["until"] or form == "json" or not most):
        raise click.UsageError("--follow goes on: it excludes --until, -n 0 and -o json")
    query = {**whose(options), **when(options, run.now()), **options, "severity": LEVELS.get(level or "", 0)}
    show = _printer(form)
    with run.client() as client:
        if not most:
            _show_all(client, query, form, show)
            return
        page = client.logs({**query, "newest": True, "limit": most})
        if form == "json":
            show_object(form, {"items": page["items"]})
        else:
            show(page["items"])
        if not follow and len(page["items"]) == most:
            click.echo(f"The newest {most} lines; -n 0 shows all.", err=True)
        if follow:
            _follow(client, {**query, "limit": PAGE}, page["after"], show, run.wait)


def _show_all(
    client: Client, query: Mapping[str, Any], form: str, show: Callable[[Sequence[Shown]], None]
) -> None:
    found: list[Shown] = []
    for items in _pages(client, query):
        if form == "json":
            found += items
        else:
            show(items)
    if form == "json":
        show_object(form, {"items": found})


def _pages(client: Client, query: Mapping[str, Any]) -> Iterator[Sequence[Shown]]:
    cursor = ""
    while True:
        page = client.logs({**query, "limit": PAGE, "cursor": cursor})
        yield page["items"]
        cursor = page["cursor"]
        if not cursor:
            return


def _follow(
    client: Client,
    query: Mapping[str, Any],
    after: str,
    show: Callable[[Sequence[Shown]], None],
    wait: Callable[[float], None],
) -> None:
    """Print what comes, until interrupted; a Manager that is away is waited for."""
    away = more = False
    while True:
        if not more:
            wait(EVERY)
        try:
            page = client.logs({**query, "after": after})
        except LinkError as error:
            if not away:
                click.echo(f"{sentence(error)} Still trying.", err=True)
            away, more = True, False
            continue
        away, more = False, len(page["items"]) == query["limit"]
        show(page["items"])
        after = page["after"]


def _printer(form: str) -> Callable[[Sequence[Shown]], None]:
    """Return what prints lines in one form, as they come."""
    if form == "csv":
        print_csv([_HEAD])
        return lambda items: print_csv(map(_row, items))
    if form == "jsonl":
        return _print_jsonl
    return _print_text


def _print_jsonl(items: Sequence[Shown]) -> None:
    for item in items:
        click.echo(encode_json(item, indent=None))


def _print_text(items: Sequence[Shown]) -> None:
    for item in items:
        words = (instant(item["at"]), item["agent"] or item["uid"], item["source"] or "-", item["text"])
        click.echo("  ".join(map(clean, words)))


def _row(item: Shown) -> tuple[object, ...]:
    name = next((name for name, low in reversed(LEVELS.items()) if item["severity"] >= low), "")
    return instant(item["at"]), item["agent"], item["uid"], item["source"], name, item["text"]
