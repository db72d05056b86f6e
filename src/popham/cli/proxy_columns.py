"""The columns of Proxy Managers, and the hops of a path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from popham.cli.columns import NOTHING, ago, count, field, moment, number, pairs, some
from popham.cli.show import Column, Shown
from popham.cli.text import align, clean
from popham.model.communication import show_duration
from popham.model.managed import SOURCE

_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def spool(item: Shown) -> str:
    """Return how much waits at a proxy, of all streams: ``12 records, 4 KiB``; ``-`` for nothing."""
    held: Mapping[str, Mapping[str, Any]] = item.get("spool") or {}
    records, waiting = (sum(int(one.get(key) or 0) for one in held.values()) for key in ("records", "bytes"))
    return f"{records} records, {size(waiting)}" if records else NOTHING


def cache(item: Shown) -> str:
    """Return how what a proxy keeps for its agents stands: ``4 KiB``, and what is wrong with it."""
    held: Mapping[str, Any] = item.get("cache") or {}
    parts = [size(int(held["bytes"]))] if "bytes" in held else []
    parts += [f"{count(int(held['damaged']), 'file')} damaged"] if held.get("damaged") else []
    parts += [f"not written: {held['problem']}"] if held.get("problem") else []
    return ", ".join(parts) or NOTHING


def size(length: int) -> str:
    """Return bytes in the largest unit of which there is one."""
    unit = next(((divisor, name) for divisor, name in _UNITS if length >= divisor), None)
    return f"{length // unit[0]} {unit[1]}" if unit else f"{length} B"


def path_table(path: Sequence[Mapping[str, Any]]) -> str:
    """Return each hop of a path, a line each; a hop of which nothing is known has ``-``."""
    rows = [["FROM", "TO", "WHO DIALS", "MODE", "HEARTBEAT", "AGE BOUND"]]
    for hop in path:
        times = [show_duration(hop[key]) for key in ("heartbeat", "age_bound")]
        rows.append([str(hop.get(key) or NOTHING) for key in ("from", "to", "dials", "mode")] + times)
    if len(path) > 1:
        whole = [show_duration(sum(hop[key] for hop in path)) for key in ("heartbeat", "age_bound")]
        rows.append([str(path[0]["from"]), str(path[-1]["to"]), "together", NOTHING, *whole])
    return "\n".join(align([[clean(cell) for cell in row] for row in rows]))


PROXIES: Sequence[Column] = (
    Column("NAME", field("name")),
    Column("STATE", field("state")),
    Column("GROUPS", lambda item: some(item.get("groups") or (), 4)),
    Column("AGENTS", number("agents")),
    Column("SPOOL", spool),
    Column("CACHE", cache),
    Column("VERSION", field("version")),
    Column("AGE", lambda item: ago(item.get("age"))),
    Column("GIVEN AGENTS", lambda item: some(item.get("members") or (), 4), wide=True),
    Column("VIA", lambda item: ",".join(item.get("via") or ()) or NOTHING, wide=True),
    Column("NAMES", lambda item: some(item.get("names") or (), 2), wide=True),
    Column("PORT", number("port"), wide=True),
    Column("CUSTODY", lambda item: pairs(item.get("custody") or {}), wide=True),
    Column("MODE", field("mode"), wide=True),
    Column("DIALER", field("dialer"), wide=True),
    Column("BEHIND", field("behind"), wide=True),
    Column("UID", field("uid"), wide=True),
    Column("CHANGED", lambda item: moment(item.get("changed")), wide=True),
    Column("MANAGED BY", lambda item: str((item.get("annotations") or {}).get(SOURCE) or NOTHING), wide=True),
)
