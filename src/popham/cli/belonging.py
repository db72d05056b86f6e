"""``popham move agent`` and ``popham label agent``: where agents belong, and what operators call them."""

from __future__ import annotations

import click

from popham.cli.columns import pairs
from popham.cli.invocation import Invocation
from popham.cli.lazy import NounGroup
from popham.cli.text import clean
from popham.model.selector import read_label_changes


@click.group(cls=NounGroup)
def move() -> None:
    """Put agents into another group."""


@move.command("agent")
@click.argument("names", metavar="X...", nargs=-1, required=True)
@click.option("--to", "group", required=True, metavar="GROUP", help="The group they are to belong to.")
@click.pass_obj
def move_agent(run: Invocation, names: tuple[str, ...], group: str) -> None:
    """Put agents, by name or uid, into another group: its policies and settings hold from then on.

    Who holds a link is told at once; the others with their next heartbeat.
    """
    with run.client() as client:
        for name in names:
            found = client.move(name, group)
            click.echo(f"agent {clean(found['name'])} belongs to {clean(found['group'])}")
    click.echo("See it arrive: popham get agents -w", err=True)


@click.group(cls=NounGroup)
def label() -> None:
    """Set labels of agents, or take them away."""


@label.command("agent")
@click.argument("name", metavar="X")
@click.argument("words", metavar="LABEL...", nargs=-1, required=True)
@click.pass_obj
def label_agent(run: Invocation, name: str, words: tuple[str, ...]) -> None:
    """Label an agent: env=prod sets a label, env- takes it away.

    Operators' labels win over those of the machine's own configuration. Selections use them:
    popham get agents -l env=prod.
    """
    with run.client() as client:
        found = client.label(name, read_label_changes(list(words)))
    click.echo(f"agent {clean(found['name'])}: {clean(pairs(found['labels']))}")
