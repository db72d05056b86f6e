"""``popham get summary``: the summary window."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from popham.cli.invocation import Invocation
from popham.cli.sheet import show_sheet
from popham.cli.show import FORMS, Column, Shown, output_option, show_list, show_object
from popham.cli.summary_columns import (
    GROUP_SHEET,
    GROUP_SUMMARY,
    ROLLED,
    ROLLED_SHEET,
    SUMMARY,
    SUMMARY_SHEET,
    VALUES,
)
from popham.cli.watch import watch
from popham.client import Client

SHEET = "csv"
INTERVAL = 2.0
"""Seconds between two looks of ``-w``."""


@dataclass(frozen=True, slots=True)
class _List:
    """A list: its columns, and those of its sheet; how it is asked for, and what is said if it is empty."""

    columns: Sequence[Column]
    sheet: Mapping[str, Callable[[Shown], Any]]
    look: Callable[[Client], Sequence[Shown]]
    empty: str


@click.command()
@click.argument("agent", required=False)
@click.option("-g", "--group", default=None, help="Only the agents of this group.")
@click.option("-l", "--selector", default="", help="Only agents with such labels: env=prod,role in (web,db).")
@click.option("--groups", "by_group", is_flag=True, help="A row for each group, not for each agent.")
@click.option(
    "--every",
    "level",
    type=click.Choice(["10m", "1h", "1d"]),
    default=None,
    help="What the values of AGENT came to in the newest windows of this length.",
)
@click.option("-w", "--watch", "watched", is_flag=True, help="Go on, and print what changes.")
@output_option(*FORMS, SHEET)
@click.pass_obj
def summary(
    run: Invocation,
    agent: str | None,
    group: str | None,
    selector: str,
    level: str | None,
    form: str,
    *,
    by_group: bool,
    watched: bool,
) -> None:
    """Show every agent at a glance: presence, sync, key metrics, alerts, losses, and how old that is."""
    if sum(map(bool, (agent, group or selector, by_group))) > 1:
        raise click.UsageError("AGENT, --group or --selector, and --groups exclude each other")
    if level and (not agent or watched):
        raise click.UsageError("--every is for one AGENT, and not for -w")
    what = _choose(agent, group, selector, level, by_group=by_group)
    with run.client() as client:
        if watched:
            wait = run.wait
            watch(lambda: what.look(client), what.columns, form, wait=lambda _: wait(INTERVAL))
            return
        items = what.look(client)
    _show(form, what, items, alone=agent is not None and level is None)
    if not items:
        click.echo(what.empty, err=True)


def _choose(
    agent: str | None, group: str | None, selector: str, level: str | None, *, by_group: bool
) -> _List:
    """Return the list that is asked for."""
    if agent and level:
        empty = f"Nothing was rolled up of {agent} yet: a window is there a quarter of an hour after its end, at the latest."
        return _List(ROLLED, ROLLED_SHEET, lambda client: client.rolled(agent, level=level), empty)
    if agent:
        return _List(SUMMARY, SUMMARY_SHEET, lambda client: [client.summary(agent)], "")
    if by_group:
        empty = "No agents in any group. Make a token with 'popham token create'."
        return _List(GROUP_SUMMARY, GROUP_SHEET, Client.group_summaries, empty)
    empty = "No such agents. 'popham get agents' shows all."
    return _List(
        SUMMARY,
        SUMMARY_SHEET,
        lambda client: client.summaries(group=group, selector=selector),
        empty,
    )


def _show(form: str, what: _List, items: Sequence[Shown], *, alone: bool) -> None:
    """Print a list once; of one agent alone, all its values too."""
    if form == SHEET:
        show_sheet(what.sheet, items)
    elif alone and form in {"json", "jsonl", "yaml"}:
        show_object(form, items[0])
    else:
        show_list(form, what.columns, items)
        if alone and form in {"table", "wide"} and items[0]["values"]:
            click.echo()
            show_list(form, VALUES, items[0]["values"])
