"""``popham apply`` and ``popham check``: definitions from files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from popham.cli.columns import count
from popham.cli.confirm import confirm
from popham.cli.costs import cost_warnings
from popham.cli.files import read_definitions
from popham.cli.invocation import Invocation
from popham.cli.reach import began_lines, follow_line, look_at_begun, reach_options, take_reach
from popham.cli.saved_plan import SavedPlan
from popham.cli.show import output_option, show_object
from popham.cli.text import clean


def files_option(
    text: str = "A file, a folder with .yaml files, or standard input; several times if you like.",
    *,
    required: bool = True,
) -> Callable[[Any], Any]:
    """Return the option ``-f`` that names definitions; ``text`` says what for."""
    return click.option(
        "-f", "--file", "names", multiple=True, required=required, metavar="FILE|DIR|-", help=text
    )


AS_APPLY = click.option(
    "--force", is_flag=True, help="Take what is possible and unwise, as 'popham apply --force' does."
)
TAKE_OVER = click.option(
    "--take-over", is_flag=True, help="Also edit what is managed elsewhere; it is not from then on."
)
TERMS = (
    click.option(
        "--as-source",
        default="",
        metavar="NAME",
        help="Where these files are kept, such as the URL of their repository: what they define is edited there only.",
    ),
    TAKE_OVER,
    click.option(
        "--prune",
        is_flag=True,
        help="Delete what was applied as this source and is not in the files any more.",
    ),
)


def terms_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say as whom and how far definitions are applied."""
    for option in reversed(TERMS):
        command = option(command)
    return command


@click.command()
@files_option(required=False)
@click.option(
    "--plan", "saved", type=click.Path(), metavar="FILE", help="Apply a saved plan, if nothing moved since."
)
@click.option("-m", "--message", default="", help="Why, for the history of all policies it changes.")
@terms_options
@reach_options
@click.option("--dry-run", is_flag=True, help="Say what would be; change nothing.")
@click.option("--force", is_flag=True, help="Take what is possible and unwise; warnings say what it was.")
@click.option(
    "--yes", is_flag=True, help="Do not ask before own values are discarded or objects are deleted."
)
@output_option("text", "json", default="text")
@click.pass_obj
def apply(
    run: Invocation,
    /,
    names: tuple[str, ...],
    saved: str | None,
    message: str,
    form: str,
    *,
    dry_run: bool,
    force: bool,
    yes: bool,
    **terms: Any,
) -> None:
    """Make the definitions in files hold, all or none.

    A definition that is wrong is named with its file and line, and nothing is changed.
    Own values that would be discarded because they are inherited again are listed first,
    and so are objects that --prune would delete. New content for many agents needs --all,
    or --canary for a rollout that reaches a few first.
    """
    reach = take_reach(terms)
    if bool(saved) == bool(names) or (saved and (force or any(terms.values()))):
        raise click.UsageError("Name files with -f, or a saved plan with --plan, which has its own options")
    plan = SavedPlan.load(Path(saved)) if saved else None
    files = plan.files if plan else read_definitions(names)
    given = {
        **(plan.terms if plan else terms),
        "message": message,
        "base": plan.base if plan else None,
    } | reach
    force = plan.force if plan else force
    with run.client() as client:
        scripted = not run.asked() or "-" in names
        if not (plan or yes or dry_run) and (given["prune"] or not scripted):
            planned = client.apply(files, dry_run=True, force=force, **given)
            _confirm_losses(planned, scripted=scripted)
            given["base"] = planned.get("base")
        result = client.apply(files, dry_run=dry_run, force=force, **given)
        began = look_at_begun(client, result, run.wait) if form == "text" else None
    show_applied(result, form, began, dry_run=dry_run)


def show_applied(result: dict[str, Any], form: str, began: dict[str, Any] | None, *, dry_run: bool) -> None:
    """Print what an apply did, or would do; ``began`` is the rollout that it began, as far as it is known."""
    if form == "json":
        show_object(form, result)
        return
    for line in [*summarize(result), *(began_lines(began) if began else [])]:
        click.echo(line)
    for line in risk_lines(result):
        click.echo(line, err=True)
    for warning in result.get("warnings", ()):
        click.echo(f"Warning: {clean(warning)}", err=True)
    for line in cost_warnings(result.get("costs")):
        click.echo(line, err=True)
    if dry_run:
        click.echo("Nothing was changed: this was a dry run.", err=True)
    elif result.get("rollout"):
        click.echo(follow_line(result["rollout"]), err=True)
    elif result["groups"]:
        click.echo("See it arrive: popham get agents -w", err=True)


@click.command()
@files_option()
@AS_APPLY
def check(names: tuple[str, ...], *, force: bool) -> None:
    """Check definitions on this machine, asking no Manager.

    Every error is named with its file and line. What depends on objects that stand
    only in a Manager is checked by 'popham apply --dry-run'.
    """
    from popham.manager.rehearsal import rehearse
    from popham.model.definition import SourceFile, check

    files = read_definitions(names)
    found = check([SourceFile(name, text) for name, text in files], force=force)
    tests = rehearse(found)
    counts = [count(len(found.groups), "group"), count(len(found.policies), "policy", "policies")]
    if found.agents:
        counts.insert(0, count(len(found.agents), "agent definition"))
    if found.placements:
        counts.insert(0, count(len(found.placements), "placement"))
    click.echo(f"{', '.join(counts[:-1])} and {counts[-1]}: no errors")
    if tests.held:
        click.echo(f"{count(tests.held, 'test')} passed")
    if tests.waiting:
        waits = "waits" if tests.waiting == 1 else "wait"
        click.echo(f"{count(tests.waiting, 'test')} {waits} for a Manager: popham plan", err=True)


def _confirm_losses(planned: dict[str, Any], *, scripted: bool) -> None:
    """Return if nothing would be discarded or deleted, or the person agrees; raises as :func:`confirm`."""
    gone = [change for change in planned["changes"] if change["action"] == "deleted"]
    if gone:
        lines = [f"  {line.removesuffix(' deleted')}" for change in gone for line in _lines(change)]
        confirm("\n".join(["This will be deleted:", *lines]), "prune", yes=False)
    lost = [(change["name"], value) for change in planned["changes"] for value in change["discarded"]]
    if lost and not scripted:
        lines = [f"  group {clean(name)}: {clean(value)}" for name, value in lost]
        confirm("\n".join(["These own values will be discarded:", *lines]), "discard", yes=False)


def _lines(change: dict[str, Any]) -> list[str]:
    """Return what becomes of one object."""
    said = f"{clean(change['kind']).lower()} {clean(change['name'])} {clean(change['action'])}"
    if change["action"] == "deleted" and change["agents"]:
        said += f", {count(change['agents'], 'agent')}"
    return [said, *(f"  discards {clean(value)}" for value in change["discarded"])]


def _effect_lines(effect: dict[str, Any]) -> Iterator[str]:
    """Yield where in a group what changes; communication settings have a table of their own."""
    if effect.get("locations"):
        yield f"  locations {clean(effect['locations'])}"
    for place in effect.get("places", ()):
        if not place["policies"]:
            continue
        changed = ", ".join(
            f"{clean(one['type'])} {clean(one['before']) or 'none'} -> {clean(one['after']) or 'none'}"
            for one in place["policies"]
        )
        if not place["location"]:
            yield f"  {changed}"
            continue
        moves = f" -> {clean(place['moves_to'])}" if place["moves_to"] else ""
        yield f"  {clean(place['location'])}{moves}: {changed} ({count(place['agents'], 'agent')})"
    if effect.get("more"):
        yield f"  and {count(effect['more'], 'more place', 'more places')} with changes"


def risk_lines(result: dict[str, Any]) -> list[str]:
    """Return what should be looked at twice, each in a line."""
    return [f"Risk: {clean(risk['sentence'])}" for risk in result.get("risks", ())]


def summarize(result: dict[str, Any]) -> list[str]:
    """Return what became of each definition, then what it means for each group."""
    lines = []
    for change in result["changes"]:
        lines += _lines(change)
    for effect in result["groups"]:
        serials = f"serial {effect['before']} -> {effect['after']}"
        lines.append(f"{clean(effect['group'])}: {serials}, {count(effect['agents'], 'agent')}")
        lines += _effect_lines(effect)
    if result.get("reach") and not result.get("rollout") and len(result["groups"]) > 1:
        where = count(sum(1 for effect in result["groups"] if effect["agents"]), "group")
        lines.append(f"new content for {count(result['reach'], 'agent')} in {where}")
    return lines
