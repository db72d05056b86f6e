"""Options that say of whom something is ordered: agents by name, groups, labels, or all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

_OPTIONS = (
    click.option(
        "-g",
        "--group",
        "groups",
        multiple=True,
        metavar="GROUP[,...]",
        help="All agents of these groups, and of those below.",
    ),
    click.option("-s", "--host", "hosts", multiple=True, metavar="HOST[,...]", help="Agents by name or uid."),
    click.option(
        "-l", "--selector", default="", help="All agents with such labels: env=prod,role in (web,db)."
    ),
    click.option("--all", "everyone", is_flag=True, help="All agents of the fleet."),
)


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name targets; :func:`take_targets` reads them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_targets(options: dict[str, Any], agents: tuple[str, ...] = ()) -> dict[str, Any]:
    """Take what :func:`target_options` added out of ``options``; return it as the REST client wants it.

    Args:
        options: Of the command.
        agents: Agents that stand among its arguments.

    Raises:
        click.UsageError: No targets are named, or in two ways.
    """
    hosts = [*agents, *_split(options.pop("hosts"))]
    groups, selector = _split(options.pop("groups")), options.pop("selector")
    everyone = options.pop("everyone")
    if sum(map(bool, (hosts, groups or selector, everyone))) != 1:
        raise click.UsageError(
            "Name the targets in one way: hosts with -s, groups with -g or labels with -l, or --all"
        )
    return {
        "agents": list(dict.fromkeys(hosts)),
        "groups": list(dict.fromkeys(groups)),
        "selector": selector,
        "all": everyone,
    }


def _split(texts: tuple[str, ...]) -> list[str]:
    return [name for text in texts for part in text.split(",") if (name := part.strip())]
