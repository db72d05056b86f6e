"""``popham apply`` and ``popham check``: definitions from files."""

from __future__ import annotations

from typing import Any

import click

from popham.cli.confirm import confirm
from popham.cli.costs import cost_warnings
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
@click.option("--force", is_flag=True, help="Take what is possible and unwise; warnings say what it was.")
@click.option(
    "--yes", is_flag=True, help="Do not ask before own values are discarded; scripts are not asked."
)
@output_option("text", "json", default="text")
@click.pass_obj
def apply(
    run: Invocation, names: tuple[str, ...], form: str, *, dry_run: bool, force: bool, yes: bool
) -> None:
    """Make the definitions in files hold, all or none.

    A definition that is wrong is named with its file and line, and nothing is changed.
    Own values that would be discarded because they are inherited again are listed first.
    """
    files = read_definitions(names)
    with run.client() as client:
        if run.asked() and not (yes or dry_run or "-" in names):
            _confirm_losses(client.apply(files, dry_run=True, force=force))
        result = client.apply(files, dry_run=dry_run, force=force)
    if form == "json":
        show_object(form, result)
        return
    for line in summarize(result):
        click.echo(line)
    for warning in result.get("warnings", ()):
        click.echo(f"Warning: {clean(warning)}", err=True)
    for line in cost_warnings(result.get("costs")):
        click.echo(line, err=True)
    if dry_run:
        click.echo("Nothing was changed: this was a dry run.", err=True)
    elif result["groups"]:
        click.echo("See it arrive: popham get agents -w", err=True)


@click.command()
@FILES
@click.option(
    "--force", is_flag=True, help="Take what is possible and unwise, as 'popham apply --force' does."
)
def check(names: tuple[str, ...], *, force: bool) -> None:
    """Check definitions on this machine, asking no Manager.

    Every error is named with its file and line. What depends on objects that stand
    only in a Manager is checked by 'popham apply --dry-run'.
    """
    from popham.model.definition import SourceFile, check

    files = read_definitions(names)
    found = check([SourceFile(name, text) for name, text in files], force=force)
    counts = [_count(len(found.groups), "group"), _count(len(found.policies), "policy", "policies")]
    if found.placements:
        counts.insert(0, _count(len(found.placements), "placement"))
    click.echo(f"{', '.join(counts[:-1])} and {counts[-1]}: no errors")


def _confirm_losses(planned: dict[str, Any]) -> None:
    """Return if nothing would be discarded, or the person agrees; raises as :func:`confirm`."""
    lost = [(change["name"], value) for change in planned["changes"] for value in change["discarded"]]
    if lost:
        lines = [f"  group {clean(name)}: {clean(value)}" for name, value in lost]
        confirm("\n".join(["These own values will be discarded:", *lines]), "discard", yes=False)


def summarize(result: dict[str, Any]) -> list[str]:
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
