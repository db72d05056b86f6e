"""``popham simulate``: a fleet of simulated agents on this machine, to see what a Manager bears."""

from __future__ import annotations

import asyncio
import gc
import math
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from popham.cli.invocation import Invocation
from popham.errors import ConfigError

if TYPE_CHECKING:
    from popham.testing.load.crew import Crew, Sight
    from popham.testing.load.fleet import Target

MOST = 60_000
"""Agents of one run: a process holds some 10,000 links, and each process needs memory of its own."""
JOIN_TIME = 3600.0
"""Seconds until enrolling is given up."""


@click.command()
@click.argument("join", metavar="JOIN")
@click.option("--agents", "count", default=100, show_default=True, type=click.IntRange(1, MOST))
@click.option("--mode", type=click.Choice(["push", "pull"]), default="push", show_default=True)
@click.option("--heartbeat", default="30s", show_default=True, help="Time between messages of one agent.")
@click.option("--for", "span", default="", help="End after this time, such as 5m; without it, by Ctrl-C.")
@click.option("--processes", type=click.IntRange(1, 64), help="Processes, if not one for each 10,000 agents.")
@click.pass_obj
def simulate(
    run: Invocation, join: str, count: int, mode: str, heartbeat: str, span: str, processes: int | None
) -> None:
    """Run simulated agents against a Manager on this machine.

    JOIN is what 'popham token create --accept --uses N' printed. Every agent is
    enrolled for real, and stays known to the Manager afterwards; none changes
    anything on this machine, and none leaves it: only a Manager on loopback is dialled.
    """
    from popham.model.communication import parse_duration
    from popham.testing.load.crew import PER_PROCESS, Crew
    from popham.testing.load.joining import find_ca

    every = parse_duration(heartbeat, "--heartbeat")
    end = time.monotonic() + parse_duration(span, "--for") if span else math.inf
    gc.enable()
    target = replace(find_target(join), ca=asyncio.run(find_ca(join)))
    with Crew(target, processes=processes or math.ceil(count / PER_PROCESS)) as crew:
        crew.deal("join", count, join=join)
        with suppress(KeyboardInterrupt):
            while (seen := crew.order("look")).joined < count:
                click.echo(f"\r{seen.joined} of {count} enrolled", nl=False, err=True)
                run.wait(1.0)
            click.echo(f"\r{count} of {count} enrolled", err=True)
            crew.order("hold" if mode == "push" else "pull", heartbeat=every)
            while time.monotonic() < end:
                run.wait(min(1.0, max(0.0, end - time.monotonic())))
                _progress(crew)
        _report(crew)


def find_target(join: str) -> Target:
    """Return where a join string's first address is, which has to be this machine.

    Raises:
        ConfigError: ``config.loopback``: it is another machine's.
        EnrollmentError: It is no join string.
    """
    import ipaddress
    import socket

    from popham.testing.load.fleet import Target
    from popham.trust.join import JoinString

    split = urlsplit(JoinString.parse(join).urls[0])
    name = split.hostname or ""
    try:
        found = [info[4][0] for info in socket.getaddrinfo(name, split.port, type=socket.SOCK_STREAM)]
    except OSError:
        found = []
    if not found or not all(ipaddress.ip_address(host).is_loopback for host in found):
        problem = f"simulated agents dial this machine only, and {name} is not it"
        raise ConfigError("loopback", problem, "Run them beside a Manager that is called localhost")
    # IPv4 if there is a choice: it has many loopback addresses, and each brings more connections.
    host = next((host for host in found if "." in str(host)), found[0])
    return Target(host=str(host), port=split.port or 443, name=name)


def _progress(crew: Crew) -> None:
    seen = crew.order("look")
    spans = seen.rounds.describe()
    failed = sum(seen.failed.values())
    click.echo(
        f"\r{seen.held} links held, {int(spans['count'])} heartbeats answered "
        f"(half within {spans['p50_ms']:g} ms, 99 % within {spans['p99_ms']:g} ms), {failed} failures  ",
        nl=False,
        err=True,
    )


def _report(crew: Crew) -> None:
    """Print what was seen, as a table of spans and a list of failures."""
    seen: Sight = crew.order("look")
    click.echo("", err=True)
    click.echo(f"{'':12}{'count':>10}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}")
    for name, spans in (("opening", seen.opening.describe()), ("heartbeat", seen.rounds.describe())):
        cells = "".join(f"{value:>10g}" for value in spans.values())
        click.echo(f"{name:12}{cells}")
    click.echo(f"links held {seen.held}, offers {seen.offers}, outcomes that are durable {seen.applied}")
    for why, times in seen.failed.most_common():
        click.echo(f"failed {times} times: {why}")
