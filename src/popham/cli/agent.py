"""``popham agent``: what is done on the machine itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from popham.cli.invocation import Invocation
from popham.cli.lazy import Entry, LazyGroup
from popham.cli.machine import Machine, choosing
from popham.cli.text import clean

if TYPE_CHECKING:
    from popham.agent.joining import Joining
    from popham.agent.settings import AgentSettings
    from popham.agent.state import AgentState
    from popham.downstream.enroll import Enrolled
    from popham.trust.join import JoinString


ENTRIES = {
    "cgi": Entry(
        "popham.cli.agent_service",
        "cgi",
        "Carry one visit from a web server to the running agent; web servers start it as CGI.",
    ),
    "check-in": Entry("popham.cli.agent", "check_in", "Have the running agent get in touch now."),
    "doctor": Entry(
        "popham.cli.agent_doctor",
        "doctor",
        "Try all that the agent needs here, and say what is wrong and what to do; the agent may run or not.",
    ),
    "enroll": Entry(
        "popham.cli.agent", "enroll", "Join a fleet with the join string that 'popham token create' printed."
    ),
    "run": Entry("popham.cli.agent", "run_agent", "Run the agent until it is stopped."),
    "service": Entry(
        "popham.cli.agent_service",
        "service",
        "Let the Manager visit this machine's agent; off until it is started here.",
    ),
    "status": Entry(
        "popham.cli.agent_status",
        "status",
        "Say what this machine has, from whom, and what it waits for; also with the Manager away.",
    ),
}
"""Name → command; what an agent that runs does not need is not in its memory."""


@click.group(cls=LazyGroup, entries=ENTRIES)
def agent() -> None:
    """Enroll, run and ask the agent of this machine."""


@click.command()
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
    machine = Machine(run, config, state, name)
    settings, named = machine.settings(), machine.named
    parsed = JoinString.parse(text)
    if listen:
        _listen(settings, parsed, machine)
        return
    enrolled, uid = asyncio.run(_enroll(settings, parsed, wait))
    if enrolled.certificate:
        click.echo(f"Enrolled as {uid}. Next: popham {machine.word} run{named}", err=True)
        return
    click.echo(f"Enrolled as {uid}, {clean(enrolled.text) or enrolled.admission}.", err=True)
    click.echo(
        f"Next: an administrator accepts it, and 'popham {machine.word} run' waits for that.", err=True
    )


def _listen(settings: AgentSettings, join: JoinString, machine: Machine) -> None:
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
        f"Next, here: popham {machine.word} run{machine.named}; its service listens at {where}",
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
    from popham.agent.state import AgentState
    from popham.statedir import StateDir

    folder = Path(settings.state)
    fresh = not (folder / "FORMAT").exists()
    with StateDir.open(folder, settings.kind, create=fresh) as directory:
        yield AgentState(directory)


@click.command("run")
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
    from popham.cli.process import begin_anew, run_process
    from popham.clock import SystemClock
    from popham.log import keep_recent_lines, set_up_logging

    set_up_logging(level=log_level, as_json=log_json)
    recent, again = keep_recent_lines(), False
    machine = Machine(run, config, state, None)
    settings = machine.settings()

    async def serve(ready: asyncio.Event, stopping: asyncio.Event) -> None:
        async with open_agent(settings, machine.source, SystemClock(), random.SystemRandom()) as opened:
            nonlocal again
            opened.journal = recent.lines
            again = await opened.run(ready, stopping)

    if not run_process(serve, run.environ, light=True) and again:
        begin_anew(run.environ)


@click.command("check-in")
@choosing
@click.pass_obj
def check_in(run: Invocation, config: Path | None, state: str | None) -> None:
    """Have the running agent get in touch now."""
    from popham.agent.local import ask

    settings = Machine(run, config, state, None).settings()
    asyncio.run(ask(settings.socket_path, "check-in"))
    click.echo(f"asked; 'popham {run.kind} status' shows what comes of it", err=True)
