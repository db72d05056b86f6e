"""``popham silence``: alerts that nobody is told of for a while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

from popham.cli.columns import field, moment
from popham.cli.invocation import Invocation
from popham.cli.show import Column, output_option, show_list
from popham.cli.text import clean
from popham.model.communication import parse_duration

COLUMNS: Final[Sequence[Column]] = (
    Column("NAME", field("name")),
    Column("STATE", field("state")),
    Column("UNTIL", lambda item: moment(item["ends"])),
    Column("GROUP", field("group")),
    Column("SELECTOR", field("selector")),
    Column("ITEM", field("item")),
    Column("RESOURCE", field("resource")),
    Column("AUTHOR", field("author")),
    Column("MESSAGE", field("message")),
    Column("SINCE", lambda item: moment(item["begins"]), wide=True),
)


@click.group()
def silence() -> None:
    """Have nobody told of some alerts for a while."""


@silence.command()
@click.argument("name")
@click.option("-g", "--group", default="", help="Only of agents of this group and below.")
@click.option(
    "-l", "--selector", default="", help="Only of agents with such labels: env=prod,role in (web,db)."
)
@click.option("--item", default="", help="Only such alerts: system.filesystem.*.")
@click.option("--resource", default="", help="Only of such resources: /var*.")
@click.option("--for", "lifetime", required=True, help="How long: 2h.")
@click.option("-m", "--message", required=True, help="Why; the audit keeps it.")
@click.pass_obj
def create(run: Invocation, /, lifetime: str, **fields: Any) -> None:
    """Make a silence; what is still open at its end is told then."""
    if not fields["group"] and not fields["selector"]:
        raise click.UsageError("name agents by --group or --selector; '--group fleet' means all")
    with run.client() as client:
        made = client.create_silence(**fields, lifetime=parse_duration(lifetime, "--for"))
    click.echo(f"silence {clean(made['name'])} is on until {moment(made['ends'])}")


@silence.command("list")
@output_option()
@click.pass_obj
def list_(run: Invocation, form: str) -> None:
    """List silences, those that ended lately too."""
    with run.client() as client:
        items = client.silences()
    show_list(form, COLUMNS, items)
    if not items:
        click.echo("No silences.", err=True)


@silence.command()
@click.argument("name")
@click.pass_obj
def end(run: Invocation, name: str) -> None:
    """End a silence now; what is open is told."""
    with run.client() as client:
        ended = client.end_silence(name)
    click.echo(f"silence {clean(ended['name'])} ended")
