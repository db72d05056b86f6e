"""``popham history`` and ``popham rollback``: the revisions of a policy, and the way back to one."""

from __future__ import annotations

from typing import Any

import click

from popham.cli.columns import NOTHING, field, moment, number
from popham.cli.invocation import Invocation
from popham.cli.lazy import NounGroup
from popham.cli.reach import began_lines, follow_line, look_at_begun, reach_options, take_reach
from popham.cli.show import Column, Shown, output_option, show_list
from popham.cli.text import clean

_GROUPS_SHOWN = 4


def _groups(item: Shown) -> str:
    """Return the groups that have a revision, and how many agents these have."""
    names = item["groups"]
    more = f" and {len(names) - _GROUPS_SHOWN} more" if len(names) > _GROUPS_SHOWN else ""
    return f"{','.join(names[:_GROUPS_SHOWN])}{more} ({item['agents']})" if names else NOTHING


_COLUMNS = (
    Column("REVISION", number("revision")),
    Column("WHEN", lambda item: moment(item["at"])),
    Column("AUTHOR", field("author")),
    Column("GROUPS (AGENTS)", _groups),
    Column("DIGEST", lambda item: str(item["sha256"])[:12]),
    Column("MESSAGE", field("message")),
)


@click.group(cls=NounGroup)
def history() -> None:
    """Show who changed a policy, when and why."""


@history.command("policy")
@click.argument("name", metavar="X")
@output_option("table", "json", "jsonl", "yaml")
@click.pass_obj
def history_policy(run: Invocation, name: str, form: str) -> None:
    """Show all revisions of policy X, the newest first, and which groups have which now.

    Revisions of a policy that was deleted are still there.
    """
    with run.client() as client:
        found = client.history(name)
    show_list(form, _COLUMNS, found)


@click.group(cls=NounGroup)
def rollback() -> None:
    """Go back to an old revision of a policy, by a new one."""


@rollback.command("policy")
@click.argument("name", metavar="X")
@click.option(
    "--to", "revision", required=True, type=click.IntRange(min=1), metavar="N", help="The old revision."
)
@click.option("-m", "--message", default="", help="Why, for the history.")
@click.option("--take-over", is_flag=True, help="Also if it is managed elsewhere; it is not from then on.")
@reach_options
@click.pass_obj
def rollback_policy(
    run: Invocation, /, name: str, revision: int, message: str, *, take_over: bool, **reach: Any
) -> None:
    """Make a new revision of policy X with the content of revision N; serials rise, nothing is forgotten.

    Where that gives other content to many agents it needs --all, or --canary for a rollout that reaches a few first.
    """
    given = take_reach(reach)
    with run.client() as client:
        before = client.policy(name)["revision"]
        found = client.roll_back(name, revision, message=message, take_over=take_over, **given)
        began = look_at_begun(client, found, run.wait)
    if found["revision"] == before:
        click.echo(f"policy {clean(name)} unchanged: revision {before} has the content of {revision}")
        return
    click.echo(f"policy {clean(name)}: revision {found['revision']} has the content of revision {revision}")
    for line in began_lines(began) if began else ():
        click.echo(line)
    rollout = found.get("rollout")
    click.echo(follow_line(rollout) if rollout else "See it arrive: popham get agents -w", err=True)
