"""``popham agent``: what is done on the machine itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from popham.cli.agent_service import cgi, service
from popham.cli.exits import FAILED
from popham.cli.invocation import Invocation
from popham.cli.machine import Machine, choosing
from popham.cli.text import clean
from popham.errors import LinkError
from popham.model.communication import show_duration

if TYPE_CHECKING:
    from popham.agent.joining import Joining
    from popham.agent.settings import AgentSettings
    from popham.agent.state import AgentState
    from popham.downstream.enroll import Enrolled
    from popham.trust.join import JoinString

_NO_LINK = {"link.full": "refused: the Manager's links are all taken"}
"""Code of a fallback → why there is no held link."""


@click.group()
def agent() -> None:
    """Enroll, run and ask the agent of this machine."""


agent.add_command(service)
agent.add_command(cgi)


@agent.command()
@click.argument("join", metavar="JOIN")
@choosing
@click.option("--name", help="Name shown to people; the host name if not given.")
@click.option("--wait", default=0.0, help="Seconds to wait until an administrator accepts.")
@click.option("--listen", is_flag=True, help="Dial nobody: wait to be born by a visit of the Manager.")
@click.pass_obj
def enroll(
    run: Invocation,
    join: str,
    config: Path | None,
    state: str | None,
    name: str | None,
    wait: float,
    *,
    listen: bool,
) -> None:
    """Join a fleet with the join string that 'popham token create' printed.

    JOIN may be '-' to read it from standard input, where no process list shows it.
    """
    from popham.trust.join import JoinString

    text = sys.stdin.read() if join == "-" else join
    settings = Machine(run, config, state, name).settings()
    parsed = JoinString.parse(text)
    named = f" --config {clean(str(config))}" if config else ""
    if listen:
        _listen(settings, parsed, named)
        return
    enrolled, uid = asyncio.run(_enroll(settings, parsed, wait))
    if enrolled.certificate:
        click.echo(f"Enrolled as {uid}. Next: popham agent run{named}", err=True)
        return
    click.echo(f"Enrolled as {uid}, {clean(enrolled.text) or enrolled.admission}.", err=True)
    click.echo("Next: an administrator accepts it, and 'popham agent run' waits for that.", err=True)


def _listen(settings: AgentSettings, join: JoinString, named: str) -> None:
    """Have the machine wait to be born, and say what to do next, here and at the Manager."""
    from popham.agent.birth import wait_for_birth

    with _state(settings) as state:
        uid = wait_for_birth(state, join)
    at = settings.service
    port = at.listens_on
    where = at.text if port is not None else f"the socket {at.socket}, for a web server on this machine"
    spec = "address: ADDRESS, " + (f"port: {port}" if port is not None else "port: PORT, prefix: /PREFIX")
    if port is None or not at.tls:
        spec += ", tls: web" if port is None else ", tls: off"
    name = json.dumps(settings.name or socket.gethostname())
    lines = [
        f"Waits to be born as {uid}; it dials nobody.",
        f"Next, here: popham agent run{named}; its service listens at {where}",
        "Next, at the Manager: popham apply -f FILE, with the address at which it reaches this machine:",
        *("  apiVersion: popham/v1", "  kind: Agent"),
        *(f"  metadata: {{name: {name}}}", f"  spec: {{{spec}}}"),
    ]
    for line in lines:
        click.echo(clean(line), err=True)


async def _enroll(settings: AgentSettings, join: Any, wait: float) -> tuple[Enrolled, str]:
    async with _joining(settings) as (joining, uid):
        enrolled = await joining.begin(join)
        if not enrolled.certificate and wait > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    while not enrolled.certificate:
                        await asyncio.sleep(1.0)
                        enrolled = await joining.ask_again()
        return enrolled, uid()


@contextlib.asynccontextmanager
async def _joining(settings: AgentSettings) -> AsyncIterator[tuple[Joining, Callable[[], str]]]:
    from popham.agent.joining import Joining
    from popham.clock import SystemClock

    with _state(settings) as state:
        yield Joining(state, SystemClock(), settings), lambda: state.uid


@contextlib.contextmanager
def _state(settings: AgentSettings) -> Iterator[AgentState]:
    """Open the agent's state directory, which may be a new one."""
    from popham.agent.app import KIND
    from popham.agent.state import AgentState
    from popham.statedir import StateDir

    folder = Path(settings.state)
    fresh = not (folder / "FORMAT").exists()
    with StateDir.open(folder, KIND, create=fresh) as directory:
        yield AgentState(directory)


@agent.command("run")
@choosing
@click.option("--log-level", default="info", show_default=True)
@click.option("--log-json", is_flag=True, help="One JSON object per line.")
@click.pass_obj
def run_agent(
    run: Invocation, config: Path | None, state: str | None, log_level: str, *, log_json: bool
) -> None:
    """Run the agent until it is stopped."""
    from popham.net.tls import without_authorities

    with without_authorities():
        from popham.agent.app import open_agent
    from popham.cli.process import run_process
    from popham.clock import SystemClock
    from popham.log import set_up_logging

    set_up_logging(level=log_level, as_json=log_json)
    machine = Machine(run, config, state, None)
    settings = machine.settings()

    async def serve(ready: asyncio.Event, stopping: asyncio.Event) -> None:
        async with open_agent(settings, machine.source, SystemClock(), random.SystemRandom()) as opened:
            await opened.run(ready, stopping)

    run_process(serve, run.environ)


@agent.command("check-in")
@choosing
@click.pass_obj
def check_in(run: Invocation, config: Path | None, state: str | None) -> None:
    """Have the running agent get in touch now."""
    from popham.agent.local import ask

    settings = Machine(run, config, state, None).settings()
    asyncio.run(ask(settings.socket_path, "check-in"))
    click.echo("asked; 'popham agent status' shows what comes of it", err=True)


@agent.command()
@choosing
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def status(run: Invocation, config: Path | None, state: str | None, output: str) -> int:
    """Say what this machine has, from whom, and what it waits for; also with the Manager away."""
    settings = Machine(run, config, state, None).settings()
    found = _look(settings)
    if output == "json":
        click.echo(json.dumps(found, indent=2, sort_keys=True))
    else:
        for line in _lines(found, run.now()):
            click.echo(line)
    return 0 if found["running"] and not found.get("error") and not found.get("problem") else FAILED


def _look(settings: AgentSettings) -> dict[str, Any]:
    """Ask the running agent; if none runs, read what it left."""
    from popham.agent.local import ask
    from popham.agent.state import AgentState
    from popham.agent.status import describe_state
    from popham.statedir import StateDir

    try:
        return asyncio.run(ask(settings.socket_path, "status"))
    except LinkError:
        with StateDir.open(Path(settings.state), "agent", create=False) as directory:
            return describe_state(AgentState(directory))


def _lines(found: dict[str, Any], now: float) -> list[str]:
    def age(key: str) -> str:
        value = found.get(key)
        if value is None:
            return "unknown"
        seconds = round(value - now)
        return f"in {seconds} s" if seconds > 0 else f"{-seconds} s ago"

    rows = [
        ("agent", "running" if found["running"] else "stopped"),
        ("uid", found["uid"] or "none"),
        ("admission", found["admission"]),
        ("upstream", _upstream(found)),
    ]
    if found["running"]:
        rows += [
            ("way", f"{found.get('mode', 'unknown')}, dialled by the {found.get('dialer', 'agent')}"),
            *_link_rows(found, age("link_again")),
            ("last contact", age("last_contact")),
            ("next contact", age("next_contact")),
            ("service", (found.get("service") or {}).get("address") or "off"),
            ("group", found.get("group") or "none"),
            ("newest serial", str(found.get("serial", 0))),
        ]
    if found.get("location"):
        rows.append(("location", _location(found)))
    if found.get("location_unseen"):
        rows.append(("not looked at", ", ".join(found["location_unseen"])))
    rows += [("applied serial", str(found["applied_serial"])), ("outcome", found["outcome"])]
    rows += _watch_rows(found, now)
    for key in ("error", "problem", "text"):
        if found.get(key):
            rows.append((key, found[key]))
    return [f"{name + ':':<16}{clean(value)}" for name, value in rows]


def _watch_rows(found: dict[str, Any], now: float) -> list[tuple[str, str]]:
    """Return what is watched, withheld, undone, drifted and left over, as far as there is any."""
    rows: list[tuple[str, str]] = []
    if found.get("watched_until"):
        rows.append(("watched", f"for {max(0, round(found['watched_until'] - now))} s more"))
    if found.get("withheld"):
        rows.append(("withheld", ", ".join(found["withheld"])))
    for one in found.get("undone", ()):
        again = ", and it was tried again" if one["tried_again"] else ""
        ago = max(0, round(now - one["at"]))
        # What it says names serial and code already, and is not said twice.
        said = "" if one["error"] == found.get("error") else f": {one['error']}"
        rows.append(("undone", f"serial {one['serial']} {ago} s ago{again}{said}"))
    if found.get("drifted"):
        rows.append(("drifted", ", ".join(found["drifted"])))
        if found.get("drift_error"):
            rows.append(("not put back", found["drift_error"]))
    if found.get("put_back"):
        times = "once" if found["put_back"] == 1 else f"{found['put_back']} times"
        last = f"{found['drift_path']} at {_moment(found['drift_at'])}"
        rows.append(("put back", f"last {last}; {times} on that day"))
    if found.get("left"):
        rows.append(("left over", ", ".join(found["left"])))
    return rows


def _location(found: dict[str, Any]) -> str:
    """Return where the machine is, since when and why: ``office since …, because address 10.0.0.0/8``."""
    since, rules = found.get("location_since"), found.get("location_rules")
    text = str(found["location"])
    if since:
        text += f" since {_moment(since)}"
    return f"{text}, because {' and '.join(rules)}" if rules else text


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _upstream(found: dict[str, Any]) -> str:
    """Return the servers in the order in which they are dialled, and which one is in use."""
    servers, server = list(found["servers"]), found.get("server")
    if len(servers) < 2 or not server:
        return ", ".join(servers) or "none"
    return f"{server}, of {', '.join(servers)}"


def _link_rows(found: dict[str, Any], again: str) -> list[tuple[str, str]]:
    """Return why the agent keeps other times than those that were ordered."""
    rows = []
    fallback = found.get("fallback")
    if found.get("metered"):
        rows.append(("network", "metered"))
    if fallback and "link_again" in found:
        every = show_duration(found["promise"])
        why = _NO_LINK.get(fallback, f"could not be opened ({fallback})")
        rows.append(("held link", f"{why}; pulls every {every}; tries again {again}"))
    elif fallback:
        rows.append(("server list", "none of it answers; the addresses of the join string are dialled"))
    if found.get("stretch"):
        rows.append(("heartbeat", f"later by {found['stretch']:.0f} s: the Manager has too much to do"))
    return rows
