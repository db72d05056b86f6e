"""A rollout as people read it: what it does, its waves with a bar each, who is in trouble."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from popham.cli.columns import NOTHING, UNITS, ago, moment, percent, share_of, some, span, state_of, wave_of
from popham.cli.show import Shown
from popham.cli.text import GAP, align, clean, pad
from popham.model.rollout import MARKS, RolloutState

BAR = 16
"""Columns of a whole bar."""
SHOWN = 10
"""Agents in trouble, changes and groups that are named; ``-o json`` has all that the Manager tells."""
OVER = frozenset(str(state) for state in RolloutState if state.is_over)


def counts(rollout: Shown) -> str:
    """Return how the cohort is doing: ``10 of 12 applied, 1 failed, 1 pending``."""
    if rollout["state"] == "held" and not rollout["cohort"]:
        return "nobody applies it"
    if not rollout["cohort"]:
        return "nobody counted yet"
    parts = [f"{rollout['applied']} of {rollout['cohort']} applied"]
    for key, words in (
        ("failed", "failed"),
        ("silent", "silent"),
        ("pending", "pending"),
        ("away", "not in contact"),
    ):
        if rollout[key]:
            parts.append(f"{rollout[key]} {words}")
    return ", ".join(parts)


def headline(rollout: Shown) -> str:
    """Return one line that says all that matters; for logs."""
    line = f"{clean(rollout['id'])} {clean(rollout['state'])}"
    if rollout["state"] in OVER:
        return line
    if rollout["state"] == "held":
        return f"{line}: {counts(rollout)}"
    soaks = (
        ", soaks"
        if rollout["state"] == "running" and rollout["waves"][rollout["wave"] - 1]["settled"]
        else ""
    )
    line += f", wave {wave_of(rollout)} ({share_of(rollout)}){soaks}: {counts(rollout)}"
    return line + (f"; {_sentence(rollout['reason'])}" if rollout["reason"] else "")


def way_out(rollout: Shown) -> str:
    """Return what may be done about a rollout that is halted."""
    name = clean(rollout["id"])
    return f"Go on: popham rollout resume {name}. Go back: popham rollout undo {name}"


def status_lines(rollout: Shown, *, now: float) -> list[str]:
    """Return all about a rollout."""
    return [*_head(rollout), "", *_waves(rollout, now), *_troubled(rollout)]


def _head(rollout: Shown) -> Iterator[str]:
    state = clean(state_of(rollout))
    reason = f": {_sentence(rollout['reason'])}" if rollout["reason"] else ""
    rows = [("rollout", f"{clean(rollout['id'])}, {state}{reason}")]
    rows.append(("changes", clean(some(rollout["changes"], SHOWN))))
    rows.append(("groups", clean(some(rollout["groups"], SHOWN))))
    why = f": {clean(rollout['message'])}" if rollout["message"] else ""
    rows.append(("begun", f"{moment(rollout['at'])} by {clean(rollout['author'])}{why}"))
    rows.append(("agents", f"{rollout['agents']}"))
    if rollout["state"] == "held":
        rows.append(("by name", counts(rollout)))
    elif rollout["state"] not in OVER:
        rows.append(("wave", f"{wave_of(rollout)}, {share_of(rollout)}: {counts(rollout)}"))
        terms = f"soaks {_whole(rollout['soak'])} in each wave; halts if {percent(rollout['halt_on'])} of it fail or fall silent"
        rows.append(("terms", terms))
    if rollout["next"]:
        rows.append(("next", _sentence(rollout["next"])))
    for key, value in rows:
        yield f"{pad(key + ':', 9)}{value}"


def _waves(rollout: Shown, now: float) -> list[str]:
    """Return the waves as a table, a bar in each line."""
    rows = [["WAVE", "SHARE", "APPLIED", "STATE", "BEGAN", *(f"{mark} %" for mark in MARKS)]]
    for number, wave in enumerate(rollout["waves"], start=1):
        rows.append(
            [
                str(number),
                percent(wave["share"]),
                bar(_done(rollout, number, wave)),
                _state(rollout, number, wave, now),
                ago(max(0.0, now - wave["began"])) if wave["began"] else NOTHING,
                *(_took(wave, mark) for mark in MARKS),
            ]
        )
    return align(rows)


def bar(done: float) -> str:
    """Return a bar for a part from 0 to 1; full only if nothing is missing, empty only if nothing is there."""
    filled = int(max(0.0, min(1.0, done)) * BAR)
    if done > 0:
        filled = max(filled, 1)
    return f"[{'#' * filled}{'.' * (BAR - filled)}]"


def _done(rollout: Shown, number: int, wave: Shown) -> float:
    """Return which part of a wave's cohort has applied."""
    if rollout["state"] == "undone" or not wave["began"]:
        return 0.0
    if number < rollout["wave"]:
        return 1.0
    return float(rollout["applied"] / rollout["cohort"]) if rollout["cohort"] else 0.0


def _state(rollout: Shown, number: int, wave: Shown, now: float) -> str:
    state = clean(rollout["state"])
    if not wave["began"]:
        return NOTHING
    if number < rollout["wave"] or (state == "promoted" and wave["settled"]):
        return "done"
    if state != "running":
        return state
    if not wave["settled"]:
        return "applying"
    left = wave["settled"] + rollout["soak"] - now
    return f"soaks, {span(left)} left" if left > 0 else "done"


def _took(wave: Shown, mark: int) -> str:
    """Return how long a part of the cohort took to apply."""
    at = wave["marks"].get(str(mark))
    return NOTHING if not at else _whole(max(0.0, at - wave["began"]))


def _whole(seconds: float) -> str:
    """Return a duration in its two largest units: ``1m30s``, ``2h``."""
    left, parts = round(seconds), []
    for unit, length in UNITS:
        if left >= length:
            parts.append(f"{left // length}{unit}")
            left %= length
    return "".join(parts[:2]) or "0s"


def _troubled(rollout: Shown) -> Iterator[str]:
    for title, key, total in (
        ("First that failed or fell silent:", "errors", rollout["failed"] + rollout["silent"]),
        ("Waited for:", "stuck", rollout["pending"] + rollout["away"]),
    ):
        found: Sequence[Mapping[str, Any]] = rollout[key]
        if not found:
            continue
        yield ""
        yield title
        rows = [[clean(one["name"] or one["uid"]), clean(one["group"]), _why(one)] for one in found[:SHOWN]]
        yield from (f"{GAP}{line}" for line in align(rows))
        if max(total, len(found)) > len(rows):
            yield f"{GAP}and {max(total, len(found)) - len(rows)} more"


def _why(one: Mapping[str, Any]) -> str:
    reason, code = _sentence(one["reason"]), clean(one["code"])
    # What an agent says of a failure names the code already.
    return f"{reason} ({code})" if "." in code and f"({code})" not in reason else reason


def _sentence(text: str) -> str:
    return clean(text).rstrip(".")
