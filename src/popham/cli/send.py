"""``popham send``: bring what targets are to have to them, and see that each has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from popham.cli.apply import files_option, risk_lines, summarize
from popham.cli.files import read_definitions
from popham.cli.invocation import Invocation
from popham.cli.operation import check_watch, show_dry, show_placed
from popham.cli.reach import Seconds
from popham.cli.show import output_option
from popham.cli.targets import take_targets, target_options
from popham.cli.text import clean
from popham.model.operation import Kind

if TYPE_CHECKING:
    from popham.client import Client


@click.command()
@target_options
@files_option("Definitions to publish first; a file, a folder, or standard input.", required=False)
@click.option("--draft", default="", metavar="NAME", help="Publish this draft first.")
@click.option(
    "--no-apply",
    is_flag=True,
    help="Publish -f or --draft as a candidate that nobody uses before 'popham op apply': agents fetch, check and hold it.",
)
@click.option("-m", "--message", default="", help="Why, for the history and those who look at it.")
@click.option("--expires", type=Seconds(), metavar="1h", help="Nobody is waited for after that.")
@click.option("--dry-run", is_flag=True, help="List the targets and why each is one; change nothing.")
@click.option("-w", "--watch", "watched", is_flag=True, help="Go on until all targets are done.")
@click.option("--timeout", type=Seconds(), metavar="10m", help="With -w: end with 75 if it is not over then.")
@output_option("text", "json", "jsonl", default="text")
@click.pass_obj
def send(run: Invocation, /, form: str, *, watched: bool, timeout: float | None, **options: Any) -> int:
    """Bring to targets what they are to have, and follow each until it has it.

    Who holds a link is told at once; others get it by a visit, or with their next round, and the list says
    by when. Each target is pending, sent, applied or failed, with the reason. The exit code is 1 if one
    failed or is not known; the others are served.
    """
    targets = take_targets(options)
    names, draft, held = options["names"], options["draft"], options["no_apply"]
    if names and draft:
        raise click.UsageError("Name files with -f, or a draft with --draft")
    if held and not (names or draft):
        raise click.UsageError("--no-apply holds back what is published now: name -f or --draft")
    check_watch(form, timeout, watched=watched, dry_run=options["dry_run"])
    with run.client() as client:
        rollout = "" if not (names or draft) else _publish(client, options, everyone=targets["all"])
        args = {"no_apply": True, "rollout": rollout} if held else {}
        found = client.order(
            Kind.SEND,
            targets,
            args=args if not options["dry_run"] else {},
            **{key: options[key] for key in ("expires", "message", "dry_run")},
        )
        if options["dry_run"]:
            return show_dry(found, form)
        return show_placed(run, client, found, form, timeout, watched=watched)


def _publish(client: Client, options: dict[str, Any], *, everyone: bool) -> str:
    """Publish files or a draft; return the rollout that holds them back, if one does."""
    terms: dict[str, Any] = {"message": options["message"]}
    # Who named all agents as targets has agreed to reach all of them.
    terms["hold" if options["no_apply"] else "everyone"] = options["no_apply"] or everyone
    if options["names"]:
        files = read_definitions(options["names"])
        result = client.apply(files, dry_run=options["dry_run"], **terms)
    elif options["dry_run"]:
        result = client.plan_draft(options["draft"])["plan"]
    else:
        result = client.publish_draft(options["draft"], **terms)
    _tell(result)
    return str(result.get("rollout") or "")


def _tell(result: dict[str, Any]) -> None:
    for line in [*summarize(result), *risk_lines(result)]:
        click.echo(line, err=True)
    for warning in result.get("warnings", ()):
        click.echo(f"Warning: {clean(warning)}", err=True)
