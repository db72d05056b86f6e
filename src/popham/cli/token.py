"""``popham token``: what machines join with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from popham.cli.columns import moment
from popham.cli.invocation import Invocation
from popham.cli.show import output_option, show_object
from popham.cli.text import clean
from popham.errors import DefinitionError
from popham.model.communication import parse_duration
from popham.model.names import ROOT_GROUP
from popham.trust.join import JoinString


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
@click.option(
    "--proxy", default="", metavar="NAME", help="For the Proxy Manager of this definition; serves once."
)
@click.option(
    "--via",
    multiple=True,
    metavar="NAME",
    help="Proxy Manager that they dial, not the Manager; repeat it for more than one.",
)
@click.option("--stock", is_flag=True, help="A bearer token for OpenTelemetry agents that are not ours.")
@output_option("text", "json", default="text")
@click.pass_obj
def create(
    run: Invocation,
    /,
    expires: str | None,
    form: str,
    *,
    proxy: str,
    via: tuple[str, ...],
    stock: bool,
    **choices: Any,
) -> None:
    """Make a token and print it; it cannot be shown again."""
    if proxy and stock:
        raise click.UsageError("--proxy excludes --stock: a Proxy Manager has a key of its own")
    if via and stock:
        raise click.UsageError("--via excludes --stock: whoever sets up that agent names its endpoint")
    kind = "proxy" if proxy else "stock" if stock else "enrollment"
    lifetime = parse_duration(expires, "--expires") if expires else None
    fields = {**choices, "kind": kind, "lifetime": lifetime} | ({"proxy": proxy} if proxy else {})
    with run.client() as client:
        urls = [url for name in via for url in _urls(client.proxy(name))]
        made = client.create_token(**fields)
    if urls:
        made["secret"] = replace(JoinString.parse(made["secret"]), urls=tuple(urls)).encode()
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


def _urls(proxy: dict[str, Any]) -> list[str]:
    """Return where a Proxy Manager is dialled. Raises DefinitionError: its definition names nothing."""
    if not proxy["names"]:
        problem = f"nobody can dial the Proxy Manager {proxy['name']}: its definition has no names"
        raise DefinitionError("names", problem, "Add the host name or address that agents dial to spec.names")
    hosts = [f"[{name}]" if ":" in name else name for name in proxy["names"]]
    return [f"https://{host}:{proxy['port']}" for host in hosts]


def _explain(made: dict[str, Any]) -> None:
    left = made["uses_left"]
    how_many = "any number of agents" if left < 0 else "1 agent" if left == 1 else f"{left} agents"
    if made["kind"] == "proxy":
        how_many = f"for the Proxy Manager {clean(made['proxy'])},"
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
        word = "proxy" if made["kind"] == "proxy" else "agent"
        click.echo(f"On the machine: popham {word} enroll JOIN", err=True)
