"""``popham proxy``: what is done on the machine of a Proxy Manager. It is an agent, too, so most of it is the agent's."""

from __future__ import annotations

import asyncio
import random
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from popham.cli import agent as of_agent
from popham.cli.agent_doctor import doctor as examine
from popham.cli.agent_service import service as visits
from popham.cli.invocation import Invocation
from popham.cli.lazy import Entry, LazyGroup
from popham.cli.machine import PROXY, PROXY_FILE, Machine, choosing, in_words
from popham.errors import PophamError

_Command = TypeVar("_Command", bound=click.Command)
ENTRIES = {
    "check-in": Entry("popham.cli.proxy", "check_in", "Have the running Proxy Manager get in touch now."),
    "doctor": Entry(
        "popham.cli.proxy",
        "doctor",
        "Try all that the Proxy Manager needs towards its Manager; it may run or not.",
    ),
    "enroll": Entry(
        "popham.cli.proxy",
        "enroll",
        "Join a fleet as a Proxy Manager, with what 'popham token create --proxy' printed.",
    ),
    "run": Entry("popham.cli.proxy", "run_proxy", "Run the Proxy Manager until it is stopped."),
    "service": Entry(
        "popham.cli.proxy",
        "service",
        "Let the Manager visit this Proxy Manager; off until it is started here.",
    ),
    "status": Entry(
        "popham.cli.proxy_status",
        "status",
        "Say what is above it, what is below it, and what it waits for; also with the Manager away.",
    ),
}
"""Name → command."""


class _Proxys(LazyGroup):
    """Has what goes wrong said in the words of a Proxy Manager."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PophamError as error:
            error.hint = in_words(error.hint, PROXY)
            raise


@click.group(cls=_Proxys, entries=ENTRIES)
@click.pass_context
def proxy(ctx: click.Context) -> None:
    """Enroll, run and ask the Proxy Manager of this machine."""
    ctx.obj = replace(ctx.obj, kind=PROXY)


def _of_proxy(command: _Command, text: str) -> _Command:
    """Return an agent's command as a Proxy Manager has it: with another sentence, and another default file."""
    found = copy(command)
    found.help, found.params = text, [_name_file(param) for param in command.params]
    if isinstance(found, click.Group):
        found.commands = {name: _of_proxy(inner, inner.help or "") for name, inner in found.commands.items()}
    return found


def _name_file(param: click.Parameter) -> click.Parameter:
    if not isinstance(param, click.Option) or param.name != "config":
        return param
    found = copy(param)
    found.help = f"Local configuration, if not {PROXY_FILE}."
    return found


check_in = _of_proxy(of_agent.check_in, ENTRIES["check-in"].help)
doctor = _of_proxy(examine, ENTRIES["doctor"].help)
enroll = _of_proxy(
    of_agent.enroll,
    f"""{ENTRIES["enroll"].help}

An administrator always accepts it: 'popham accept agent NAME' at the Manager.  JOIN may be '-' to read it
from standard input, where no process list shows it.
""",
)
service = _of_proxy(visits, ENTRIES["service"].help)


@click.command("run")
@choosing
@click.option("--log-level", default="info", show_default=True)
@click.option("--log-json", is_flag=True, help="One JSON object per line.")
@click.pass_obj
def _run(run: Invocation, config: Path | None, state: str | None, log_level: str, *, log_json: bool) -> None:
    from popham.net.tls import without_authorities

    with without_authorities():
        from popham.proxy.app import open_proxy
    from popham.cli.process import begin_anew, run_process
    from popham.clock import SystemClock
    from popham.log import keep_recent_lines, set_up_logging

    set_up_logging(level=log_level, as_json=log_json)
    recent, again = keep_recent_lines(), False
    machine = Machine(run, config, state, None)
    settings = machine.proxy_settings()

    async def serve(ready: asyncio.Event, stopping: asyncio.Event) -> None:
        async with open_proxy(settings, machine.source, SystemClock(), random.SystemRandom()) as opened:
            nonlocal again
            opened.agent.journal = recent.lines
            again = await opened.run(ready, stopping)

    if not run_process(serve, run.environ) and again:
        begin_anew(run.environ)


run_proxy = _of_proxy(_run, ENTRIES["run"].help)
