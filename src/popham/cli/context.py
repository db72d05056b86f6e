"""``popham context``: which Manager commands talk to."""

from __future__ import annotations

import click

from popham.cli.contexts import Contexts
from popham.cli.invocation import Invocation
from popham.cli.show import Column, output_option, show_list, show_object
from popham.cli.text import clean

COLUMNS = (
    Column("CURRENT", lambda item: "*" if item["current"] else ""),
    Column("NAME", lambda item: item["name"]),
    Column("URL", lambda item: item["url"]),
)


@click.group()
def context() -> None:
    """Choose which Manager commands talk to."""


@context.command("list")
@output_option("table", "json", "jsonl", "yaml", "name")
@click.pass_obj
def list_contexts(run: Invocation, form: str) -> None:
    """List the contexts of the file; never their tokens."""
    found = _load(run)
    items = [
        {"name": name, "url": entry.url, "current": name == found.current}
        for name, entry in found.items.items()
    ]
    show_list(form, COLUMNS, items)
    if not items:
        click.echo(
            f"No contexts in {clean(found.path)}. 'popham init' on a Manager writes the first.", err=True
        )


@context.command()
@click.argument("name")
@click.pass_obj
def use(run: Invocation, name: str) -> None:
    """Make NAME the context that commands use from now on."""
    found = _load(run).use(name)
    found.save()
    click.echo(f"{clean(name)}: {clean(found.items[name].url)}")


@context.command()
@output_option("text", "json", "yaml", default="text")
@click.pass_obj
def show(run: Invocation, form: str) -> None:
    """Show where commands go now, with what the environment overrides; never the token."""
    found = _load(run)
    chosen = found.chosen(run.context, run.environ)
    name = run.context or found.current
    item = {
        "name": name,
        "url": chosen.url,
        "ca": "its own" if chosen.ca else "of this machine",
        "token": chosen.token.rpartition("_")[0] + "_…" if "_" in chosen.token else "set",
        "file": str(found.path),
    }
    if form != "text":
        show_object(form, item)
        return
    for key, value in item.items():
        click.echo(f"{key + ':':<7}{clean(value)}")


def _load(run: Invocation) -> Contexts:
    found = run.contexts()
    if found.is_exposed():
        path = clean(found.path)
        click.echo(f"popham: others may read {path}, and it holds tokens. chmod 600 {path}", err=True)
    return found
