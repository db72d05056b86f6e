"""``popham explain agent`` and ``popham why agent``: where values come from, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

import click

from popham.cli.columns import NOTHING, field, moment
from popham.cli.invocation import Invocation
from popham.cli.lazy import NounGroup
from popham.cli.show import Column, output_option, show_list, show_object
from popham.cli.text import clean

EXPLAINED: Sequence[Column] = (
    Column("SETTING", field("setting")),
    Column("VALUE", field("value")),
    Column("FROM", lambda item: f"{item['group']}/{item['location']}" if item["location"] else item["group"]),
    Column("INHERITED", lambda item: "yes" if item["inherited"] else "no"),
    Column("OVERRIDES", field("overrides")),
    Column("NOTE", field("note"), wide=True),
)
STEPS: Sequence[Column] = (
    Column("GROUP", field("group")),
    Column("SAYS", lambda item: "inherits" if item["inherits"] else item["value"] or NOTHING),
    Column("", lambda item: "holds" if item["holds"] else ""),
)


@click.group(cls=NounGroup)
def explain() -> None:
    """Say where the values of an agent come from."""


@explain.command("agent")
@click.argument("name", metavar="X")
@click.argument("setting", default="", required=False)
@click.option("--location", default="", help="As if it were there; where it is by default.")
@output_option("table", "wide", "json", "yaml", default="table")
@click.pass_obj
def explain_agent(run: Invocation, name: str, setting: str, location: str, form: str) -> None:
    """Say each value that is to hold for an agent, the group or location it comes from, and what it hides.

    With SETTING (a policy type, heartbeat, locations, ...) also what each group above says.
    """
    with run.client() as client:
        found = client.explain(name, setting=setting, location=location)
    if form in {"json", "yaml"}:
        show_object(form, found)
        return
    because = f" because {clean(', '.join(found['rules']))}" if found["rules"] else ""
    click.echo(
        f"agent {clean(found['name'])}, group {clean(found['group'])}, location {clean(found['location'])}{because}\n"
    )
    show_list(form, EXPLAINED, found["items"])
    if found["steps"]:
        click.echo("")
        show_list("table", STEPS, found["steps"])


@click.group(cls=NounGroup)
def why() -> None:
    """Say why an agent is where it is, and what to do next."""


@why.command("agent")
@click.argument("name", metavar="X")
@output_option("text", "json", "yaml", default="text")
@click.pass_obj
def why_agent(run: Invocation, name: str, form: str) -> None:
    """Say in one sentence why an agent has, or has not, what it should have, and the next step."""
    with run.client() as client:
        found = client.why(name)
    if form != "text":
        show_object(form, found)
        return
    sentence, here = clean(found["sentence"]).rstrip("."), clean(found["here"])
    # What an agent says of an error ends with a hint, to which this does not belong.
    apart = ". " in sentence
    click.echo(f"{clean(found['name'])}: {sentence}{'' if apart or not here else f'; {here}'}.")
    click.echo(f"presence: {found['presence']}, link: {found['link']}, sync: {found['sync']}")
    if here and apart:
        click.echo(f"location: {here.removeprefix('in location ')}")
    if found.get("since"):
        click.echo(f"since: {moment(found['since'])}")
    if found["step"]:
        click.echo(f"next: {clean(found['step'])}")
