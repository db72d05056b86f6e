"""``popham grant``: who may use the Manager, and what they may order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from popham.cli.columns import field, moment, some
from popham.cli.invocation import Invocation
from popham.cli.reach import Seconds
from popham.cli.show import Column, Shown, output_option, show_list, show_object
from popham.cli.text import clean

_SHOWN = 5
"""Groups or kinds that a table names."""


def _limits(key: str, every: str) -> Column:
    def cell(item: Shown) -> str:
        if item["role"] != "operator":
            return "-"
        return some(item[key], _SHOWN) if item[key] else every

    return Column(key.upper(), cell)


COLUMNS: Sequence[Column] = (
    Column("ID", field("id")),
    Column("NAME", field("name")),
    Column("ROLE", field("role")),
    Column("STATE", field("state")),
    _limits("groups", "all"),
    _limits("operations", "all"),
    Column("EXPIRES", lambda item: moment(item["expires"])),
    Column("CREATED", lambda item: moment(item["created"]), wide=True),
)


@click.group()
def grant() -> None:
    """Make, list and revoke the API tokens of people and programs.

    A viewer may look; an operator may also order operations and ask for rounds; an admin may change all.
    """


@grant.command()
@click.argument("name")
@click.option("--role", required=True, help="viewer, operator or admin.")
@click.option(
    "-g", "--group", "groups", multiple=True, help="Limit an operator to a group and all below it; repeat it."
)
@click.option(
    "--operation",
    "operations",
    multiple=True,
    help="Limit an operator to a kind, such as restart; repeat it.",
)
@click.option("--lifetime", type=Seconds(), metavar="90d", help="How long it lives: 90 days, at most a year.")
@output_option("text", "json", default="text")
@click.pass_obj
def create(run: Invocation, /, name: str, form: str, **terms: Any) -> None:
    """Make an API token for NAME and print it; it cannot be shown again."""
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in terms.items()}
    with run.client() as client:
        made = client.create_grant(name=name, **fields)
    if form == "json":
        show_object(form, made)
        return
    _explain(made["grant"])
    click.echo(clean(made["secret"]))


@grant.command("list")
@output_option("table", "wide", "json", "jsonl", "yaml")
@click.pass_obj
def list_grants(run: Invocation, form: str) -> None:
    """List API tokens, the newest first; never their secrets."""
    with run.client() as client:
        show_list(form, COLUMNS, client.grants())


@grant.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def revoke(run: Invocation, ids: tuple[str, ...]) -> None:
    """Make API tokens useless, at once."""
    with run.client() as client:
        for token in ids:
            client.revoke_grant(token)
            click.echo(f"API token {clean(token)} revoked")


def _explain(made: Shown) -> None:
    limits = ""
    if made["groups"]:
        limits += f", in {some(made['groups'], _SHOWN)} and below"
    if made["operations"]:
        limits += f", for {some(made['operations'], _SHOWN)} only"
    text = (
        f"API token {made['id']} of {made['name']}: {made['role']}{limits}, until {moment(made['expires'])}."
    )
    click.echo(f"{clean(text)} It is shown this once.", err=True)
    click.echo("Its owner sets POPHAM_TOKEN to it, or puts it into a context.", err=True)
