"""``popham get alerts``: what is not as it should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from popham.cli.columns import NOTHING, field, moment
from popham.cli.invocation import Invocation
from popham.cli.show import Column, Shown, output_option, show_list
from popham.cli.watch import watch
from popham.client import Client

COLUMNS: Final[Sequence[Column]] = (
    Column("SINCE", lambda item: moment(item["since"])),
    Column("STATE", field("state")),
    Column("AGENT", field("agent")),
    Column("ITEM", field("item")),
    Column("RESOURCE", field("resource")),
    Column("TEXT", field("text")),
    Column("SILENCE", field("silence")),
    Column("TOLD", lambda item: ", ".join(sorted(item["told"])) or NOTHING, wide=True),
    Column("NOTE", field("note"), wide=True),
)


@click.command()
@click.argument("agent", required=False, default="")
@click.option("-g", "--group", default=None, help="Only of agents of this group and below.")
@click.option(
    "-l", "--selector", default="", help="Only of agents with such labels: env=prod,role in (web,db)."
)
@click.option("--all", "everything", is_flag=True, help="Those that have recovered lately too.")
@click.option("-w", "--watch", "watched", is_flag=True, help="Go on, and print what changes.")
@output_option()
@click.pass_obj
def alerts(
    run: Invocation,
    agent: str,
    group: str | None,
    selector: str,
    form: str,
    *,
    everything: bool,
    watched: bool,
) -> None:
    """List what is not as it should be: thresholds of agents, and what the Manager finds itself."""

    def look(client: Client) -> Sequence[Shown]:
        return client.alerts(ref=agent, group=group, selector=selector, everything=everything)

    with run.client() as client:
        if watched:
            watch(lambda: look(client), COLUMNS, form, wait=run.wait)
            return
        items = look(client)
    show_list(form, COLUMNS, items)
    if not items:
        click.echo(
            "No alerts." if everything else "No open alerts. '--all' shows those that recovered.", err=True
        )
