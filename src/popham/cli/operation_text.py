"""An operation as people read it: what was ordered, how far it is, what went wrong where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from popham.cli.columns import NOTHING, count, field, moment, some
from popham.cli.show import Column, Shown
from popham.cli.text import GAP, align, brief, clean
from popham.model.operation import Kind, OperationState

BAR = 24
"""Columns of a whole bar."""
SHOWN = 10
"""Targets that are named; 'popham op status -o jsonl --targets' has all."""
TELLING = frozenset({Kind.RUN, Kind.DIAGNOSE})
"""Kinds of which people want to see what came of them."""
GOOD = str(OperationState.SUCCEEDED)
BAD = tuple(str(state) for state in OperationState if state.is_over and state is not OperationState.SUCCEEDED)
OPEN = tuple(str(state) for state in OperationState if not state.is_over)
_SENDS: Mapping[str, str] = MappingProxyType({"queued": "pending", "succeeded": "applied"})
_HOLDS: Mapping[str, str] = MappingProxyType({"queued": "pending", "succeeded": "hold it"})


def state_words(operation: Shown) -> Mapping[str, str]:
    """Return state → word, where those who send policies say another one. Source: row F.Y9."""
    if operation["kind"] != Kind.SEND:
        return MappingProxyType({})
    return _HOLDS if operation["args"].get("no_apply") else _SENDS


def counts(operation: Shown) -> str:
    """Return how far it is: ``8 of 12 succeeded, 1 failed, 3 queued``."""
    words, held = state_words(operation), operation["counts"]
    total = operation["targets"]
    if not total:
        return "no targets"
    parts = [f"{held.get(GOOD, 0)} of {total} {words.get(GOOD, GOOD)}"]
    parts += [f"{held[state]} {words.get(state, state)}" for state in (*BAD, *OPEN) if held.get(state)]
    return ", ".join(parts)


def headline(operation: Shown) -> str:
    """Return one line that says all that matters; for logs."""
    return f"{clean(operation['name'])} {clean(what(operation))}: {counts(operation)}"


def what(operation: Shown) -> str:
    """Return what was ordered: ``run restart-nginx``."""
    args = operation["args"]
    said = args.get("name") or (f"serial {args['serial']}" if args.get("serial") else "")
    return f"{operation['kind']} {said}".rstrip()


def went_wrong(operation: Shown) -> bool:
    """Return whether a target did not succeed, or is not there."""
    amiss = operation["unknown"] or operation["ambiguous"]
    return bool(amiss) or any(operation["counts"].get(state) for state in BAD)


def page(
    operation: Shown, troubled: Sequence[Shown], waiting: Sequence[Shown], told: Sequence[Shown] = ()
) -> list[str]:
    """Return all about an operation, with its first targets in trouble, those waited for, and those that told."""
    return [*_head(operation), *_targets(operation, troubled, waiting, told)]


def target_columns(operation: Shown) -> Sequence[Column]:
    """Return the columns of a list of targets."""
    words = state_words(operation)
    return (
        Column("NAME", field("name")),
        Column("GROUP", field("group")),
        Column("STATE", lambda item: words.get(item["state"], item["state"])),
        Column("SINCE", lambda item: moment(item["since"])),
        Column("SAYS", reason),
        Column("WAY", field("way"), wide=True),
        Column("HEARS BY", lambda item: moment(item["until"]), wide=True),
        Column("EXPIRES", lambda item: moment(item["expires"]), wide=True),
        Column("SENT", lambda item: moment(item["sent"]), wide=True),
        Column("BEGAN", lambda item: moment(item["began"]), wide=True),
        Column("ENDED", lambda item: moment(item["ended"]), wide=True),
        Column("OUTPUT", lambda item: _output(item["output"]), wide=True),
        Column("UID", field("uid"), wide=True),
    )


OPERATIONS: Sequence[Column] = (
    Column("OPERATION", field("name")),
    Column("WHAT", what),
    Column("STATE", field("state")),
    Column("TARGETS", lambda item: str(item["targets"])),
    Column("SUCCEEDED", lambda item: str(item["counts"].get(GOOD, 0))),
    Column("OPEN", lambda item: str(sum(item["counts"].get(state, 0) for state in OPEN))),
    Column("OTHER", lambda item: str(sum(item["counts"].get(state, 0) for state in BAD))),
    Column("ORDERED", lambda item: moment(item["at"])),
    Column("AUTHOR", field("author")),
    Column("MESSAGE", field("message"), wide=True),
    Column("RETRY OF", field("retry_of"), wide=True),
    Column("NOT KNOWN", lambda item: some(item["unknown"], 3), wide=True),
)


def reason(target: Shown) -> str:
    """Return what a target says on one line, with code and next step where it failed."""
    text, code, hint = brief(target["text"]).rstrip("."), target["code"], target["hint"]
    said = f"{text} ({code})" if code and f"({code})" not in text else text
    return f"{said}. {hint}" if hint else said or NOTHING


def told(target: Shown) -> str:
    """Return what came of a target that succeeded, and how to see all of it."""
    text, output = target["text"], target["output"]
    parts = [brief(text)] if text else []
    if output is not None or "\n" in text:
        size = f"{_size(output)}: " if output is not None else ""
        parts.append(f"[{size}popham op output {target['operation']} {target['name'] or target['uid']}]")
    return " ".join(parts) or NOTHING


def _output(output: Mapping[str, Any] | None) -> str:
    if output is None:
        return NOTHING
    return _size(output) + ("" if output["kept"] else ", not here")


def _size(output: Mapping[str, Any]) -> str:
    left_out = f", {output['left_out']} left out" if output["left_out"] else ""
    return f"{output['length']} bytes{left_out}"


def _head(operation: Shown) -> Iterator[str]:
    rows = [
        ("operation", f"{clean(operation['name'])}, {clean(what(operation))}, {clean(operation['state'])}"),
        ("ordered", _ordered(operation)),
        ("targets", counts(operation)),
        ("", bar(operation)),
    ]
    if operation["unknown"]:
        rows.append(("not known", clean(some(operation["unknown"], SHOWN))))
    if operation["ambiguous"]:
        rows.append(("ambiguous", clean(some(operation["ambiguous"], SHOWN))))
    size = max(len(name) for name, _ in rows) + 1
    yield from (f"{name + ':' if name else '':<{size}} {text}" for name, text in rows)


def _ordered(operation: Shown) -> str:
    why = f": {clean(operation['message'])}" if operation["message"] else ""
    again = f", again after {clean(operation['retry_of'])}" if operation["retry_of"] else ""
    return f"{moment(operation['at'])} by {clean(operation['author'])}{again}{why}"


def bar(operation: Shown) -> str:
    """Return how much of an operation is over: ``#`` for what succeeded, ``!`` for the rest."""
    total = operation["targets"] or 1
    good = int(operation["counts"].get(GOOD, 0) * BAR / total)
    over = int(sum(operation["counts"].get(state, 0) for state in (GOOD, *BAD)) * BAR / total)
    return f"[{'#' * good}{'!' * (over - good)}{'.' * (BAR - over)}]"


def _targets(
    operation: Shown, troubled: Sequence[Shown], waiting: Sequence[Shown], told_of: Sequence[Shown]
) -> Iterator[str]:
    words = state_words(operation)
    for title, found, states in (
        ("Did not succeed:", troubled, BAD),
        ("Waited for:", waiting, OPEN),
        ("Succeeded:", told_of, (GOOD,)),
    ):
        if not found:
            continue
        yield ""
        yield title
        rows = [[clean(cell) for cell in _row(one, words)] for one in found[:SHOWN]]
        yield from (f"{GAP}{line}" for line in align(rows))
        more = sum(operation["counts"].get(state, 0) for state in states) - len(rows)
        if more > 0 and len(found) >= SHOWN:
            yield f"{GAP}and {count(more, 'other')}"


def _row(target: Shown, words: Mapping[str, str]) -> tuple[str, ...]:
    name, state = target["name"] or target["uid"], words.get(target["state"], target["state"])
    if target["state"] == GOOD:
        return name, told(target)
    if target["state"] == OperationState.RUNNING and not target["text"]:
        return name, state, f"since {moment(target['since'])}"
    if target["state"] in OPEN and not target["text"]:
        until, expires = target["until"], target["expires"]
        by = f"by {moment(until)}" if until and until <= expires else f"expires {moment(expires)}"
        return name, state, f"{target['way']}, {by}"
    return name, state, reason(target)


def dry_lines(found: Shown) -> list[str]:
    """Return the targets that something would be ordered of, and why each is one."""
    rows = [["NAME", "GROUP", "WHY", "WAY", "HEARS BY"]]
    for one in found["targets"]:
        refused = one["refusal"]
        way = f"{refused['detail']} ({refused['code']})" if refused else one["way"]
        rows.append([one["name"] or one["uid"], one["group"], one["why"], way, moment(one["until"])])
    return align([[clean(cell) for cell in row] for row in rows]) if found["targets"] else []
