"""``popham draft``: definitions that people prepare on the Manager, and publish as one change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from popham.cli.apply import TAKE_OVER, files_option, risk_lines, show_applied, summarize
from popham.cli.columns import DRAFTS, count, moment
from popham.cli.confirm import confirm
from popham.cli.costs import cost_warnings
from popham.cli.files import read_definitions
from popham.cli.invocation import Invocation
from popham.cli.plan import DETAILED, DIFFERENCES, exit_status, next_step, plan_lines
from popham.cli.reach import look_at_begun, reach_options, take_reach
from popham.cli.show import FORMS, output_option, show_list, show_object
from popham.cli.text import clean, clean_lines

NO_DRAFTS = "No drafts. 'popham draft save NAME -f DIR' begins one."
SEEN = click.option(
    "--seen",
    type=click.IntRange(min=0),
    metavar="EDITION",
    help="The edition that you looked at; what came into the draft later is not touched.",
)
THEIRS = click.option(
    "--replace-theirs", "theirs", is_flag=True, help="Also what somebody else saved, without a look at it."
)


@click.group()
def draft() -> None:
    """Prepare definitions together on the Manager, and publish them as one change."""


@draft.command()
@click.argument("name")
@files_option()
@click.option("-m", "--message", default="", help="What the draft is for.")
@click.option("--replace", "only", is_flag=True, help="Make the draft exactly what is given.")
@SEEN
@THEIRS
@click.option("--force", is_flag=True, help="Take what is possible and unwise; the plan warns of it.")
@output_option("text", "json", default="text")
@click.pass_obj
def save(run: Invocation, /, name: str, names: tuple[str, ...], form: str, **terms: Any) -> None:
    """Put definitions into draft NAME, which begins by it if it is not there.

    A document replaces that of the same object. One that somebody else saved is replaced only
    with --seen, if that edition had it already, or with --replace-theirs.
    """
    files = read_definitions(names)
    with run.client() as client:
        found = client.save_draft(name, files, **terms)
    _tell(found, form)
    click.echo(f"No agent gets any of it before: popham draft publish {clean(found['name'])}", err=True)


@draft.command("list")
@output_option(*FORMS)
@click.pass_obj
def list_drafts(run: Invocation, form: str) -> None:
    """List drafts; 'popham get drafts' is the same."""
    with run.client() as client:
        items = client.drafts()
    show_list(form, DRAFTS, items)
    if not items:
        click.echo(NO_DRAFTS, err=True)


@draft.command()
@click.argument("name")
@output_option("text", "json", default="text")
@click.pass_obj
def show(run: Invocation, name: str, form: str) -> None:
    """Show the documents of draft NAME as YAML, who saved each and when.

    Secrets are shown to those only who may apply them.
    """
    with run.client() as client:
        found = client.draft(name)
    if form == "json":
        show_object(form, found)
        return
    said = f": {clean(found['message'])}" if found["message"] else ""
    click.echo(f"# draft {clean(found['name'])}, edition {found['edition']}{said}")
    for one in found["documents"]:
        click.echo(f"---\n# {_whose(one)}")
        # What goes into a file is applied again as it is; only a terminal needs protection.
        click.echo(clean_lines(one["text"]) if run.draws() else one["text"], nl=False)


@draft.command()
@click.argument("name")
@TAKE_OVER
@DIFFERENCES
@DETAILED
@output_option("text", "json", default="text")
@click.pass_obj
def plan(
    run: Invocation, /, name: str, form: str, *, take_over: bool, differences: bool, detailed_exitcode: bool
) -> int:
    """Show what publishing draft NAME would change, for whom, and what that costs, as 'popham plan' does."""
    with run.client() as client:
        found = client.plan_draft(name, take_over=take_over)
    result = found["plan"]
    status = exit_status(result, detailed=detailed_exitcode)
    if form == "json":
        show_object(form, found)
        return status
    for line in plan_lines(result, None, differences=differences):
        click.echo(line)
    _warn_moved(found["moved"])
    how = next_step(result, f"popham draft publish {clean(name)} --seen {found['edition']}")
    if found["moved"]:
        how = f"Publishing it waits for you: popham draft rebase {clean(name)}"
    click.echo(f"Nothing was changed. {how}", err=True)
    return status


@draft.command()
@click.argument("name")
@click.option("-m", "--message", default="", help="Why, for the history; else the draft and its authors.")
@TAKE_OVER
@reach_options
@click.option(
    "--seen",
    type=click.IntRange(min=0),
    metavar="EDITION",
    help="The edition that you planned; another one is not published.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_option("text", "json", default="text")
@click.pass_obj
def publish(run: Invocation, /, name: str, form: str, *, yes: bool, seen: int | None, **terms: Any) -> None:
    """Apply draft NAME as one change, one revision of each policy that it changes; the draft is gone then.

    It is refused if an object has changed since its document came into the draft: look at the
    plan, then 'popham draft rebase'. On a terminal what would change is listed first.
    """
    given: dict[str, Any] = {**take_reach(terms), **terms, "seen": seen}
    with run.client() as client:
        if run.asked() and not yes:
            asked = {key: value for key, value in given.items() if key not in {"message", "seen"}}
            planned = client.plan_draft(name, **asked)
            given |= {"base": planned["plan"]["base"], "seen": planned["edition"] if seen is None else seen}
            # What is refused anyway is not asked about.
            if not planned["moved"] and given["seen"] == planned["edition"]:
                _confirm(name, planned["plan"])
        result = client.publish_draft(name, **given)
        began = look_at_begun(client, result, run.wait) if form == "text" else None
    show_applied(result, form, began, dry_run=False)


@draft.command()
@click.argument("name")
@output_option("text", "json", default="text")
@click.pass_obj
def rebase(run: Invocation, name: str, form: str) -> None:
    """Let draft NAME rest on all objects as they are now, and say which had changed under it.

    Its documents stay as they are, so what others changed meanwhile is undone where they differ:
    look at 'popham draft plan NAME --diff' before and afterwards.
    """
    with run.client() as client:
        found = client.rebase_draft(name)
    if form == "json":
        show_object(form, found)
        return
    for about in found["moved"]:
        click.echo(f"{clean(about)} had changed")
    said = "rests on what is there now" if found["moved"] else "rests on what is there; nothing has changed"
    click.echo(f"draft {clean(name)}, edition {found['edition']}: {said}")


@draft.command()
@click.argument("name")
@click.argument("objects", metavar="DOCUMENT...", nargs=-1, required=True)
@SEEN
@THEIRS
@output_option("text", "json", default="text")
@click.pass_obj
def remove(run: Invocation, /, name: str, objects: tuple[str, ...], form: str, **terms: Any) -> None:
    """Take documents, such as policy/motd, out of draft NAME; without its last one the draft is gone."""
    with run.client() as client:
        found = client.remove_from_draft(name, objects, **terms)
    _tell(found, form)


@draft.command()
@click.argument("name")
@SEEN
@THEIRS
@click.option("--yes", is_flag=True, help="Do not ask; what somebody else saved needs --replace-theirs.")
@click.pass_obj
def discard(run: Invocation, /, name: str, *, seen: int | None, theirs: bool, yes: bool) -> None:
    """Forget draft NAME, once you have seen what is in it."""
    with run.client() as client:
        if not yes:
            found = client.draft(name)
            lines = [f"  {_whose(one)}" for one in found["documents"]]
            confirm("\n".join([f"Draft {clean(name)} will be forgotten:", *lines]), name, yes=False)
            seen = found["edition"] if seen is None else seen
        client.discard_draft(name, seen=seen, theirs=theirs)
    click.echo(f"draft {clean(name)} discarded")


def _tell(found: dict[str, Any], form: str) -> None:
    """Say what a call did with a draft."""
    if form == "json":
        show_object(form, found)
        return
    for change in found["changes"]:
        click.echo(f"{clean(change['document'])} {clean(change['action'])}")
    left = count(len(found["documents"]), "document")
    said = f", edition {found['edition']}: {left}" if found["documents"] else " has nothing left, and is gone"
    click.echo(f"draft {clean(found['name'])}{said}")
    _warn_moved([one["document"] for one in found["documents"] if one["moved"]])


def _whose(one: dict[str, Any]) -> str:
    moved = "; its object has changed since" if one["moved"] else ""
    return f"{clean(one['document'])}: saved by {clean(one['author'])} at {moment(one['at'])}{moved}"


def _warn_moved(moved: Iterable[str]) -> None:
    """Say what has changed under a draft."""
    for about in moved:
        click.echo(f"Warning: {clean(about)} has changed since it came into the draft", err=True)


def _confirm(name: str, planned: dict[str, Any]) -> None:
    """Return if the person agrees to what would be; raises as :func:`confirm`."""
    lines = [f"  {line}" for line in summarize(planned)]
    lines += [f"  {line}" for line in risk_lines(planned)]
    lines += [f"  Warning: {clean(warning)}" for warning in planned["warnings"]]
    lines += [f"  {line}" for line in cost_warnings(planned["costs"])]
    confirm("\n".join([f"Draft {clean(name)} will be published:", *lines]), name, yes=False)
