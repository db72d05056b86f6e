"""``popham token``: what machines join with."""

from __future__ import annotations

from typing import Any

import click

from popham.cli.columns import moment
from popham.cli.invocation import Invocation
from popham.cli.show import output_option, show_object
from popham.cli.text import clean
from popham.model.communication import parse_duration
from popham.model.names import ROOT_GROUP


@click.group()
def token() -> None:
    """Make and revoke the tokens by which agents join."""


@token.command()
@click.option("-g", "--group", default=ROOT_GROUP, show_default=True, help="Group that agents join.")
@click.option(
    "--uses",
    type=click.IntRange(min=1),
    default=None,
    help="How many may join: 1, or any number with --stock.",
)
@click.option("--expires", default=None, help="How long it lives: 1h, or 30d with --stock.")
@click.option("--accept", "accepts", is_flag=True, help="Accept who joins at once, without a person's look.")
@click.option("--cidr", default="", help="Only from these addresses, separated by commas.")
@click.option("--stock", is_flag=True, help="A bearer token for OpenTelemetry agents that are not ours.")
@output_option("text", "json", default="text")
@click.pass_obj
def create(run: Invocation, /, expires: str | None, form: str, *, stock: bool, **choices: Any) -> None:
    """Make a token and print it; it cannot be shown again."""
    lifetime = parse_duration(expires, "--expires") if expires else None
    fields = {**choices, "kind": "stock" if stock else "enrollment", "lifetime": lifetime}
    with run.client() as client:
        made = client.create_token(**fields)
    if form == "json":
        show_object(form, made)
        return
    _explain(made["token"])
    click.echo(clean(made["secret"]))


@token.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def revoke(run: Invocation, ids: tuple[str, ...]) -> None:
    """Make tokens useless; agents that joined by them stay."""
    with run.client() as client:
        for name in ids:
            client.revoke_token(name)
            click.echo(f"token {clean(name)} revoked")


def _explain(made: dict[str, Any]) -> None:
    left = made["uses_left"]
    how_many = "any number of agents" if left < 0 else "1 agent" if left == 1 else f"{left} agents"
    what = "Bearer token for stock agents" if made["kind"] == "stock" else "Join string"
    then = "accepted at once" if made["accepts"] else "waiting to be accepted"
    click.echo(
        f"{what} {clean(made['id'])}: {how_many} into group {clean(made['group'])}, {then}, "
        f"until {moment(made['expires'])}. It is shown this once.",
        err=True,
    )
    if made["kind"] == "stock":
        click.echo("Send it as the header 'Authorization: Bearer TOKEN'.", err=True)
    else:
        click.echo("On the machine: popham agent enroll JOIN", err=True)
