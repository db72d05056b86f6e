"""``popham metrics``: which metrics agents have, and one of them over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from popham.cli.columns import NOTHING, ago, field, number, pairs
from popham.cli.invocation import Invocation
from popham.cli.reading import agent_options, instant, time_options, when, whose
from popham.cli.sheet import print_csv
from popham.cli.show import Column, Shown, output_option, show_list, show_object
from popham.errors import DefinitionError
from popham.model.duration import parse_duration

STEPS = 60
"""Steps of a series where nobody says how long one is: what fits into a line."""
SERIES = 100
_BARS = "▁▂▃▄▅▆▇█"
_HEAD = ("time", "agent", "uid", "attributes", "unit", "value")


@click.command()
@click.argument("name", required=False)
@agent_options
@time_options
@click.option(
    "--step", default="", metavar="DURATION", help="Length of a step; a sixtieth of the time if not said."
)
@click.option(
    "-n",
    "--series",
    "most",
    type=click.IntRange(1, 1000),
    default=SERIES,
    show_default=True,
    help="Series, at most.",
)
@output_option("table", "json", "jsonl", "csv")
@click.pass_obj
def metrics(run: Invocation, /, name: str | None, step: str, most: int, form: str, **options: Any) -> None:
    """List the metrics of agents, or show one over time.

    Of a gauge it is the mean of each step, of a counter what it grew in a second.
    Without AGENT, --group and --selector it is the whole fleet.
    """
    now = run.now()
    query = {**whose(options), **when(options, now)}
    with run.client() as client:
        if name is None:
            _list(client.metrics(query), form, now)
            return
        begin = query["since"]
        query["until"] = query.get("until", now)
        query["step"] = _seconds(step) if step else max(1.0, (query["until"] - begin) / STEPS)
        page = client.metric(name, {**query, "limit": most})
    _show(page, form)
    if page["more"]:
        click.echo(f"The first {most} series; -n shows more, AGENT, -g or -l others.", err=True)


def _list(found: Sequence[Shown], form: str, now: float) -> None:
    columns = (
        Column("NAME", field("name")),
        Column("KIND", field("kind")),
        Column("UNIT", field("unit")),
        Column("AGENTS", number("agents")),
        Column("POINTS", number("points")),
        Column("NEWEST", lambda item: ago(now - item["newest"])),
    )
    if form == "csv":
        keys = ("name", "kind", "unit", "agents", "points", "newest")
        print_csv([keys, *([item[key] for key in keys] for item in found)])
        return
    show_list(form, columns, found)
    if not found and form == "table":
        click.echo("No metrics in this time. A policy of type 'collect' has agents send some.", err=True)


def _show(page: Shown, form: str) -> None:
    if form == "json":
        show_object(form, page)
    elif form == "csv":
        print_csv([_HEAD, *_points(page)])
    else:
        show_list(form, _COLUMNS, page["items"])


def _points(page: Shown) -> Iterator[tuple[object, ...]]:
    for item in page["items"]:
        for slot, value in enumerate(item["values"]):
            if value is not None:
                at = instant(page["since"] + slot * page["step"])
                yield at, item["agent"], item["uid"], pairs(item["attributes"]), item["unit"], value


def _known(item: Shown) -> list[float]:
    return [value for value in item["values"] if value is not None]


def _mean(item: Shown) -> str:
    known = _known(item)
    return show_value(sum(known) / len(known)) if known else NOTHING


def show_value(value: float) -> str:
    """Return a value in four digits, or in all that stand before the point."""
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def _of(choose: Any) -> Any:
    """Return a cell with the value that ``choose`` picks of those that are known."""
    return lambda item: show_value(choose(_known(item))) if _known(item) else NOTHING


def draw(values: Sequence[float | None]) -> str:
    """Return values as bars, each as high as it is between the least and the greatest; a space for none."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if value is None else _BARS[round((value - low) * scale)] for value in values).rstrip()


_COLUMNS = (
    Column("AGENT", lambda item: str(item["agent"] or item["uid"])),
    Column("ATTRIBUTES", lambda item: pairs(item["attributes"])),
    Column("UNIT", field("unit")),
    Column("MIN", _of(min)),
    Column("MEAN", _mean),
    Column("MAX", _of(max)),
    Column("LAST", _of(lambda known: known[-1])),
    Column("COURSE", lambda item: draw(item["values"])),
)


def _seconds(text: str) -> float:
    try:
        return parse_duration(text, "--step")
    except DefinitionError as error:
        raise click.UsageError(f"{error.problem}. {error.hint}") from None
