"""``popham data``: records of agents as files, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from popham.cli.columns import count
from popham.cli.invocation import Invocation
from popham.cli.lazy import NounGroup
from popham.cli.reading import agent_options, time_options, when, whose

STREAMS = ("events", "summary", "metrics", "logs")


@click.group(cls=NounGroup)
def data() -> None:
    """Take records of agents out of the Manager."""


@data.command()
@click.argument("stream", type=click.Choice(STREAMS))
@agent_options
@time_options
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["jsonl", "parquet"]),
    default="jsonl",
    show_default=True,
    help="Form of the file.",
)
@click.option(
    "--to", "path", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file."
)
@click.pass_obj
def export(run: Invocation, /, stream: str, form: str, path: Path, **options: Any) -> None:
    """Write the records of a stream into a file, by their time.

    What was interrupted goes on where it was, with the times that it began with, if the same is asked of the same
    Manager again.
    """
    from popham.cli.exporting import Export, finish

    said = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
    now = run.now()
    query = {**whose(options), "until": now, **when(options, now)}
    with run.client() as client:
        unfinished = Export.begin(path, {"stream": stream, "manager": client.url, **said}, query)
        if unfinished.records:
            click.echo(f"Going on after {count(unfinished.records, 'record')} of {unfinished.part}", err=True)
        while unfinished.goes_on:
            unfinished.add(client.records(stream, unfinished.next))
    finish(unfinished, stream, form)
    click.echo(f"{count(unfinished.records, 'record')} in {path}", err=True)
