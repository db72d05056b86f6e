"""``popham apply`` and ``popham check``: definitions from files."""

from __future__ import annotations

from typing import Any

import click

from popham.cli.files import read_definitions
from popham.cli.invocation import Invocation
from popham.cli.show import output_option, show_object
from popham.cli.text import clean

FILES = click.option(
    "-f",
    "--file",
    "names",
    multiple=True,
    required=True,
    metavar="FILE|DIR|-",
    help="A file, a folder with .yaml files, or standard input; several times if you like.",
)


@click.command()
@FILES
@click.option("--dry-run", is_flag=True, help="Say what would be; change nothing.")
@output_option("text", "json", default="text")
@click.pass_obj
def apply(run: Invocation, names: tuple[str, ...], form: str, *, dry_run: bool) -> None:
    """Make the definitions in files hold, all or none.

    A definition that is wrong is named with its file and line, and nothing is changed.
    """
    files = read_definitions(names)
    with run.client() as client:
        result = client.apply(files, dry_run=dry_run)
    if form == "json":
        show_object(form, result)
        return
    for line in _summary(result):
        click.echo(line)
    if dry_run:
        click.echo("Nothing was changed: this was a dry run.", err=True)
    elif result["groups"]:
        click.echo("See it arrive: popham get agents -w", err=True)


@click.command()
@FILES
def check(names: tuple[str, ...]) -> None:
    """Check definitions on this machine, asking no Manager.

    Every error is named with its file and line. What depends on objects that stand
    only in a Manager is checked by 'popham apply --dry-run'.
    """
    from popham.model.definition import SourceFile, check

    files = read_definitions(names)
    found = check([SourceFile(name, text) for name, text in files])
    groups, policies = len(found.groups), len(found.policies)
    click.echo(f"{_count(groups, 'group')} and {_count(policies, 'policy', 'policies')}: no errors")


def _summary(result: dict[str, Any]) -> list[str]:
    """Return what became of each definition, then what it means for each group."""
    lines = []
    for change in result["changes"]:
        lines.append(f"{clean(change['kind']).lower()} {clean(change['name'])} {clean(change['action'])}")
        lines += [f"  discards {clean(value)}" for value in change["discarded"]]
    for effect in result["groups"]:
        serials = f"serial {effect['before']} -> {effect['after']}"
        lines.append(f"{clean(effect['group'])}: {serials}, {_count(effect['agents'], 'agent')}")
    return lines


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
