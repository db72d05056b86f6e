"""``popham import``: lists of other systems, taken over."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from popham.cli.apply import summarize
from popham.cli.columns import count
from popham.cli.distribute import read_folders, tell, tell_problems
from popham.cli.exits import FAILED
from popham.cli.invocation import Invocation
from popham.cli.lazy import NounGroup
from popham.cli.show import output_option, show_object
from popham.cli.text import clean
from popham.errors import DefinitionError
from popham.model.agentlist import decode
from popham.model.names import ROOT_GROUP

STDIN = "-"
MAX_BYTES = 12 * 1024 * 1024
"""Bytes of one list; the API takes no more."""


@click.group("import", cls=NounGroup)
def import_() -> None:
    """Take over lists of other systems."""


@import_.command("agentlist")
@click.argument("file", metavar="FILE|-")
@click.option("--dry-run", is_flag=True, help="Say what would be; change nothing.")
@output_option("text", "json", default="text")
@click.pass_context
def import_agentlist(ctx: click.Context, file: str, form: str, *, dry_run: bool) -> None:
    """Make agent definitions of an agentlist.cfg: host[/alias],port[,proxyhost,proxyport] in a line.

    Wrong lines are named with their number, and the others work. A place that has a
    definition already is left as it is. To follow the file as it changes, name it in the
    Manager's configuration: agentlist under [visits].
    """
    run: Invocation = ctx.obj
    text = _read(file)
    with run.client() as client:
        done = client.import_agentlist(text, name=file, dry_run=dry_run)
    if form == "json":
        show_object(form, done)
    else:
        for line in summarize(done | {"groups": []}):
            click.echo(line)
        parts = [f"{done[key]} {key}" for key in ("created", "unchanged") if done[key]]
        click.echo(
            f"{count(done['created'] + done['unchanged'], 'agent')} in the list: {', '.join(parts) or 'none'}"
        )
    for finding in done["findings"]:
        click.echo(clean(finding), err=True)
    if done["wrong"]:
        click.echo(f"{count(done['wrong'], 'line')} wrong; the others work", err=True)
    if dry_run:
        click.echo("Nothing was changed: this was a dry run.", err=True)
    if done["wrong"]:
        ctx.exit(FAILED)


@import_.command("distribute")
@click.argument("paths", metavar="PATH|-", nargs=-1, required=True)
@click.option(
    "--group", default="", metavar="NAME", help="The policy distribution group; default: the folder's name."
)
@click.option("--under", default=ROOT_GROUP, metavar="GROUP", help="The group above those that are made.")
@click.option("--dry-run", is_flag=True, help="Say what would be; change nothing.")
@output_option("text", "json", default="text")
@click.pass_context
def import_distribute(
    ctx: click.Context, paths: tuple[str, ...], group: str, under: str, form: str, *, dry_run: bool
) -> None:
    """Make groups of files named Distribute.ini, and put their hosts into them.

    PATH is such a file, the folder of a policy distribution group, or Policy_ROOT for all of
    them. An agent that is known is moved; a host that is not yet one begins in its group when
    it joins. What is wrong and what has no counterpart is named, and the others work.
    """
    run: Invocation = ctx.obj
    files = read_folders(paths, group)
    with run.client() as client:
        done = client.import_distribution(files, under=under, dry_run=dry_run)
    if form == "json":
        show_object(form, done)
    else:
        for line in tell(done):
            click.echo(line)
    for line in tell_problems(done):
        click.echo(line, err=True)
    if dry_run:
        click.echo("Nothing was changed: this was a dry run.", err=True)
    if done["wrong"]:
        ctx.exit(FAILED)


def _read(file: str) -> str:
    """Return what a list says; raises DefinitionError ``definition.file``."""
    try:
        if file == STDIN:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(file).open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
        raise DefinitionError("file", problem, "Name an agentlist.cfg", source=file) from error
    if len(data) > MAX_BYTES:
        problem = f"the list is larger than {MAX_BYTES // 2**20} MiB"
        raise DefinitionError(
            "size", problem, "Import it in parts, or let the Manager follow it", source=file
        )
    return decode(data)
