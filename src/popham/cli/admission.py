"""``popham accept|refuse|revoke agent``: who belongs to the fleet."""

from __future__ import annotations

import click

from popham.cli.confirm import confirm
from popham.cli.invocation import Invocation
from popham.cli.lazy import NounGroup
from popham.cli.text import clean
from popham.client import Client


@click.group(cls=NounGroup)
def accept() -> None:
    """Accept agents into the fleet."""


@click.group(cls=NounGroup)
def refuse() -> None:
    """Refuse agents that wait to be accepted."""


@click.group(cls=NounGroup)
def revoke() -> None:
    """Take agents out of the fleet."""


@accept.command("agent")
@click.argument("names", metavar="X...", nargs=-1, required=True)
@click.pass_obj
def accept_agent(run: Invocation, names: tuple[str, ...]) -> None:
    """Accept agents, by name or uid: they receive their group's policies."""
    with run.client() as client:
        for name in names:
            _admit(client, name, "accept")


@refuse.command("agent")
@click.argument("names", metavar="X...", nargs=-1, required=True)
@click.pass_obj
def refuse_agent(run: Invocation, names: tuple[str, ...]) -> None:
    """Refuse agents, by name or uid: they receive nothing."""
    with run.client() as client:
        for name in names:
            _admit(client, name, "refuse")


@revoke.command("agent")
@click.argument("names", metavar="X...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def revoke_agent(run: Invocation, names: tuple[str, ...], *, yes: bool) -> None:
    """Revoke agents, by name or uid: nothing more is given to them.

    What is applied on the machines stays there. 'popham accept agent' takes them back.
    """
    for name in names:
        confirm(f"Agent {clean(name)} will be given nothing more, until it is accepted again.", name, yes=yes)
    with run.client() as client:
        for name in names:
            _admit(client, name, "revoke")


def _admit(client: Client, name: str, verb: str) -> None:
    found = client.admit(name, verb)
    click.echo(f"agent {clean(found['name'])} {clean(found['admission'])}")
