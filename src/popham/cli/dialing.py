"""``popham dial``: who opens the connections of one agent."""

from __future__ import annotations

import click

from popham.cli.invocation import Invocation
from popham.cli.text import clean


@click.command()
@click.argument("name", metavar="AGENT")
@click.option(
    "--by",
    type=click.Choice(["manager", "agent", "group"]),
    required=True,
    help="Who is to dial; 'group' for what its group's settings say.",
)
@click.option("--may-dial", is_flag=True, help="Let it dial although it was born by a visit; not taken back.")
@click.pass_obj
def dial(run: Invocation, name: str, by: str, *, may_dial: bool) -> None:
    """Say who dials one agent, whatever its group's settings say.

    AGENT is a name or a uid. The old way stays until a round came by the new one: no restart, no gap.
    """
    with run.client() as client:
        found = client.dial(name, by, may_dial=may_dial)
    shown = clean(found["name"])
    says = {
        "manager": "the Manager dials it",
        "agent": "it dials",
        "group": "its group's settings say who dials",
    }
    click.echo(f"agent {shown}: {says[by]}")
    detail = found.get("detail") or {}
    if by == "manager" and not detail.get("visited_at"):
        click.echo(
            f"No definition says where it is visited, so it is reached as before. "
            f"Apply one: kind: Agent, metadata.name: {shown}, spec.address",
            err=True,
        )
    else:
        click.echo(f"See it change over: popham why agent {shown}", err=True)
