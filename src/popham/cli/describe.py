"""``popham describe``: all about one object, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from popham.cli.columns import ago, moment
from popham.cli.invocation import Invocation
from popham.cli.lazy import NounGroup
from popham.cli.show import Shown, output_option, show_object
from popham.cli.text import clean, clean_lines, pad, width
from popham.model.communication import show_duration

INDENT = "  "
TIMES = frozenset({"next_contact", "since", "first_seen", "last_contact", "certificate_until", "changed"})
"""Fields that hold a moment, in unix seconds."""
DURATIONS = frozenset({"heartbeat", "spread", "promise"})
"""Fields that hold a number of seconds."""
ORDER = {
    "agent": "name uid group kind admission presence connected sync reason wanted applied since mode fallback dialer "
    "heartbeat age last_contact next_contact first_seen address version certificate_until labels",
    "group": "name path parent agents serial version edition inherits exceptions preset labels",
    "policy": "name type revision sha256 private_to groups changed author labels",
}
"""Which fields come first, and in which order; others follow as they come."""


@click.group(cls=NounGroup)
def describe() -> None:
    """Show all about one agent, group or policy."""


@describe.command()
@click.argument("name")
@output_option("text", "json", "yaml", default="text")
@click.pass_obj
def agent(run: Invocation, name: str, form: str) -> None:
    """Show what one agent has, what it should have, and why they differ."""
    with run.client() as client:
        found = client.agent(name)
    if form != "text":
        show_object(form, found)
        return
    detail = found.get("detail") or {}
    _print({key: value for key, value in found.items() if key != "detail"}, "agent")
    _print(detail, "")
    if found.get("admission") == "new":
        click.echo(f"It waits to be accepted: popham accept agent {clean(name)}", err=True)


@describe.command()
@click.argument("name")
@output_option("text", "json", "yaml", default="text")
@click.pass_obj
def group(run: Invocation, name: str, form: str) -> None:
    """Show what holds in one group, and from which group each value comes."""
    with run.client() as client:
        found = client.group(name)
    if form != "text":
        show_object(form, found)
        return
    own = {"resolved", "communication", "policies"}
    _print({key: value for key, value in found.items() if key not in own}, "group")
    click.echo("resolved:")
    for item, value in sorted((found.get("resolved") or {}).items()):
        how = "inherited from" if value.get("inherited") else "set on"
        click.echo(
            f"{INDENT}{clean(item)}: {_inline(value.get('value'))}  ({how} {clean(value.get('group'))})"
        )


@describe.command()
@click.argument("name")
@output_option("text", "json", "yaml", default="text")
@click.pass_obj
def policy(run: Invocation, name: str, form: str) -> None:
    """Show the newest revision of one policy, and who assigns it."""
    with run.client() as client:
        found = client.policy(name)
    if form != "text":
        show_object(form, found)
        return
    _print(found, "policy")


def _print(item: Shown, noun: str) -> None:
    first = [key for key in ORDER.get(noun, "").split() if key in item]
    ordered = {key: item[key] for key in [*first, *(key for key in item if key not in first)]}
    for line in _lines(ordered, ""):
        click.echo(line)


def _lines(item: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Yield ``key: value`` for people; what is empty is left out."""
    shown = {clean(key): value for key, value in item.items() if value not in (None, "", {}, [], ())}
    size = max((width(key) for key in shown), default=0) + 1
    for key, value in shown.items():
        label = f"{indent}{pad(key.replace('_', ' ') + ':', size)}"
        if isinstance(value, Mapping):
            yield label.rstrip()
            yield from _lines(value, indent + INDENT)
        elif isinstance(value, list) and any(isinstance(entry, Mapping | list) for entry in value):
            yield label.rstrip()
            for entry in value:
                yield from _entry(entry, indent + INDENT)
        elif isinstance(value, str) and "\n" in value:
            yield label.rstrip()
            yield from (f"{indent}{INDENT}{line}" for line in clean_lines(value).split("\n"))
        else:
            yield f"{label} {_scalar(key, value)}"


def _entry(entry: Any, indent: str) -> Iterator[str]:
    if not isinstance(entry, Mapping):
        yield f"{indent}- {_inline(entry)}"
        return
    for at, line in enumerate(_lines(entry, indent + INDENT)):
        yield f"{indent}- {line[len(indent) + 2 :]}" if at == 0 else line


def _scalar(key: str, value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if key == "age":
            return ago(value)
        if key in TIMES:
            return moment(value)
        if key in DURATIONS:
            return show_duration(value)
    return _inline(value)


def _inline(value: Any) -> str:
    """Return any value on one line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{clean(key)} {_scalar(key, entry)}" for key, entry in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_inline(entry) for entry in value) or "none"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return clean(value)
