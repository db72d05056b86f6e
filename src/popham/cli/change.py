"""``popham copy`` and ``popham delete``: changes that no definition file says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from popham.cli.confirm import confirm
from popham.cli.invocation import Invocation
from popham.cli.lazy import NounGroup
from popham.cli.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from popham.client import Client


@click.group(cls=NounGroup)
def copy() -> None:
    """Copy a policy under a new name."""


@copy.command("policy")
@click.argument("source", metavar="A")
@click.argument("target", metavar="B")
@click.pass_obj
def copy_policy(run: Invocation, source: str, target: str) -> None:
    """Make a policy B with the content of policy A; no group assigns it yet."""
    with run.client() as client:
        made = client.copy_policy(source, target)
    click.echo(f"policy {clean(made['name'])} created")


@click.group(cls=NounGroup)
def delete() -> None:
    """Delete a policy or a group that nothing uses, a placement, an agent definition, or a proxy."""


@delete.command("policy")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete_policy(run: Invocation, name: str, *, yes: bool) -> None:
    """Delete a policy that no group assigns."""
    _delete(run, "policy", name, lambda client: client.delete_policy(name), yes=yes)


@delete.command("group")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete_group(run: Invocation, name: str, *, yes: bool) -> None:
    """Delete a group that has no children and no agents."""
    _delete(run, "group", name, lambda client: client.delete_group(name), yes=yes)


@delete.command("placement")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete_placement(run: Invocation, name: str, *, yes: bool) -> None:
    """Delete a rule of placement; agents stay where they are."""
    _delete(run, "placement", name, lambda client: client.delete_placement(name), yes=yes)


@delete.command("agent-definition")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete_agent_definition(run: Invocation, name: str, *, yes: bool) -> None:
    """Delete where an agent is visited (short: ad); the agent stays."""
    _delete(run, "agent definition", name, lambda client: client.delete_agent_definition(name), yes=yes)


@delete.command("proxy")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete_proxy(run: Invocation, name: str, *, yes: bool) -> None:
    """Delete the definition of a Proxy Manager; its agent stays, and speaks for nobody any more."""
    _delete(run, "proxy", name, lambda client: client.delete_proxy(name), yes=yes)


def _delete(run: Invocation, kind: str, name: str, ask: Callable[[Client], None], *, yes: bool) -> None:
    """Delete one object once the person agrees, and say so; ``ask`` asks the Manager for it."""
    confirm(f"{kind.capitalize()} {clean(name)} will be deleted.", name, yes=yes)
    with run.client() as client:
        ask(client)
    click.echo(f"{kind} {clean(name)} deleted")
