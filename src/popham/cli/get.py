"""``popham get``: lists, once or as they change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from popham.cli.alerts import alerts
from popham.cli.columns import (
    AGENT_DEFINITIONS,
    AGENTS,
    DRAFTS,
    GROUPS,
    PLACEMENTS,
    POLICIES,
    ROLLOUTS,
    TOKENS,
    count,
    some,
)
from popham.cli.data_columns import INTAKE
from popham.cli.draft import NO_DRAFTS
from popham.cli.invocation import Invocation
from popham.cli.lazy import NounGroup
from popham.cli.proxy_columns import PROXIES
from popham.cli.rollout import NO_ROLLOUTS
from popham.cli.show import Column, Shown, names, output_option, show_list, show_object
from popham.cli.summary import summary
from popham.cli.text import clean
from popham.cli.watch import watch
from popham.client import Client
from popham.errors import NotFoundError
from popham.model.names import nearest


@dataclass(frozen=True, slots=True)
class Noun:
    """A kind of object that can be listed.

    Attributes:
        columns: Of its table.
        every: Asks for all.
        one: Asks for one by name or id, with detail.
        empty: What to say where there is none.
    """

    columns: Sequence[Column]
    every: Callable[[Client], list[dict[str, Any]]]
    one: Callable[[Client, str], Shown]
    empty: str


def _find(kind: str, name: str, items: Sequence[Shown], key: str) -> Shown:
    """Return the one of ``items`` whose ``key`` is ``name``."""
    found = {item[key]: item for item in items}
    if name not in found:
        raise NotFoundError(kind, f"there is no {kind} {name!r}", nearest(name, found))
    return found[name]


def _one_token(client: Client, token: str) -> Shown:
    """Return one token; there are few, so the list serves."""
    return _find("token", token, client.tokens(), "id")


def _one_placement(client: Client, name: str) -> Shown:
    """Return one rule of placement; there are few, so the list serves."""
    return _find("placement", name, client.placements(), "name")


def _one_stream(client: Client, name: str) -> Shown:
    """Return the intake of one stream."""
    return _find("stream", name, client.intake(), "name")


def _agents(group: str | None, selector: str) -> Noun:
    if selector:
        empty = f"No agents with labels {selector}. 'popham get agents' shows all."
    elif group is None:
        empty = "No agents yet. Make a token with 'popham token create', then enroll a machine with it."
    else:
        empty = f"No agents in group {group}. 'popham get agents' shows all."
    return Noun(AGENTS, lambda client: client.agents(group=group, selector=selector), Client.agent, empty)


NO_GROUPS = "No groups. 'popham init' makes the root group; is this the right Manager?"
NO_POLICIES = "No policies yet. Write one and run 'popham apply -f FILE'."
NO_PLACEMENTS = "No placements: agents begin in the group of their token."
NO_AGENT_DEFINITIONS = (
    "No agent definitions: the Manager dials nobody. Apply one of 'kind: Agent', or import an agentlist.cfg."
)
NO_PROXIES = "No proxies. Apply a definition of 'kind: Proxy', then 'popham token create --proxy NAME'."
NO_TOKENS = "No tokens. 'popham token create' makes one."


NO_INTAKE = "No intake: this Manager serves no agents."


@click.group(cls=NounGroup)
def get() -> None:
    """List agents, groups, policies, drafts, rollouts, placements, agent definitions, proxies, tokens, alerts, the summary or the intake."""


get.add_command(alerts)
get.add_command(summary)


def _options(command: Callable[..., None]) -> Any:
    watched = click.option("-w", "--watch", "watched", is_flag=True, help="Go on, and print what changes.")
    return output_option()(watched(command))


@get.command()
@click.argument("name", required=False)
@click.option("-g", "--group", default=None, help="Only the agents of this group.")
@click.option("-l", "--selector", default="", help="Only agents with such labels: env=prod,role in (web,db).")
@_options
@click.pass_obj
def agents(
    run: Invocation, name: str | None, group: str | None, selector: str, form: str, *, watched: bool
) -> None:
    """List agents: who is in touch, and who has what it should have."""
    if name and (group or selector):
        raise click.UsageError("NAME excludes --group and --selector")
    _show(run, _agents(group, selector), name, form, watched=watched)


@get.command()
@click.argument("name", required=False)
@_options
@click.pass_obj
def groups(run: Invocation, name: str | None, form: str, *, watched: bool) -> None:
    """List groups."""
    _show(run, Noun(GROUPS, Client.groups, Client.group, NO_GROUPS), name, form, watched=watched)


@get.command()
@click.argument("name", required=False)
@_options
@click.pass_obj
def policies(run: Invocation, name: str | None, form: str, *, watched: bool) -> None:
    """List policies, and which groups assign them."""
    _show(run, Noun(POLICIES, Client.policies, Client.policy, NO_POLICIES), name, form, watched=watched)


@get.command()
@click.argument("name", required=False)
@_options
@click.pass_obj
def drafts(run: Invocation, name: str | None, form: str, *, watched: bool) -> None:
    """List drafts; 'popham draft show' shows what is in one."""
    _show(run, Noun(DRAFTS, Client.drafts, Client.draft, NO_DRAFTS), name, form, watched=watched)


@get.command()
@click.argument("name", required=False)
@_options
@click.pass_obj
def rollouts(run: Invocation, name: str | None, form: str, *, watched: bool) -> None:
    """List rollouts, the newest first; 'popham rollout status' shows one in full."""
    _show(run, Noun(ROLLOUTS, Client.rollouts, Client.rollout, NO_ROLLOUTS), name, form, watched=watched)


@get.command()
@click.argument("name", required=False)
@_options
@click.pass_obj
def placements(run: Invocation, name: str | None, form: str, *, watched: bool) -> None:
    """List the rules that say in which group agents begin, in the order in which they are asked."""
    _show(
        run, Noun(PLACEMENTS, Client.placements, _one_placement, NO_PLACEMENTS), name, form, watched=watched
    )


@get.command("agent-definitions")
@click.argument("name", required=False)
@_options
@click.pass_obj
def agent_definitions(run: Invocation, name: str | None, form: str, *, watched: bool) -> None:
    """List where agents are visited (short: ad); never their passwords."""
    noun = Noun(AGENT_DEFINITIONS, Client.agent_definitions, Client.agent_definition, NO_AGENT_DEFINITIONS)
    _show(run, noun, name, form, watched=watched)


@get.command()
@click.argument("name", required=False)
@_options
@click.pass_obj
def proxies(run: Invocation, name: str | None, form: str, *, watched: bool) -> None:
    """List Proxy Managers: whether they are there, whom they speak for, and what waits at them."""
    _show(run, Noun(PROXIES, Client.proxies, Client.proxy, NO_PROXIES), name, form, watched=watched)


@get.command()
@click.argument("name", required=False)
@_options
@click.pass_obj
def tokens(run: Invocation, name: str | None, form: str, *, watched: bool) -> None:
    """List the tokens by which agents join; never their secrets."""
    _show(run, Noun(TOKENS, Client.tokens, _one_token, NO_TOKENS), name, form, watched=watched)


@get.command()
@click.argument("name", required=False)
@_options
@click.pass_obj
def intake(run: Invocation, name: str | None, form: str, *, watched: bool) -> None:
    """Show what agents send, by stream: what is durable, waits, was refused, and is still to be derived from."""
    _show(run, Noun(INTAKE, Client.intake, _one_stream, NO_INTAKE), name, form, watched=watched)


def _show(run: Invocation, noun: Noun, name: str | None, form: str, *, watched: bool) -> None:
    with run.client() as client:

        def look() -> list[Shown]:
            return [noun.one(client, name)] if name else [*noun.every(client)]

        if watched:
            watch(look, noun.columns, form, wait=run.wait)
            return
        items = look()
    if name and form in {"json", "jsonl", "yaml"}:
        show_object(form, items[0])
        return
    show_list(form, noun.columns, items)
    if not items:
        click.echo(noun.empty, err=True)
    if noun.columns is AGENTS:
        _say_who_waits(items)
    if noun.columns is PROXIES:
        _say_which_waits(items)
    if noun.columns in {AGENTS, PROXIES}:
        _say_who_is_behind(items)


def _say_who_waits(items: Sequence[Shown]) -> None:
    waiting = names([item for item in items if item.get("admission") == "new"])
    if waiting:
        who = "1 agent waits" if len(waiting) == 1 else f"{len(waiting)} agents wait"
        which = waiting[0] if len(waiting) == 1 else "NAME"
        click.echo(f"{who} to be accepted: popham accept agent {which}", err=True)


def _say_which_waits(items: Sequence[Shown]) -> None:
    """Say which proxies wait to be accepted, and which are not in touch: what is shown below those is as old."""
    for name in names([item for item in items if item.get("state") == "new"]):
        click.echo(f"{clean(name)} waits to be accepted: popham accept agent {clean(name)}", err=True)
    for name in names([item for item in items if item.get("state") in {"overdue", "missing"}]):
        click.echo(f"{clean(name)} is not in touch: popham why agent {clean(name)}", err=True)


def _say_who_is_behind(items: Sequence[Shown]) -> None:
    behind = names([item for item in items if item.get("behind")])
    if behind:
        which = some(behind, 5)
        click.echo(f"{count(len(behind), 'machine')} below the Manager's version: {clean(which)}", err=True)
