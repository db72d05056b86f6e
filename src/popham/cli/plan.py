"""``popham plan``: what definitions would change, for whom, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from popham.cli.apply import FILES, summarize
from popham.cli.costs import Age, advice_lines, cost_table, shift_lines
from popham.cli.files import read_definitions
from popham.cli.invocation import Invocation
from popham.cli.show import output_option, show_object
from popham.cli.text import clean


@click.command()
@FILES
@click.option("--age", help="Name the longest heartbeat by which nothing shown is older, such as 10m or 24h.")
@click.option(
    "--force", is_flag=True, help="Take what is possible and unwise, as 'popham apply --force' does."
)
@output_option("text", "json", default="text")
@click.pass_obj
def plan(run: Invocation, names: tuple[str, ...], age: str | None, form: str, *, force: bool) -> None:
    """Show what definitions would change, for whom, and what that costs.

    Nothing is changed. Costs are rounds per second, held links, CPU, memory, bandwidth and
    age of the whole fleet, before and after, reckoned from what 'popham bench' shows.
    """
    from popham.model.duration import parse_duration

    seconds = parse_duration(age, "--age") if age else None
    files = read_definitions(names)
    with run.client() as client:
        result = client.apply(files, dry_run=True, force=force)
    asked = Age.of(result["costs"], seconds) if seconds is not None else None
    if form == "json":
        show_object(form, result | ({"age": asdict(asked)} if asked else {}))
        return
    for line in _report(result, asked):
        click.echo(line)
    click.echo("Nothing was changed. Make it so: popham apply with the same files.", err=True)


def _report(result: dict[str, Any], asked: Age | None) -> Iterator[str]:
    """Yield what would be, part by part."""
    yield from summarize(result)
    if not result["groups"]:
        yield "No group gets a new bundle."
    costs = result["costs"]
    for part in (shift_lines(costs), cost_table(costs), list(asked.lines()) if asked else []):
        if part:
            yield ""
            yield from part
    found = [f"Warning: {clean(warning)}" for warning in result["warnings"]]
    found += advice_lines(costs)
    if found:
        yield ""
        yield from found
