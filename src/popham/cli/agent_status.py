"""``popham agent status``: what this machine has, from whom, and what it waits for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import click

from popham.cli.columns import ago, count, moment, pairs, some, span
from popham.cli.exits import FAILED
from popham.cli.invocation import Invocation
from popham.cli.machine import Machine, choosing, in_words
from popham.cli.text import brief, clean
from popham.model.communication import show_duration

Found = Mapping[str, Any]
Rows = list[tuple[str, str]]
_DIGITS = 12
"""Digits of a digest that are shown to people."""
_NAMES = 8
_LINKS: Final = MappingProxyType(
    {"held": ", link held", "rounds": ", by rounds", "visits": ", by visits", "none": ", no link now"}
)


@click.command()
@choosing
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def status(run: Invocation, config: Path | None, state: str | None, output: str) -> int:
    """Say what this machine has, from whom, and what it waits for; also with the Manager away."""
    from popham.agent.stopped import look

    machine = Machine(run, config, state, None)
    found = asyncio.run(look(machine.settings()))
    if output == "json":
        click.echo(json.dumps(found, indent=2, sort_keys=True))
    else:
        for line in render(found, run.now(), machine.named, word=machine.word):
            click.echo(line)
    return 0 if found["running"] and not found.get("error") and not found.get("problem") else FAILED


def render(
    found: Found, now: float, named: str = "", *, word: str = "agent", below: Sequence[tuple[str, str]] = ()
) -> list[str]:
    """Return the lines that people read.

    Args:
        found: As :meth:`popham.agent.status.Status.describe` and :func:`popham.agent.stopped.look` give it.
        now: Wall time.
        named: `` --config FILE`` for the commands of the next step; empty for the default.
        word: What it is: ``agent`` or ``proxy``.
        below: What else it is asked for, behind the way to its upstream.
    """
    rows = [
        (word, _process(found)),
        ("uid", found["uid"] or "none"),
        ("admission", found["admission"]),
        ("upstream", _upstream(found)),
        *_moved_rows(found, now),
        *_way_rows(found, now),
        *below,
        *_bundle_rows(found),
        *_watch_rows(found, now),
        *_waiting_rows(found),
        *_stream_rows(found, now),
    ]
    if found.get("problem"):
        rows.append(("problem", found["problem"]))
    elif not found["running"] and found.get("last_problem"):
        rows.append(("last problem", f"{found['last_problem']} ({moment(found['last_problem_at'])})"))
    if found.get("text"):
        rows.append(("text", found["text"]))
    step = _step(found, named, word)
    if step:
        rows.append(("next", in_words(step, word)))
    return [f"{name + ':':<16}{clean(value)}" for name, value in rows]


def _process(found: Found) -> str:
    if found["running"]:
        since = found.get("running_since")
        return f"running since {moment(since)}" if since else "running"
    if found.get("held_by"):
        return f"does not answer (process {found['held_by']})"
    if found.get("stopped_since"):
        return f"stopped since {moment(found['stopped_since'])}"
    if found.get("last_sign"):
        return f"stopped, and not in order; the last sign of it is of {moment(found['last_sign'])}"
    return "stopped"


def _upstream(found: Found) -> str:
    """Return the servers in the order in which they are dialled, which one is in use, and who answered last."""
    servers, server, answered = list(found["servers"]), found.get("server"), found.get("answered_by")
    text = ", ".join(servers) or "none"
    if len(servers) > 1 and server:
        text = f"{server}, of {text}"
    if answered and answered != server and (not server or len(servers) > 1):
        text += f"; {answered} answered last" if servers != [answered] else ""
    return text


def _moved_rows(found: Found, now: float) -> Rows:
    """Return from which server to which one the agent went last, when, and why."""
    moved = found.get("moved")
    if not moved:
        return []
    return [
        ("moved", f"{ago(now - moved['at'])} from {moved['left']} to {moved['taken']}: {brief(moved['why'])}")
    ]


# Which way, and when.


def _way_rows(found: Found, now: float) -> Rows:
    ordered = found.get("ordered")
    rows: Rows = []
    if found.get("mode"):
        how = _LINKS.get(found.get("link", ""), "")
        rows.append(("way", f"{found['mode']}, dialled by the {found.get('dialer', 'agent')}{how}"))
        if ordered and (ordered["mode"], ordered["dialer"]) != (found["mode"], found.get("dialer")):
            rows.append(("ordered", _ordered(ordered)))
    elif ordered:
        rows.append(("way", _ordered(ordered)))
    rows += _link_rows(found, now)
    if found["running"] or found.get("last_contact"):
        rows.append(("last contact", _when(found.get("last_contact"), now)))
    if found["running"]:
        service = found.get("service") or {}
        rows += [
            ("next contact", _when(found.get("next_contact"), now)),
            ("service", service.get("address") or "off"),
        ]
        if service.get("visitor"):
            rows.append(("last visit", _when(service["visitor"]["at"], now)))
    return rows


def _ordered(ordered: Found) -> str:
    by_time = ", and another at some times or on a metered network" if ordered.get("by_time") else ""
    every = show_duration(ordered["heartbeat"])
    return f"{ordered['mode']}, dialled by the {ordered['dialer']}, heartbeat {every}{by_time}"


def _link_rows(found: Found, now: float) -> Rows:
    """Return why the agent has another way, or keeps other times, than those that were ordered."""
    rows: Rows = []
    if found.get("metered"):
        rows.append(("network", "metered"))
    if found.get("why") and "link_again" in found:
        every, again = show_duration(found["promise"]), _when(found["link_again"], now)
        rows.append(("held link", f"{found['why']}; pulls every {every}; tries again {again}"))
    elif found.get("why"):
        rows.append(("why", found["why"]))
    if found.get("stretch"):
        rows.append(("heartbeat", f"later by {found['stretch']:.0f} s: the Manager has too much to do"))
    return rows


def _when(at: float | None, now: float) -> str:
    if at is None:
        return "unknown"
    return f"in {span(at - now)}" if at - now >= 1 else ago(now - at)


# What it has.


def _bundle_rows(found: Found) -> Rows:
    rows: Rows = []
    if found["running"] or found.get("group"):
        newest = str(found.get("serial", 0))
        if found.get("content_digest"):
            newest += f", version {found['version']}, digest {found['content_digest'][:_DIGITS]}"
        rows += [("group", found.get("group") or "none"), ("newest serial", newest)]
    if found.get("location"):
        rows.append(("location", _location(found)))
    if found.get("location_unseen"):
        rows.append(("not looked at", ", ".join(found["location_unseen"])))
    since = found.get("since")
    outcome = f"{found['outcome']} since {moment(since)}" if since else found["outcome"]
    rows += [("applied serial", str(found["applied_serial"])), ("outcome", outcome)]
    if found.get("error"):
        rows.append(("error", found["error"]))
    return rows


def _location(found: Found) -> str:
    """Return where the machine is, since when and why: ``office since …, because address 10.0.0.0/8``."""
    since, rules = found.get("location_since"), found.get("location_rules")
    text = str(found["location"])
    if since:
        text += f" since {moment(since)}"
    return f"{text}, because {' and '.join(rules)}" if rules else text


def _watch_rows(found: Found, now: float) -> Rows:
    """Return what is watched, withheld, undone, drifted and left over, as far as there is any."""
    rows: Rows = []
    if found.get("watched_until"):
        rows.append(("watched", f"until {moment(found['watched_until'])}"))
    if found.get("withheld"):
        rows.append(("withheld", ", ".join(found["withheld"])))
    for one in found.get("undone", ()):
        again = ", and it was tried again" if one["tried_again"] else ""
        # What it says names serial and code already, and is not said twice.
        said = "" if one["error"] == found.get("error") else f": {one['error']}"
        rows.append(("undone", f"serial {one['serial']} {ago(now - one['at'])}{again}{said}"))
    if found.get("drifted"):
        rows.append(("drifted", ", ".join(found["drifted"])))
        if found.get("drift_error"):
            rows.append(("not put back", found["drift_error"]))
    if found.get("put_back"):
        times = "once" if found["put_back"] == 1 else f"{found['put_back']} times"
        last = f"{found['drift_path']} at {moment(found['drift_at'])}"
        rows.append(("put back", f"last {last}; {times} on that day"))
    if found.get("left"):
        rows.append(("left over", ", ".join(found["left"])))
    return rows


def _waiting_rows(found: Found) -> Rows:
    """Return what is still to come, or to be done."""
    rows: Rows = []
    if found.get("lacking"):
        rows.append(("downloads", f"still to come: {some(found['lacking'], _NAMES)}"))
    for one in found.get("operations") or ():
        text = f"{one['operation']} {one['kind']}, {one['state']} since {moment(one['since'])}"
        rows.append(("operation", f"{text}: {brief(one['text'])}" if one.get("text") else text))
    if found.get("candidate"):
        named = f"serial {found['candidate_serial']}, digest {found['candidate'][:_DIGITS]}"
        held = f"held, {named}, until somebody says 'popham op apply'"
        rows.append(("candidate", held))
    elif found.get("candidate_error"):
        text = f"serial {found['candidate_serial']} cannot be held: {found['candidate_error']}"
        rows.append(("candidate", text))
    if found.get("collection_paused"):
        rows.append(("collection", f"paused since {moment(found['collection_paused'])}"))
    return rows


# What waits to be sent.


def _stream_rows(found: Found, now: float) -> Rows:
    """Return how much waits in each stream, up to where it was sent, and what was lost by which cause."""
    return [(name, _stream(one, now)) for name, one in (found.get("streams") or {}).items()]


def _stream(one: Found, now: float) -> str:
    text = f"sent up to {one['sent']}"
    if one["waiting"]:
        oldest = f", the oldest of {ago(now - one['oldest'])}" if one.get("oldest") else ""
        text = f"{count(one['waiting'], 'record')} ({one['bytes']} bytes) to be sent{oldest}; {text}"
    lost = {cause: number for cause, number in one["lost"].items() if number}
    text += f"; lost: {pairs(lost)}" if lost else ""
    return f"{text}; not sent: {one['problem']}" if one.get("problem") else text


# What to do.


def _step(found: Found, named: str, word: str) -> str:  # noqa: PLR0911 - one return per kind of trouble
    """Return what to do next; empty if nothing is wrong."""
    doctor = f"popham {word} doctor{named}"
    if found.get("held_by"):
        return f"Look at its log, and start it again; {doctor} tries the rest"
    if found["admission"] == "not enrolled":
        return f"popham {word} enroll{named} JOIN, with what 'popham token create' printed at the Manager"
    if not found["running"]:
        return f"popham {word} run{named}, or systemctl start popham-{word}; {doctor} tries the way"
    if found["admission"] == "waiting" and not found.get("walled"):
        return f"At the Manager: popham accept agent {found['uid']}; if it never asked there: {doctor}"
    if found.get("problem"):
        return f"{doctor} tries each part of the way, and says which one fails"
    if found.get("error"):
        return (
            f"Correct the policy at the Manager, or here what it needs; then: popham {word} check-in{named}"
        )
    service = found.get("service") or {}
    if service.get("problem"):
        return str(service["next"])
    return ""
