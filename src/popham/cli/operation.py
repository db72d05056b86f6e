"""``popham op``: one-shot orders to agents, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from popham.cli.exits import FAILED, OK
from popham.cli.following import Followed, follow
from popham.cli.invocation import Invocation
from popham.cli.operation_output import output
from popham.cli.operation_text import (
    BAD,
    GOOD,
    OPEN,
    OPERATIONS,
    SHOWN,
    TELLING,
    dry_lines,
    headline,
    page,
    reason,
    target_columns,
    told,
    went_wrong,
)
from popham.cli.reach import Seconds
from popham.cli.show import FORMS, Shown, output_option, show_list, show_object
from popham.cli.targets import take_targets, target_options
from popham.cli.text import clean
from popham.model.operation import Kind, OperationState

if TYPE_CHECKING:
    from popham.client import Client

NAME = click.argument("name", metavar="OPERATION")
_AGENTS = click.argument("agents", metavar="[AGENT]...", nargs=-1)
_STATES = tuple(str(state) for state in OperationState)
_WIDE = frozenset({Kind.RESTART, Kind.ROTATE_KEY})
"""Kinds that need a yes of many agents, beside ``run`` and ``apply``."""
_LOOKS = (0.1, 0.2, 0.3, 0.4)
"""Seconds between looks at what has just been ordered, before the prompt comes back."""
_SENTENCES: Mapping[Kind, str] = {
    Kind.CHECK_IN: "Have agents get in touch now.",
    Kind.APPLY: "Have agents use the candidate they hold.",
    Kind.COLLECT: "Have agents look anew at what they report.",
    Kind.RESTART: "Have agents end, and begin anew.",
    Kind.DIAGNOSE: "Have agents make a bundle for support.",
    Kind.PAUSE_COLLECTION: "Have agents collect nothing for now.",
    Kind.RESUME_COLLECTION: "Have agents collect again.",
    Kind.ROTATE_KEY: "Have agents make a new identity key.",
    Kind.RUN: "Have agents run a command of theirs.",
}


@click.group()
def op() -> None:
    """Order something of agents once, and see what came of it.

    An order expires: after 10 minutes, or three heartbeats of its agent where that is longer. An agent
    in pull hears of it with its next round; the list says by when that is.
    """


def order_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what every order takes."""
    for option in (
        output_option("text", "json", "jsonl", default="text"),
        click.option(
            "--timeout", type=Seconds(), metavar="10m", help="With -w: end with 75 if it is not over then."
        ),
        click.option("-w", "--watch", "watched", is_flag=True, help="Go on until all targets are done."),
        click.option("--dry-run", is_flag=True, help="List the targets and why each is one; order nothing."),
        click.option("-m", "--message", default="", help="Why, for those who look at it."),
        click.option("--expires", type=Seconds(), metavar="1h", help="Nobody begins it after that."),
        target_options,
    ):
        command = option(command)
    return command


_YES = click.option(
    "--yes", is_flag=True, help="It is meant for all targets, however many; above 100 the Manager asks."
)


def _add(kind: Kind) -> None:
    @click.command(str(kind), help=_SENTENCES[kind])
    @_AGENTS
    @order_options
    @click.pass_obj
    def command(run: Invocation, /, agents: tuple[str, ...], **options: Any) -> int:
        return place(run, kind, {}, options, agents)

    op.add_command(_YES(command) if kind in _WIDE else command)


for _kind in _SENTENCES:
    if _kind not in {Kind.RUN, Kind.APPLY}:
        _add(_kind)


@op.command("run", help=_SENTENCES[Kind.RUN])
@click.argument("command", metavar="NAME")
@_AGENTS
@order_options
@_YES
@click.pass_obj
def run_command(run: Invocation, /, command: str, agents: tuple[str, ...], **options: Any) -> int:
    """Order a command by the name that it has in the agents' own configuration."""
    return place(run, Kind.RUN, {"name": command}, options, agents)


@op.command("apply", help=_SENTENCES[Kind.APPLY])
@_AGENTS
@click.option("--rollout", default="", help="The candidate of this rollout; not needed where there is one.")
@order_options
@_YES
@click.pass_obj
def apply_candidate(run: Invocation, /, agents: tuple[str, ...], rollout: str, **options: Any) -> int:
    """Order the use of a candidate that 'popham send --no-apply' published."""
    return place(run, Kind.APPLY, {"rollout": rollout} if rollout else {}, options, agents)


def place(
    run: Invocation,
    kind: Kind,
    args: Mapping[str, Any],
    options: dict[str, Any],
    agents: tuple[str, ...] = (),
) -> int:
    """Order something as the options of :func:`order_options` say; return the exit code.

    It is 1 where a target is not known, or failed at once; with ``-w`` where one did not succeed.
    """
    targets = take_targets(options, agents)
    form, watched, timeout = options.pop("form"), options.pop("watched"), options.pop("timeout")
    check_watch(form, timeout, watched=watched, dry_run=options["dry_run"])
    with run.client() as client:
        found = client.order(str(kind), targets, args=args, **options)
        if options["dry_run"]:
            return show_dry(found, form)
        return show_placed(run, client, found, form, timeout, watched=watched)


def show_placed(
    run: Invocation, client: Client, found: Shown, form: str, timeout: float | None, *, watched: bool
) -> int:
    """Show what has just been ordered, and follow it if that is wanted; return the exit code."""
    tell_unknown(found)
    if watched:
        return watch(run, client, found["name"], form, timeout)
    return show_ordered(run, client, found, form)


def check_watch(form: str, timeout: float | None, *, watched: bool, dry_run: bool = False) -> None:
    """Refuse options that contradict each other; raises click.UsageError."""
    if timeout is not None and not watched:
        raise click.UsageError("--timeout goes with -w")
    if watched and dry_run:
        raise click.UsageError("--dry-run orders nothing that could be watched")
    if watched and form not in {"text", "jsonl"}:
        raise click.UsageError("-w goes on: use -o text or jsonl")


def show_dry(found: Shown, form: str) -> int:
    """Show the targets that something would be ordered of."""
    if form != "text":
        show_object(form, found)
    else:
        for line in dry_lines(found):
            click.echo(line)
        tell_unknown(found)
        for warning in found["warnings"]:
            click.echo(f"Warning: {clean(warning)}", err=True)
        if not found["targets"]:
            click.echo("No agents are meant; 'popham get agents' shows all", err=True)
        click.echo("Nothing was ordered: this was a dry run.", err=True)
    refused = any(one["refusal"] for one in found["targets"])
    amiss = found["unknown"] or found["ambiguous"] or refused
    return FAILED if amiss or not found["targets"] else OK


def tell_unknown(found: Shown) -> None:
    """Say which names no agent has, or several have; the others are served."""
    for name in found["unknown"]:
        click.echo(f"Warning: there is no agent {clean(name)}; 'popham get agents' shows all", err=True)
    for name in found["ambiguous"]:
        click.echo(f"Warning: several agents have the name {clean(name)}; use a uid", err=True)


def show_ordered(run: Invocation, client: Client, found: Shown, form: str) -> int:
    """Show what was ordered, and what came of it at once: who holds a link answers in a moment."""
    for pause in _LOOKS:
        if found["state"] != "open":
            break
        run.wait(pause)
        found = client.operation(found["name"])
    if form != "text":
        show_object(form, found)
    else:
        click.echo(headline(found))
        if found["state"] != "open":
            _tell_good(client, found)
        if any(found["counts"].get(state) for state in BAD):
            _tell_bad(client, found["name"])
        if found["state"] == "open":
            click.echo(f"Follow it: popham op status {clean(found['name'])} -w", err=True)
    return FAILED if went_wrong(found) or not found["targets"] else OK


def watch(run: Invocation, client: Client, name: str, form: str, timeout: float | None) -> int:
    """Show an operation until all its targets are done; return the exit code."""
    drawn: list[str] = []

    def look() -> Shown:
        found = client.operation(name)
        if form == "text" and run.draws():
            # All that is drawn is asked for here: a Manager that goes away meanwhile is waited for.
            drawn[:] = _page(client, found)
        return found

    def end(found: Shown) -> int:
        if form == "text" and not run.draws():
            _tell_good(client, found)
        if not went_wrong(found):
            return OK
        if not run.draws():
            _tell_bad(client, name)
        return FAILED

    what = Followed(
        look=look,
        page=lambda _found, _now: drawn,
        headline=headline,
        is_over=lambda found: found["state"] != "open",
        end=end,
    )
    return follow(what, form, draws=run.draws(), timeout=timeout, now=run.now, wait=run.wait)


def _page(client: Client, found: Shown) -> list[str]:
    name = found["name"]
    return page(found, _first(client, name, BAD), _first(client, name, OPEN), _told(client, found))


def _told(client: Client, found: Shown) -> list[dict[str, Any]]:
    """Return the first targets that succeeded, of an operation of which people want to see what came of it."""
    if found["kind"] not in TELLING or not found["counts"].get(GOOD):
        return []
    return _first(client, found["name"], (GOOD,))


def _tell_good(client: Client, found: Shown) -> None:
    for one in _told(client, found):
        click.echo(f"  {clean(one['name'] or one['uid'])}: {clean(told(one))}")


def _tell_bad(client: Client, name: str) -> None:
    for one in _first(client, name, BAD):
        click.echo(f"  {clean(one['name'] or one['uid'])}: {clean(reason(one))}", err=True)


def _first(client: Client, name: str, states: tuple[str, ...]) -> list[dict[str, Any]]:
    return list(client.targets(name, states=states, limit=SHOWN))


@op.command("list")
@click.option(
    "--kind", type=click.Choice([str(kind) for kind in Kind if kind is not Kind.CANCEL]), default=None
)
@click.option("--author", default="", help="Ordered by this one.")
@click.option("--agent", default="", help="Ordered of this agent.")
@click.option("--open", "open_only", is_flag=True, help="Only those that are not over.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The newest so many."
)
@output_option()
@click.pass_obj
def list_operations(
    run: Invocation, form: str, kind: str | None, author: str, agent: str, limit: int, *, open_only: bool
) -> None:
    """List operations, the newest first."""
    with run.client() as client:
        found = client.operations(
            kind=kind or "", author=author, agent=agent, open_only=open_only, limit=limit
        )
    show_list(form, OPERATIONS, found)
    if not found:
        click.echo("No operations. 'popham op check-in AGENT' orders one.", err=True)


@op.command()
@NAME
@click.option("-w", "--watch", "watched", is_flag=True, help="Go on until all targets are done.")
@click.option("--timeout", type=Seconds(), metavar="10m", help="With -w: end with 75 if it is not over then.")
@click.option("--targets", "listed", is_flag=True, help="List the targets.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(_STATES),
    help="With --targets: only in these states.",
)
@output_option("text", *FORMS, default="text")
@click.pass_obj
def status(
    run: Invocation,
    name: str,
    form: str,
    timeout: float | None,
    states: tuple[str, ...],
    *,
    watched: bool,
    listed: bool,
) -> int:
    """Show one operation: how far it is, what went wrong, and who is waited for.

    The exit code is 1 if a target did not succeed.
    """
    check_watch(form, timeout, watched=watched)
    if states and not listed:
        raise click.UsageError("--state goes with --targets")
    if form in {"table", "wide", "name"} and not listed:
        raise click.UsageError(f"-o {form} is for --targets")
    with run.client() as client:
        if watched:
            return watch(run, client, name, form, timeout)
        found = client.operation(name)
        if listed:
            show_list(
                "table" if form == "text" else form,
                target_columns(found),
                list(client.targets(name, states=states)),
            )
        elif form != "text":
            show_object(form, found)
        else:
            for line in _page(client, found):
                click.echo(line)
    return FAILED if went_wrong(found) else OK


@op.command()
@NAME
@click.pass_obj
def cancel(run: Invocation, name: str) -> None:
    """Cancel an operation wherever it is not done.

    Who has begun it says what came of it; a command that runs is ended.
    """
    with run.client() as client:
        found = client.cancel_operation(name)
    click.echo(headline(found))


@op.command()
@NAME
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(BAD),
    help="Only of targets in these states; else of those that failed, expired or are unknown.",
)
@click.pass_obj
def retry(run: Invocation, name: str, states: tuple[str, ...]) -> int:
    """Order the same again of those that did not succeed, as a new operation."""
    with run.client() as client:
        found = client.retry_operation(name, states=states)
        return show_ordered(run, client, found, "text")


op.add_command(output)
