"""``popham proxy status``: what is above a Proxy Manager, what is below it, and what waits between the two."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from popham.cli.agent_status import render
from popham.cli.columns import ago, count, pairs
from popham.cli.exits import FAILED
from popham.cli.invocation import Invocation
from popham.cli.machine import PROXY, PROXY_FILE, Machine

_MIB, _HOUR = 1024**2, 3600

Found = Mapping[str, Any]


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help=f"Local configuration, if not {PROXY_FILE}.")
@click.option("--state", help="State directory, if not the configured one.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def status(run: Invocation, config: Path | None, state: str | None, output: str) -> int:
    """Say what is above it, what is below it, and what it waits for; also with the Manager away."""
    from popham.agent.stopped import look

    machine = Machine(run, config, state, None)
    found = asyncio.run(look(machine.settings()))
    relay = found.get("proxy") or {}
    if output == "json":
        click.echo(json.dumps(found, indent=2, sort_keys=True))
    else:
        for line in render(found, run.now(), machine.named, word=PROXY, below=describe(relay, run.now())):
            click.echo(line)
    well = found["running"] and not found.get("error") and not found.get("problem")
    return 0 if well and not (relay.get("relay") or {}).get("problem") else FAILED


def describe(found: Found, now: float) -> list[tuple[str, str]]:
    """Return the rows about what is below, and what goes between; none of a Proxy Manager that does not run.

    Args:
        found: As :meth:`popham.proxy.downlink.Downlink.describe` gives it.
        now: Wall time.
    """
    if not found:
        return []
    relay = found["relay"]
    last = relay["last_exchange"]
    rows = [("relayed", ago(None if last is None else now - last))]
    if found.get("ended"):
        rows.append(("let in nobody", found["ended"]))
    if relay["problem"]:
        rows.append(("not relayed", relay["problem"]))
    rows += [("listens", found["listens"]), ("agents", _agents(found["agents"]))]
    rows.append(("links", f"{found['links']} held, of {found['links_most']}"))
    rows.append(("to pass on", _spool(found["spool"], now)))
    if found.get("bounds"):
        rows.append(("room for that", _bounds(found["bounds"])))
    rows.append(("kept here", _cache(found["cache"])))
    return rows


def _agents(found: Found) -> str:
    """Return ``3: 2 on time, 1 missing``."""
    parts = [f"{number} {word}" for word, number in found.items() if number]
    return f"{sum(found.values())}: {', '.join(parts)}" if parts else "none"


def _spool(found: Found, now: float) -> str:
    """Return how much waits in each stream: ``logs 20 records (8192 bytes, the oldest of 3m ago)``."""
    parts = []
    for stream, one in found.items():
        if not isinstance(one, Mapping) or not one.get("records"):
            continue
        oldest = f", the oldest of {ago(now - one['oldest'])}" if one.get("oldest") else ""
        parts.append(f"{stream} {count(one['records'], 'record')} ({one['bytes']} bytes{oldest})")
    if found.get("dropped"):
        parts.append(f"never to be passed on: {pairs(found['dropped'])}")
    return "; ".join(parts) or "nothing"


def _bounds(found: Found) -> str:
    """Return ``1024 MiB, 64 MiB of one agent, for 72 h``: as the keys of ``[relay]`` say."""
    mib = {name: f"{found[name] / _MIB:g} MiB" for name in ("bytes", "share")}
    return f"{mib['bytes']}, {mib['share']} of one agent, for {found['age'] / _HOUR:g} h"


def _cache(found: Found) -> str:
    """Return ``12 agents, 2 groups, 40960 bytes of bodies``."""
    files = found["files"]
    text = f"{count(files.get('agents', 0), 'agent')}, {count(files.get('groups', 0), 'group')}, {found['bytes']} bytes of bodies"
    text += f"; {count(found['damaged'], 'file')} damaged" if found.get("damaged") else ""
    return f"{text}; not written: {found['problem']}" if found.get("problem") else text
