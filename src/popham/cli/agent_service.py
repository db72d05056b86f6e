"""``popham agent service``: whether this machine's agent can be visited; and the bridge for CGI."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from popham.cli.exits import FAILED
from popham.cli.invocation import Invocation
from popham.cli.machine import Machine, choosing, in_words
from popham.cli.text import clean
from popham.errors import ConfigError, LinkError, PophamError, StateError

_FAMILIES = {family.area: family for family in (ConfigError, StateError, LinkError)}
_json = click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")


@click.group()
def service() -> None:
    """Let the Manager visit this machine's agent; off until it is started here."""


@service.command()
@choosing
@_json
@click.pass_obj
def status(run: Invocation, config: Path | None, state: str | None, *, as_json: bool) -> int:
    """Say whether the service is on, where it listens, and who came."""
    machine = Machine(run, config, state, None)
    found = _ask(machine, "service")
    _show(found, as_json=as_json)
    return 0 if found["on"] and not found["problem"] else FAILED


@service.command()
@choosing
@_json
@click.pass_obj
def start(run: Invocation, config: Path | None, state: str | None, *, as_json: bool) -> None:
    """Listen now, until it is stopped or the agent ends."""
    machine = Machine(run, config, state, None)
    found = _tell(machine, "service-start")
    _say(f"The service listens at {found['address']}", found, as_json=as_json)


@service.command()
@choosing
@_json
@click.pass_obj
def stop(run: Invocation, config: Path | None, state: str | None, *, as_json: bool) -> None:
    """Listen no more; what is being applied goes on."""
    machine = Machine(run, config, state, None)
    found = _tell(machine, "service-stop")
    then = f", and starts with the {machine.word} again" if found["enabled"] else ""
    _say(f"The service is off{then}", found | {"next": ""}, as_json=as_json)


@service.command()
@choosing
@_json
@click.option("--now", is_flag=True, help="Start it, too.")
@click.pass_obj
def enable(run: Invocation, config: Path | None, state: str | None, *, as_json: bool, now: bool) -> None:
    """Have it start whenever the agent starts."""
    machine = Machine(run, config, state, None)
    found = _keep(machine, on=True)
    if now:
        found = _tell(machine, "service-start")
    _say(f"The service starts with the {machine.word} from now on", found, as_json=as_json)


@service.command()
@choosing
@_json
@click.option("--now", is_flag=True, help="Stop it, too.")
@click.pass_obj
def disable(run: Invocation, config: Path | None, state: str | None, *, as_json: bool, now: bool) -> None:
    """Have it stay off when the agent starts."""
    machine = Machine(run, config, state, None)
    found = _keep(machine, on=False)
    if now:
        found = _tell(machine, "service-stop")
    still = "; it is on until it is stopped" if found["on"] else ""
    _say(
        f"The service no longer starts with the {machine.word}{still}", found | {"next": ""}, as_json=as_json
    )


@click.command()
@click.option("--socket", "path", metavar="PATH", help="Unix socket of the service, [service] socket there.")
def cgi(path: str | None) -> int:
    """Carry one visit from a web server to the running agent; web servers start it as CGI.

    The socket may also be named by POPHAM_SERVICE_SOCKET; else it is /run/popham/visit.sock.
    """
    from popham.downstream.cgi import run

    return run(["--socket", path] if path else [])


def _tell(machine: Machine, word: str) -> dict[str, Any]:
    """Have the running agent do something, and return what it says of its service.

    Raises:
        PophamError: It does not run, or it could not do that.
    """
    from popham.agent.local import SERVICE_TIME, ask

    found = asyncio.run(ask(machine.settings().socket_path, word, seconds=SERVICE_TIME))
    failure = found.get("failure")
    if failure:
        area, _, reason = failure["code"].partition(".")
        raise _FAMILIES.get(area, PophamError)(reason, failure["problem"], failure["hint"])
    if "on" not in found:
        raise LinkError(
            "no_agent", "the agent that runs here has no service", "Restart it: it is an older one"
        )
    return _in_words(found, machine)


def _ask(machine: Machine, word: str) -> dict[str, Any]:
    """As :func:`_tell`; of an agent that does not run, what it keeps."""
    try:
        return _tell(machine, word) | {"running": True}
    except LinkError:
        return _kept(machine, None)


def _keep(machine: Machine, *, on: bool) -> dict[str, Any]:
    """Have the service start with the agent or not, whether or not the agent runs."""
    try:
        return _tell(machine, "service-enable" if on else "service-disable")
    except LinkError:
        return _kept(machine, on)


def _kept(machine: Machine, on: bool | None) -> dict[str, Any]:  # None changes nothing
    from popham.agent.service import describe_off, enable
    from popham.agent.state import AgentState
    from popham.statedir import StateDir

    settings = machine.settings()
    with StateDir.open(Path(settings.state), settings.kind, create=False) as directory:
        state = AgentState(directory)
        if on is not None:
            enable(state, on=on)
        found = describe_off(state, settings.service)
    return _in_words(found, machine) | {
        "running": False,
        "word": machine.word,
        "next": f"Start it first: popham {machine.word} run{machine.named}",
    }


def _in_words(found: dict[str, Any], machine: Machine) -> dict[str, Any]:
    return found | {"next": in_words(found["next"], machine.word, machine.named)}


def _say(sentence: str, found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        _show(found, as_json=True)
        return
    click.echo(f"{sentence}.", err=True)
    if found["next"]:
        click.echo(f"Next: {found['next']}", err=True)


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found, indent=2, sort_keys=True))
        return
    for line in _lines(found):
        click.echo(line)


def _lines(found: dict[str, Any]) -> list[str]:
    standing = f"on since {_moment(found['since'])}" if found["on"] else "off"
    if not found.get("running", True):
        standing = f"off, as the {found.get('word', 'agent')} does not run"
    rows = [("service", standing), ("enabled", "yes" if found["enabled"] else "no")]
    rows += [("address", found["address"] or _would(found)), ("path", found["path"])]
    if found.get("socket"):
        rows.append(("socket", found["socket"]))
    visitor, refused, problem = found["visitor"], found["refused"], found["problem"]
    if found["on"]:
        rows.append(("last visitor", _visitor(visitor) if visitor else "nobody yet"))
    if found["held"]:
        rows.append(("held link", "yes"))
    if refused:
        source = f" from {refused['address']}" if refused["address"] else ""
        text = f"{refused['code']}{source} {_moment(refused['at'])}: {refused['text']} ({refused['count']} in all)"
        rows.append(("last refusal", text))
    if problem:
        rows.append(("problem", f"{problem['problem']} ({problem['code']})"))
    if found["next"]:
        rows.append(("next", found["next"]))
    return [f"{name + ':':<16}{clean(value)}" for name, value in rows]


def _would(found: dict[str, Any]) -> str:
    port = found.get("port")
    return f"none; it would be port {port}" if port else "none"


def _visitor(visitor: dict[str, Any]) -> str:
    source = f" from {visitor['address']}" if visitor["address"] else ""
    return f"{_moment(visitor['at'])}{source}, {visitor['operation']}, key {visitor['keyid'][:16]}"


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
