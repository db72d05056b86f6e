"""``popham plan``: what definitions would change, for whom, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from popham.cli.apply import AS_APPLY, files_option, risk_lines, summarize, terms_options
from popham.cli.columns import field
from popham.cli.costs import Age, advice_lines, cost_table, shift_lines
from popham.cli.diff import difference_lines
from popham.cli.files import read_definitions
from popham.cli.invocation import Invocation
from popham.cli.saved_plan import SavedPlan
from popham.cli.show import Column, Shown, lay_out, output_option, show_object, table_rows
from popham.cli.text import clean, widths
from popham.client import Client

CHANGES = 2
"""Exit code of a plan that would change something, with ``--detailed-exitcode``."""
DIFFERENCES = click.option(
    "--diff", "differences", is_flag=True, help="Show what differs in each definition; secrets are hidden."
)
DETAILED = click.option(
    "--detailed-exitcode",
    is_flag=True,
    help="End with 0 if nothing would change, 2 if something would, 1 on errors.",
)
CONCERNED: Sequence[Column] = tuple(
    Column(name.upper(), field(name)) for name in ("name", "group", "location", "presence", "sync")
)
_KEYS = ("uid", "name", "group", "location", "presence", "sync")


@click.command()
@files_option()
@click.option("--agents", "listed", is_flag=True, help="List the agents that it concerns.")
@click.option("--age", help="Name the longest heartbeat by which nothing shown is older, such as 10m or 24h.")
@AS_APPLY
@DIFFERENCES
@click.option(
    "--save", type=click.Path(), metavar="FILE", help="Save the plan for 'popham apply --plan FILE'."
)
@DETAILED
@terms_options
@output_option("text", "json", default="text")
@click.pass_obj
def plan(
    run: Invocation,
    /,
    names: tuple[str, ...],
    age: str | None,
    save: str | None,
    form: str,
    *,
    force: bool,
    listed: bool,
    differences: bool,
    detailed_exitcode: bool,
    **terms: Any,
) -> int:
    """Show what definitions would change, for whom, and what that costs.

    Nothing is changed, and a token of the role viewer is enough. Risks are commands that run, new
    content for many, another way to the Manager, and what is taken from agents. Costs are rounds per
    second, held links, CPU, memory, bandwidth and age of the whole fleet, before and after, reckoned
    from what 'popham bench' shows.
    """
    from popham.model.duration import parse_duration

    seconds = parse_duration(age, "--age") if age else None
    files = read_definitions(names)
    with run.client() as client:
        result = client.apply(files, dry_run=True, force=force, **terms)
        agents = find_concerned(client, result) if listed else None
    if save:
        SavedPlan(files=files, base=result["base"], force=force, terms=terms).save(Path(save))
    status = exit_status(result, detailed=detailed_exitcode)
    asked = Age.of(result["costs"], seconds) if seconds is not None else None
    if form == "json":
        more: dict[str, Any] = {"age": asdict(asked)} if asked else {}
        show_object(form, result | more | ({"agents": agents} if agents is not None else {}))
        return status
    for line in plan_lines(result, asked, differences=differences, agents=agents):
        click.echo(line)
    how = f"popham apply --plan {clean(save)}" if save else "popham apply with the same files"
    click.echo(f"Nothing was changed. {next_step(result, how)}", err=True)
    return status


def next_step(result: dict[str, Any], how: str) -> str:
    """Return how to make a plan hold, by the command ``how``; or that there is nothing to be done."""
    if not result["groups"] and not exit_status(result, detailed=True):
        return "Nothing would change."
    decision = {"canary": " and --canary 1%, or --all", "all": " and --all"}.get(result.get("asks", ""), "")
    return f"Make it so: {how}{decision}."


def exit_status(result: dict[str, Any], *, detailed: bool) -> int:
    """Return the exit code of a plan; ``detailed`` as :data:`DETAILED` says."""
    changes = any(change["action"] != "unchanged" for change in result["changes"])
    return CHANGES if detailed and changes else 0


def find_concerned(client: Client, result: dict[str, Any]) -> list[Shown]:
    """Return the agents for which something changes, group by group, as far as it is known where they are."""
    found: list[Shown] = []
    for effect in result["groups"]:
        places = {place["location"] for place in effect.get("places", ())}
        # Agents may change their location by other criteria, and of some nobody knows where they are.
        everywhere = not places or "" in places or effect.get("more") or effect.get("locations")
        agents = client.agents(group=effect["group"]) if effect["agents"] else []
        found += [
            {key: agent.get(key, "") for key in _KEYS}
            for agent in agents
            if everywhere or agent.get("location", "") in {*places, ""}
        ]
    return found


def _agent_lines(agents: Sequence[Shown]) -> list[str]:
    if not agents:
        return ["It concerns no agent."]
    rows = table_rows(CONCERNED, agents, wide=False)
    return lay_out(rows, widths(rows))


def plan_lines(
    result: dict[str, Any],
    asked: Age | None,
    *,
    differences: bool,
    agents: Sequence[Shown] | None = None,
) -> Iterator[str]:
    """Yield what would be, part by part; ``agents`` are those it concerns, if they are to be listed."""
    yield from summarize(result)
    if not result["groups"]:
        yield "No group gets a new bundle."
    costs = result["costs"]
    if agents is not None:
        yield ""
        yield from _agent_lines(agents)
    for change in result["changes"] if differences else ():
        if change["difference"]:
            yield ""
            yield from difference_lines(change["difference"])
    for part in (shift_lines(costs), cost_table(costs), list(asked.lines()) if asked else []):
        if part:
            yield ""
            yield from part
    found = risk_lines(result)
    found += [f"Warning: {clean(warning)}" for warning in result["warnings"]]
    found += advice_lines(costs)
    if found:
        yield ""
        yield from found
