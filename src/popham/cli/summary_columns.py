"""The columns of the summary window, for people and for sheets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from popham.cli.columns import NOTHING, field, mode, moment, number, percent, span
from popham.cli.data_columns import size
from popham.cli.show import Column, Shown
from popham.manager.summary.items import CPU, FILESYSTEM, LOAD, MEMORY, NETWORK
from popham.model.communication import show_duration

ITEMS: Mapping[str, str] = {
    "cpu": CPU,
    "memory": MEMORY,
    "filesystem": FILESYSTEM,
    "load": LOAD,
    "network": NETWORK,
}
"""Key metric → the item whose alerts are about it."""
STREAMS = ("events", "summary", "metrics", "logs")


def _share(value: float) -> str:
    return percent(round(value, 3))


def _load(value: float) -> str:
    return f"{value:.2f}"


def _rate(value: float) -> str:
    return f"{size(value)}/s"


_FORMS: Mapping[str, Callable[[float], str]] = {
    "cpu": _share,
    "memory": _share,
    "filesystem": _share,
    "load": _load,
    "network": _rate,
}


def _metric(key: str) -> Callable[[Shown], str]:
    """Return a cell with a key metric, and the state of its alert: ``93 % error``."""

    def cell(item: Shown) -> str:
        value, state = item.get(key), (item.get("states") or {}).get(ITEMS[key])
        shown = NOTHING if value is None else _FORMS[key](value)
        return f"{shown} {state}" if state else shown

    return cell


def _most(key: str) -> Callable[[Shown], str]:
    """Return a cell with the most and the mean of a key metric over a group: ``93 % / 41.5 %``."""

    def cell(item: Shown) -> str:
        found = item["metrics"].get(key)
        return f"{_FORMS[key](found['max'])} / {_FORMS[key](found['mean'])}" if found else NOTHING

    return cell


def _age(item: Shown) -> str:
    """Return how old what is shown is, and how it comes in where that is not in time."""
    age = NOTHING if item["age"] is None else span(item["age"])
    if item["flow"] == "in time":
        return age
    return item["flow"] if item["age"] is None else f"{age} {item['flow']}"


def _bound(item: Shown) -> str:
    return NOTHING if item["bound"] is None else show_duration(round(item["bound"]))


def total(counts: Mapping[str, int]) -> int:
    """Return the sum of counts."""
    return sum(counts.values())


def _worst(states: Mapping[str, str]) -> str:
    """Return ``2 error``, ``1 warning`` or both."""
    found = {state: sum(one == state for one in states.values()) for state in ("error", "warning")}
    return ", ".join(f"{count} {state}" for state, count in found.items() if count) or NOTHING


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items()) or NOTHING


def _skew(item: Shown) -> str:
    # Minus nothing is plus nothing.
    return NOTHING if item["skew"] is None else f"{round(item['skew'], 1) + 0.0:+.1f}s"


SUMMARY: Sequence[Column] = (
    Column("NAME", field("name")),
    Column("GROUP", field("group")),
    Column("PRESENCE", field("presence")),
    Column("SYNC", field("sync")),
    Column("WANTED", field("wanted")),
    Column("APPLIED", field("applied")),
    Column("MODE", mode),
    Column("CPU", _metric("cpu")),
    Column("MEMORY", _metric("memory")),
    Column("FULLEST", _metric("filesystem")),
    Column("LOAD", _metric("load")),
    Column("NETWORK", _metric("network")),
    Column("ALERTS", lambda item: _worst(item["states"])),
    Column("AGE", _age),
    Column("BOUND", _bound),
    Column("WAITING", lambda item: str(total(item["waiting"]))),
    Column("LOST", lambda item: str(total(item["lost"]))),
    Column("SKEW", _skew),
    Column("LAST CONTACT", lambda item: moment(item["last_contact"]), wide=True),
    Column("LINK", lambda item: "connected" if item["connected"] else NOTHING, wide=True),
    Column("DIALER", field("dialer"), wide=True),
    Column("SERVER", field("server"), wide=True),
    Column("FILESYSTEM", field("mount"), wide=True),
    Column("LOST BY", lambda item: _counted(item["lost"]), wide=True),
    Column("UID", field("uid"), wide=True),
)

GROUP_SUMMARY: Sequence[Column] = (
    Column("NAME", field("name")),
    Column("AGENTS", number("agents")),
    Column("PRESENCE", lambda item: _counted(item["presence"])),
    Column("SYNC", lambda item: _counted(item["sync"])),
    Column("CPU", _most("cpu")),
    Column("MEMORY", _most("memory")),
    Column("FULLEST", _most("filesystem")),
    Column("LOAD", _most("load")),
    Column("NETWORK", _most("network")),
    Column("ALERTS", lambda item: _counted(item["alerts"])),
    Column("OLDEST", lambda item: NOTHING if item["oldest"] is None else span(item["oldest"])),
    Column("WAITING", number("waiting")),
    Column("LOST", lambda item: str(total(item["lost"]))),
    Column("LOST BY", lambda item: _counted(item["lost"]), wide=True),
)

VALUES: Sequence[Column] = (
    Column("ITEM", field("item")),
    Column("RESOURCE", field("resource")),
    Column("VALUE", lambda item: f"{item['value']:g}"),
    Column("UNIT", field("unit")),
    Column("AT", lambda item: moment(item["at"])),
)

ROLLED: Sequence[Column] = (
    Column("AT", lambda item: moment(item["at"])),
    Column("ITEM", field("item")),
    Column("RESOURCE", field("resource")),
    Column("MIN", lambda item: _whole(item, "min")),
    Column("MAX", lambda item: _whole(item, "max")),
    Column("MEAN", lambda item: _whole(item, "mean")),
    Column("SAMPLES", number("count")),
    Column("SHARE", lambda item: percent(round(item["share"], 2))),
)


def _whole(item: Shown, key: str) -> str:
    """Return a value of a window; nothing if too few samples came for it to stand for that."""
    return f"{item[key]:g}" if item["whole"] else NOTHING


def _plain(key: str) -> Callable[[Shown], Any]:
    return lambda item: item[key]


def _of(key: str, part: str) -> Callable[[Shown], Any]:
    return lambda item: item[key].get(part)


def _over(key: str, part: str) -> Callable[[Shown], Any]:
    return lambda item: (item["metrics"].get(key) or {}).get(part)


_AGENT = (
    *("name", "uid", "group", "presence", "connected", "last_contact", "mode", "dialer", "server", "sync"),
    *("wanted", "applied", "flow", "interval", "at", "age", "bound"),
    *("cpu", "memory", "filesystem", "mount", "load", "network", "skew"),
)
SUMMARY_SHEET: Mapping[str, Callable[[Shown], Any]] = {
    **{key: _plain(key) for key in _AGENT},
    "alerts": lambda item: len(item["states"]),
    **{f"waiting_{stream}": _of("waiting", stream) for stream in STREAMS},
    "lost": lambda item: total(item["lost"]),
}
"""Title → what stands below it, as it is: times in unix seconds, shares 0 to 1."""
GROUP_SHEET: Mapping[str, Callable[[Shown], Any]] = {
    "name": _plain("name"),
    "agents": _plain("agents"),
    **{
        word.replace(" ", "_"): _of("presence", word)
        for word in ("on time", "overdue", "missing", "never seen")
    },
    **{
        word.replace(" ", "_"): _of("sync", word)
        for word in ("in sync", "pending", "failed", "drifted", "cannot take it")
    },
    **{f"{key}_{part}": _over(key, part) for key in ITEMS for part in ("max", "mean")},
    "oldest": _plain("oldest"),
    "waiting": _plain("waiting"),
    "lost": lambda item: total(item["lost"]),
}
ROLLED_SHEET: Mapping[str, Callable[[Shown], Any]] = {
    key: _plain(key) for key in ("at", "item", "resource", "min", "max", "mean", "count", "share", "whole")
}
