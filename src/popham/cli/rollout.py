"""``popham rollout``: look at changes that go out in waves, and step in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from popham.cli.columns import ROLLOUTS, share_of, some, wave_of
from popham.cli.confirm import confirm
from popham.cli.invocation import Invocation
from popham.cli.reach import Seconds, take_waves, wave_options
from popham.cli.rollout_text import OVER, counts, status_lines, way_out
from popham.cli.show import Shown, output_option, show_list, show_object
from popham.cli.text import clean
from popham.errors import NotFoundError

if TYPE_CHECKING:
    from popham.client import Client

NAME = click.argument("name", metavar="ROLLOUT")
REASON = click.option("--reason", default="", help="Why, for those who look at it.")
YES = click.option("--yes", is_flag=True, help="Do not ask.")
NO_ROLLOUTS = "No rollouts yet. 'popham apply -f DIR --canary 1%' begins one."
NONE_OPEN = "No rollout is open. 'popham rollout list' shows all."


@click.group()
def rollout() -> None:
    """Follow changes that reach a few agents first, and step in."""


@rollout.command("list")
@click.option("--open", "open_only", is_flag=True, help="Only those that are not over.")
@output_option()
@click.pass_obj
def list_rollouts(run: Invocation, form: str, *, open_only: bool) -> None:
    """List rollouts, the newest first."""
    with run.client() as client:
        found = client.rollouts(open_only=open_only)
    show_list(form, ROLLOUTS, found)
    if not found:
        click.echo(NONE_OPEN if open_only else NO_ROLLOUTS, err=True)


@rollout.command()
@click.argument("name", metavar="[ROLLOUT]", required=False)
@click.option("-w", "--watch", "watched", is_flag=True, help="Go on until it is promoted, halted or undone.")
@click.option(
    "--timeout", type=Seconds(), metavar="10m", help="With -w: end with 75 if it is not over by then."
)
@output_option("text", "json", "jsonl", "yaml", default="text")
@click.pass_obj
def status(
    run: Invocation, name: str | None, form: str, timeout: float | None, *, watched: bool
) -> int | None:
    """Show one rollout.

    Its waves, how many agents have applied it, what went wrong, and who is waited for.

    Without a name it is the one that is open. With -w the exit code is 0 if it was promoted,
    1 if it was halted or undone, 75 if that took longer than --timeout.
    """
    if timeout is not None and not watched:
        raise click.UsageError("--timeout goes with -w")
    if watched and form not in {"text", "jsonl"}:
        raise click.UsageError("-w goes on: use -o text or jsonl")
    with run.client() as client:
        chosen = name or _only(client, form, watched=watched)
        if chosen is None:
            return None
        if watched:
            from popham.cli.following import follow
            from popham.cli.rollout_watch import followed

            return follow(
                followed(lambda: client.rollout(chosen)),
                form,
                draws=run.draws(),
                timeout=timeout,
                now=run.now,
                wait=run.wait,
            )
        found = client.rollout(chosen)
    if form != "text":
        show_object(form, found)
        return None
    for line in status_lines(found, now=run.now()):
        click.echo(line)
    return None


def _only(client: Client, form: str, *, watched: bool) -> str | None:
    """Return the name of the only rollout that is open; None if the list of them was shown instead.

    Raises:
        NotFoundError: There is none to go on with: 0 would say that it was promoted.
    """
    found = client.rollouts(open_only=True)
    if len(found) == 1:
        return str(found[0]["id"])
    if watched and found:
        names = ", ".join(clean(one["id"]) for one in found)
        raise click.UsageError(f"several rollouts are open, name one of them: {names}")
    if watched:
        raise NotFoundError("rollout", "no rollout is open", "'popham rollout list' shows all")
    show_list("table" if form == "text" else form, ROLLOUTS, found)
    if not found:
        click.echo(NONE_OPEN, err=True)
    return None


@rollout.command()
@NAME
@REASON
@click.pass_obj
def pause(run: Invocation, name: str, reason: str) -> None:
    """Keep a rollout as it is.

    Who has the new content keeps it, and nobody else gets it.
    """
    with run.client() as client:
        _said(client.steer_rollout(name, "pause", reason=reason))
    click.echo(f"Go on: popham rollout resume {clean(name)}", err=True)


@rollout.command()
@NAME
@wave_options
@click.pass_obj
def resume(run: Invocation, /, name: str, **options: Any) -> None:
    """Go on with a rollout.

    It was paused or halted; it goes on with the wave that held. One that is held begins its first wave:
    --canary says how wide that is.
    """
    waves = take_waves(options)
    with run.client() as client:
        _said(client.steer_rollout(name, "resume", rollout=waves))


@rollout.command()
@click.argument("name", metavar="[ROLLOUT]", required=False)
@click.option("--all", "every", is_flag=True, help="Halt every rollout that is running.")
@REASON
@click.pass_obj
def halt(run: Invocation, name: str | None, reason: str, *, every: bool) -> None:
    """Stop a rollout, or all of them.

    Nobody new begins, and who has the new content goes back to the old.
    """
    if bool(name) == every:
        raise click.UsageError("Name a rollout, or give --all")
    with run.client() as client:
        found = (
            [client.steer_rollout(name, "halt", reason=reason)]
            if name
            else client.halt_rollouts(reason=reason)
        )
    for one in found:
        _said(one)
    if not found:
        click.echo("No rollout was running.", err=True)
    elif len(found) == 1:
        click.echo(way_out(found[0]), err=True)


@rollout.command()
@NAME
@YES
@click.pass_obj
def promote(run: Invocation, name: str, *, yes: bool) -> None:
    """Give the new content to all agents now.

    It ends the rollout, without the waves that remain.
    """
    with run.client() as client:
        held = {} if yes else client.rollout(name)
        # What is refused anyway is not asked about.
        if held and held["state"] not in OVER:
            get = "The one agent gets" if held["agents"] == 1 else f"All {held['agents']} agents get"
            text = f"{get} {_changes(held)} now, without the waves that remain: {counts(held)}."
            confirm(text, held["id"], yes=False)
        _said(client.steer_rollout(name, "promote"))
    click.echo("See it arrive: popham get agents -w", err=True)


@rollout.command()
@NAME
@YES
@click.pass_obj
def undo(run: Invocation, name: str, *, yes: bool) -> None:
    """Make what held before hold again.

    It ends the rollout: for all agents, by new revisions. Refused if somebody has edited
    any of it since.
    """
    with run.client() as client:
        held = {} if yes else client.rollout(name)
        if held and held["state"] not in OVER:
            text = f"{_changes(held)} will be again as before rollout {clean(held['id'])}, for all agents."
            confirm(text, held["id"], yes=False)
        _said(client.steer_rollout(name, "undo"))
    click.echo("See it arrive: popham get agents -w", err=True)


def _changes(found: Shown) -> str:
    return clean(some(found["changes"], 5))


def _said(found: Shown) -> None:
    """Say what a rollout does now."""
    name, state = clean(found["id"]), clean(found["state"])
    if found["state"] in OVER:
        click.echo(f"rollout {name} {state}")
        return
    if state == "held":
        click.echo(f"rollout {name} held: {counts(found)}")
        return
    where = f"wave {wave_of(found)} ({share_of(found)})"
    click.echo(f"rollout {name} {state} in {where}: {counts(found)}")
