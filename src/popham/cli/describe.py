"""``popham describe``: all about one object, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from popham.cli.columns import ago, count, moment, percent, state_of
from popham.cli.invocation import Invocation
from popham.cli.lazy import NounGroup
from popham.cli.proxy_columns import cache, path_table, spool
from popham.cli.show import Shown, output_option, show_object
from popham.cli.text import align, brief, clean, clean_lines, pad, width
from popham.model.communication import show_duration
from popham.model.managed import SOURCE

INDENT = "  "
_DAY = 86400.0
TIMES = frozenset(
    {"next_contact", "since", "location_since", "first_seen", "last_contact", "certificate_until", "changed"}
    | {"watched_until", "last", "next"}
)
"""Fields that hold a moment, in unix seconds."""
DURATIONS = frozenset({"heartbeat", "spread", "promise", "age_bound", "interval"})
"""Fields that hold a number of seconds."""
LIFTED = ("proxy_away", "ordered", "unvisited", "withheld", "labels_of_operators", "labels_of_agent")
"""Details of an agent that belong beside what they explain."""
ORDER = {
    "agent": "name uid group kind admission presence link sync reason wanted applied since via proxy_away vouched_by behind rollout withheld "
    "drifted not_put_back last_drift watched_until collection mode ordered fallback "
    "unvisited dialer heartbeat service visit location rules location_since age age_bound clock_skew last_contact next_contact first_seen address version "
    "certificate_until labels labels_of_operators labels_of_agent",
    "group": "name path parent managed_by agents serial version edition minimum_serial inherits exceptions preset labels annotations",
    "proxy": "name state uid managed_by groups members names port custody agents spool cache visits via path version behind mode "
    "dialer address age age_bound last_contact certificate_until changed edition annotations status",
    "policy": "name type revision sha256 private_to managed_by groups changed author labels annotations",
}
"""Which fields come first, and in which order; others follow as they come."""


@click.group(cls=NounGroup)
def describe() -> None:
    """Show all about one agent, group, policy or proxy."""


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
    detail = dict(found.get("detail") or {})
    head = {key: value for key, value in found.items() if key not in {"connected", "detail"}}
    head["link"] = "connected" if found.get("connected") else "none"
    head |= {key: detail.pop(key) for key in LIFTED if key in detail}
    if head.get("visit"):
        head["visit"] = visit_lines(head["visit"])
    detail.pop("unvisited_step", "")
    detail.pop("proxy_away_name", "")
    if found.get("kind") == "stock" and found.get("via"):
        # It signs nothing: whatever is said of it is the word of the proxy that it is at.
        head["vouched_by"] = found["via"][-1]
    _print(head | agent_lines(detail, run.now()), "agent")
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
    own = {"resolved", "communication", "policies", "locations", "values", "within"}
    own |= set() if found.get("minimum_serial") else {"minimum_serial"}
    _print(with_keeper({key: value for key, value in found.items() if key not in own}), "group")
    click.echo("resolved:")
    _print_resolved(found.get("resolved") or {})
    for location, items in sorted((found.get("within") or {}).items()):
        click.echo(f"in location {clean(location)}:")
        _print_resolved(items)


def agent_lines(detail: dict[str, Any], now: float) -> dict[str, Any]:
    """Take what an agent's detail says of rollout, drift and health window; return it as people read it."""
    said: dict[str, Any] = {}
    rollout, state = detail.pop("rollout", ""), detail.pop("rollout_state", "")
    wave, waves, share = detail.pop("wave", 0), detail.pop("waves", 0), detail.pop("share", 0.0)
    serial = detail.pop("rollout_serial", 0)
    since, by = detail.pop("rollout_since", 0.0), detail.pop("rollout_by", "")
    state = state_of({"state": state, "since": since, "by": by})
    side = (
        f"is to have serial {serial}"
        if detail.pop("is_candidate", False)
        else "keeps the old content for now"
    )
    named, candidate = detail.pop("is_named", False), detail.pop("candidate", "")
    error = detail.pop("candidate_error", "")
    if rollout and named:
        said["rollout"] = f"{rollout}, {state}: this agent {side}, by name"
    elif rollout and state.startswith("held"):
        holds = "holds it" if candidate else "does not hold it yet"
        said["rollout"] = (
            f"{rollout}, {state}: this agent {side}, and {f'cannot hold it: {error}' if error else holds}"
        )
    elif rollout:
        # A small group may have no part in the first wave.
        part = f" ({percent(share)})" if share else ""
        said["rollout"] = f"{rollout}, {state}, wave {wave} of {waves}{part}: this agent {side}"
    said["drifted"] = detail.pop("drifted", ())
    said["not_put_back"] = detail.pop("drift_error", "")
    path, at, times = detail.pop("drift_path", ""), detail.pop("drift_at", 0.0), detail.pop("put_back", 0)
    if at:
        today = int(at // _DAY) == int(now // _DAY)
        said["last_drift"] = (
            f"{path}, {moment(at)}; put back {_times(times)} {'today' if today else 'that day'}"
        )
    paused = detail.pop("collection_paused", 0.0)
    if paused:
        said["collection"] = f"paused since {moment(paused)}"
    skew = detail.pop("clock_skew", None)
    if skew is not None:
        said["clock_skew"] = f"{abs(skew):.1f}s {'ahead of' if skew >= 0 else 'behind'} the Manager's clock"
    if detail.get("path"):
        detail["path"] = path_table(detail["path"])
    if detail.get("operations"):
        detail["operations"] = operation_table(detail["operations"])
    until = detail.pop("watched_until", 0.0)
    if until > now:
        said["watched_until"] = until
    return said


def operation_table(found: Sequence[Shown]) -> str:
    """Return the last operations of an agent, a line each."""
    rows = [["OPERATION", "KIND", "STATE", "SINCE", "SAYS"]]
    for one in found:
        text, code = brief(one["text"]), one["code"]
        said = f"{text} ({code})" if code else text
        rows.append([one["operation"], one["kind"], one["state"], moment(one["since"]), said])
    return "\n".join(align([[clean(cell) for cell in row] for row in rows]))


def visit_lines(visit: Mapping[str, Any]) -> dict[str, Any]:
    """Return how an agent is visited as people read it: what failed only where something did."""
    said = {
        key: value
        for key, value in visit.items()
        if key not in {"since", "failures", "problem", "hint", "code"}
    }
    if visit.get("code"):
        why = f"{visit.get('problem')} ({visit['code']})"
        if visit.get("failures"):
            times = count(int(visit["failures"]), "time")
            said["fails"] = f"since {moment(visit.get('since'))}, {times}: {why}"
        else:
            said["no_link"] = f"visited in its place: {why}"
        said["hint"] = visit.get("hint")
    return said


def _times(number: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")


def with_keeper(item: Shown) -> Shown:
    """Return an object with the source in which it is managed, if there is one."""
    source = (item.get("annotations") or {}).get(SOURCE)
    return {**item, "managed_by": source} if source else item


def _print_resolved(items: Mapping[str, Any]) -> None:
    for item, value in sorted(items.items()):
        how = "inherited from" if value.get("inherited") else "set on"
        held = value.get("value")
        listed = item == "locations" and isinstance(held, Mapping)
        what = "" if listed else f" {_inline(held)} "
        click.echo(f"{INDENT}{clean(item)}:{what} ({how} {clean(value.get('group'))})")
        for line in _locations(held) if listed else ():
            click.echo(f"{INDENT}{INDENT}{line}")


def _locations(rules: Mapping[str, Any]) -> Iterator[str]:
    """Yield each location with its weight and criteria, and how often agents look."""
    for one in rules.get("locations", ()):
        name = clean(one.get("name"))
        if one.get("when"):
            yield f"{name}: weight {_inline(one.get('weight', 0))}, when {_criteria(one['when'])}"
        else:
            yield f"{name}: where no other holds"
    yield f"looked at every {show_duration(rules.get('check', 0))}, and when the network changes"


def _criteria(when: Mapping[str, Any]) -> str:
    """Return criteria in words: ``dns_suffix corp.example and (address 10.0.0.0/8 or address fd00::/8)``."""
    words = []
    for key, value in when.items():
        if key in {"all", "any"}:
            parts = [_criteria(part) for part in value]
            joined = (" and " if key == "all" else " or ").join(parts)
            words.append(f"({joined})" if key == "any" and len(parts) > 1 else joined)
        elif key == "not":
            inner = _criteria(value)
            words.append(f"not ({inner})" if " and " in inner else f"not {inner}")
        else:
            words.append(f"{clean(key)} {_inline(value)}")
    return " and ".join(words)


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
    _print(with_keeper(found), "policy")


@describe.command()
@click.argument("name")
@output_option("text", "json", "yaml", default="text")
@click.pass_obj
def proxy(run: Invocation, name: str, form: str) -> None:
    """Show one Proxy Manager: whom it speaks for, the path to it, and what waits there."""
    with run.client() as client:
        found = client.proxy(name)
    if form != "text":
        show_object(form, found)
        return
    _print(
        with_keeper(
            {
                **found,
                "spool": spool(found),
                "cache": cache(found),
                "path": path_table(found.get("path") or ()),
            }
        ),
        "proxy",
    )
    if found.get("state") == "new":
        click.echo(f"It waits to be accepted: popham accept agent {clean(name)}", err=True)
    elif found.get("state") == "not enrolled":
        click.echo(f"It has no machine yet: popham token create --proxy {clean(name)}", err=True)


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
