"""``popham diff``: what differs between revisions of a policy, or between files and what is stored.

Exit codes are those of diff(1): 0 if nothing differs, 1 if something does, more if that could not be found out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from popham.cli.apply import AS_APPLY, files_option
from popham.cli.exits import FAILED, exit_code, sentences
from popham.cli.files import read_definitions
from popham.cli.invocation import Invocation
from popham.cli.text import clean, clean_lines
from popham.errors import PophamError

DIFFERS = 1
TROUBLE = 2
"""Something went wrong that would end another command with 1."""
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.group(invoke_without_command=True)
@files_option("Compare these definitions with what is stored.", required=False)
@AS_APPLY
@click.pass_context
def diff(ctx: click.Context, names: tuple[str, ...], *, force: bool) -> int | None:
    """Show what differs between revisions, or files and what is stored.

    That is 'popham diff policy X', or 'popham diff -f DIR'.

    Exit code 0: nothing differs; 1: something does; more: it could not be found out. Secrets are hidden.
    """
    if ctx.invoked_subcommand is not None:
        return None
    if not names:
        raise click.UsageError("name a policy, or files with -f", ctx)
    run: Invocation = ctx.obj

    def find() -> list[str]:
        files = read_definitions(names)
        with run.client() as client:
            return _told(client.apply(files, dry_run=True, force=force, compare=True))

    return _end(find)


@diff.command("policy")
@click.argument("name", metavar="X")
@click.argument("first", metavar="[A", required=False, type=click.IntRange(min=1))
@click.argument("second", metavar="[B]]", required=False, type=click.IntRange(min=1))
@click.pass_obj
def diff_policy(run: Invocation, name: str, first: int | None, second: int | None) -> int:
    """Show what differs between revisions A and B of policy X: by default the newest and the one before."""

    def find() -> list[str]:
        with run.client() as client:
            return [client.difference(name, first, second)["difference"]]

    return _end(find)


def difference_lines(text: str) -> list[str]:
    """Return a unified diff in lines that are safe for a terminal, coloured there."""
    lines = clean_lines(text).splitlines()
    return [click.style(line, fg=_COLOURS[line[0]]) if line[:1] in _COLOURS else line for line in lines]


def _told(result: dict[str, Any]) -> list[str]:
    """Return the differences of a dry run; what has none to show is named."""
    found = []
    for change in result["changes"]:
        if change["action"] != "unchanged":
            about = f"{change['kind'].lower()} {clean(change['name'])}"
            found.append(change["difference"] or f"{about} {change['action']}\n")
    return found


def _end(find: Callable[[], list[str]]) -> int:
    """Print what differs, and return the exit code."""
    try:
        found = [text for text in find() if text]
    except PophamError as error:
        if exit_code(error) != FAILED:
            raise
        for line in sentences(error):
            click.echo(line, err=True)
        return TROUBLE
    for text in found:
        for line in difference_lines(text):
            click.echo(line)
    return DIFFERS if found else 0
