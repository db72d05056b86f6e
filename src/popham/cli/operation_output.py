"""``popham op output``: what an operation printed or made at one agent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from popham.cli.invocation import Invocation
from popham.cli.text import clean, clean_lines
from popham.errors import DefinitionError, NotFoundError

if TYPE_CHECKING:
    from popham.client import Client

TRIES = 10
"""Looks for an output that a result has named already, and that is still on its way."""
PAUSE = 0.5
"""Seconds from one look to the next."""


@click.command()
@click.argument("name", metavar="OPERATION")
@click.argument("agent")
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file.")
@click.pass_obj
def output(run: Invocation, name: str, agent: str, to: Path | None) -> None:
    """Print what an operation printed or made at one agent, or write it to a file."""
    with run.client() as client:
        data = _fetch(run, client, name, agent)
    if to is not None:
        try:
            to.write_bytes(data)
        except OSError as error:
            problem = f"it cannot be written: {error.strerror or error}"
            raise DefinitionError("file", problem, "Choose another name", source=str(to)) from error
        click.echo(f"{len(data)} bytes in {clean(str(to))}", err=True)
    elif run.draws() and b"\0" in data:
        problem = "the output is no text"
        raise NotFoundError("text", problem, f"Add --to FILE; it has {len(data)} bytes")
    elif run.draws():
        click.echo(clean_lines(data.decode(errors="backslashreplace")))
    else:
        # Into a file or a pipe, foreign bytes go as they are.
        sys.stdout.buffer.write(data)
        sys.stdout.flush()


def _fetch(run: Invocation, client: Client, name: str, agent: str) -> bytes:
    """Return an output; where a result had room for all that was printed, that."""
    for _ in range(TRIES):
        try:
            return client.output(name, agent)
        except NotFoundError as error:
            if error.code != "not_found.output":
                raise
            target = next((one for one in client.targets(name) if agent in {one["name"], one["uid"]}), None)
            if target is None or not (target["output"] or target["text"]):
                raise
            if target["output"] is None:
                return f"{target['text']}\n".encode()
        run.wait(PAUSE)
    return client.output(name, agent)
