"""``popham agent doctor``: everything that this machine's agent needs is tried, each part with a next step."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from popham.cli.exits import FAILED, OK
from popham.cli.invocation import Invocation
from popham.cli.machine import Machine, choosing, in_words
from popham.cli.text import clean
from popham.errors import ConfigError

if TYPE_CHECKING:
    from popham.agent.doctor.finding import Finding

_OUTCOME, _CHECK = 9, 17
"""Columns of the first two words of a line."""


@click.command()
@choosing
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(0.1, 60),
    default=5.0,
    show_default=True,
    help="Seconds that one check may take.",
)
@click.pass_obj
def doctor(run: Invocation, config: Path | None, state: str | None, output: str, seconds: float) -> int:
    """Try all that the agent needs here, and say what is wrong and what to do; the agent may run or not."""
    from popham.agent.doctor.finding import is_well

    machine = Machine(run, config, state, None)
    found = asyncio.run(_examine(run, machine, seconds))
    well = is_well(found)
    if output == "json":
        data = {"ok": well, "findings": [one.as_dict() for one in found]}
        click.echo(json.dumps(data, indent=2, sort_keys=True))
    else:
        for line in render(found):
            click.echo(in_words(line, machine.word))
    return OK if well else FAILED


async def _examine(run: Invocation, machine: Machine, seconds: float) -> list[Finding]:
    from popham.net.tls import without_authorities

    with without_authorities():
        from popham.agent.doctor.examination import examine, refuse
    from popham.agent.doctor.probes import Probes
    from popham.clock import SystemClock

    try:
        settings = machine.settings()
    except ConfigError as error:
        return refuse(error)
    return await examine(
        settings, machine.source, Probes(clock=SystemClock(), environ=run.environ, seconds=seconds)
    )


def render(found: Sequence[Finding]) -> list[str]:
    """Return the lines that people read: by server, what was not tried for one reason on one line."""
    lines = []
    for server, of_server in groupby(found, key=lambda one: one.server):
        if server:
            lines.append(clean(server))
        for (outcome, text, step), alike in groupby(
            of_server, key=lambda one: (one.outcome, one.text, one.step)
        ):
            checks = ", ".join(one.check for one in alike)
            lines.append(f"{outcome:<{_OUTCOME}}{checks + ':':<{_CHECK}} {clean(text)}")
            if step:
                lines.append(f"{'':<{_OUTCOME}}{'next:':<{_CHECK}} {clean(step)}")
    counts = Counter(str(one.outcome) for one in found)
    lines.append(
        ", ".join(f"{counts[word]} {word}" for word in ("ok", "warning", "failed", "skipped") if counts[word])
    )
    return lines
