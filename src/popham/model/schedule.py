"""Other settings at some times of day, and on metered links.

Times are the machine's own local time: an office hour is where the machine is.

Rules:

1. The first period that holds counts, in the order written; a metered link counts over it.
2. What an override does not name stays as the settings say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from popham.errors import DefinitionError
from popham.model.cell import Dialer, Mode, read_cell
from popham.model.duration import parse_duration, show_duration
from popham.model.keys import check_keys
from popham.model.lines import line_of
from popham.model.names import show

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""In the order of ``datetime.weekday()``."""
PERIODS_MAX = 16
_DAY = 24 * 60
_TIME = re.compile(r"([0-9]{1,2}):([0-5][0-9])")
_DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Values that hold instead of the settings' own; None leaves one as it is."""

    mode: Mode | None = None
    dialer: Dialer | None = None
    heartbeat: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what is named, as it stands in a bundle."""
        named = {"mode": self.mode and str(self.mode), "dialer": self.dialer and str(self.dialer)}
        return {key: value for key, value in (*named.items(), ("heartbeat", self.heartbeat)) if value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Override:
        """Return the override of a bundle."""
        return cls(
            mode=Mode(data["mode"]) if "mode" in data else None,
            dialer=Dialer(data["dialer"]) if "dialer" in data else None,
            heartbeat=float(data["heartbeat"]) if "heartbeat" in data else None,
        )

    def describe(self) -> str:
        """Return it in words: ``pull, heartbeat 1h``."""
        beat = f"heartbeat {show_duration(self.heartbeat)}" if self.heartbeat else ""
        return ", ".join(str(word) for word in (self.mode, self.dialer, beat) if word)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A time of day, on some days of the week.

    Attributes:
        days: Days on which it begins, 0 for Monday.
        begin, end: Minutes after midnight; an ``end`` that is not later is on the next day.
        override: What holds then.
    """

    days: tuple[int, ...]
    begin: int
    end: int
    override: Override

    def holds(self, weekday: int, minute: int) -> bool:
        """Return whether ``minute`` of the day ``weekday`` (0 for Monday) is in it."""
        if self.begin < self.end:
            return weekday in self.days and self.begin <= minute < self.end
        late = weekday in self.days and minute >= self.begin
        early = (weekday - 1) % 7 in self.days and minute < self.end
        return late or early

    def as_dict(self) -> dict[str, Any]:
        """Return the period as it stands in a bundle."""
        return {"days": list(self.days), "begin": self.begin, "end": self.end, **self.override.as_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Period:
        """Return the period of a bundle."""
        days = tuple(int(day) for day in data["days"])
        return cls(
            days=days, begin=int(data["begin"]), end=int(data["end"]), override=Override.from_dict(data)
        )

    def describe(self) -> str:
        """Return it in words: ``mon,tue 08:00-18:00: pull``."""
        days = "daily" if len(self.days) == len(DAYS) else ",".join(DAYS[day] for day in self.days)
        return f"{days} {_show_minute(self.begin)}-{_show_minute(self.end)}: {self.override.describe()}"


def read_override(spec: object, setting: str) -> Override:
    """Return what people wrote under ``metered``, or in a period beside its times.

    Raises:
        DefinitionError: It is no mapping, has a key nobody knows, or names nothing.
    """
    if not isinstance(spec, Mapping):
        raise DefinitionError("form", f"{setting}: {show(spec)} is no mapping", "Write 'mode: pull' below it")
    check_keys(spec, ("preset", "mode", "dialer", "heartbeat"), setting)
    mode, dialer = read_cell(spec, Mode.PUSH, Dialer.AGENT)
    says_mode, says_dialer = {"preset", "mode"} & set(spec), {"preset", "dialer"} & set(spec)
    beat = parse_duration(spec["heartbeat"], f"{setting}.heartbeat") if "heartbeat" in spec else None
    found = Override(mode=mode if says_mode else None, dialer=dialer if says_dialer else None, heartbeat=beat)
    if found == Override():
        problem = f"{setting}: it names nothing that would differ"
        raise DefinitionError("schedule", problem, "Name a mode or a heartbeat", line=line_of(spec))
    return found


def read_periods(spec: object) -> tuple[Period, ...]:
    """Return what people wrote under ``times``.

    Each item has ``from`` and ``to`` as ``08:00``, ``days`` (``mon-fri``, ``sat,sun``; all days if it is
    left out), and what holds then.

    Raises:
        DefinitionError: It is no list of periods.
    """
    if not isinstance(spec, Sequence) or isinstance(spec, str) or len(spec) > PERIODS_MAX:
        problem = f"times: {show(spec)} is no list of at most {PERIODS_MAX} periods"
        raise DefinitionError("schedule", problem, "Write '- {from: 08:00, to: 18:00, mode: pull}'")
    return tuple(_read_period(item) for item in spec)


def _read_period(item: object) -> Period:
    try:
        return _period(item)
    except DefinitionError as error:
        error.line = error.line or line_of(item)
        raise


def _period(item: object) -> Period:
    if not isinstance(item, Mapping) or not {"from", "to"} <= set(item):
        problem = f"times: {show(item)} has no 'from' and 'to'"
        raise DefinitionError("schedule", problem, "Write '- {from: 08:00, to: 18:00, mode: pull}'")
    rest = {key: value for key, value in item.items() if key not in {"from", "to", "days"}}
    return replace(read_time(item), override=read_override(rest, "times"))


def read_time(item: Mapping[str, Any]) -> Period:
    """Return the time of day that ``from``, ``to`` and ``days`` name, in which nothing else holds.

    Raises:
        DefinitionError: One of them is no such thing.
    """
    return Period(
        days=_read_days(item.get("days", "mon-sun")),
        begin=_read_minute(item["from"]),
        end=_read_minute(item["to"]),
        override=Override(),
    )


def _read_days(value: object) -> tuple[int, ...]:
    found: set[int] = set()
    try:
        words = value if isinstance(value, list) and value else str(value).split(",")
        for word in words:
            first, _, last = str(word).strip().lower().partition("-")
            begin, end = _day(first), _day(last or first)
            found.update(day % 7 for day in range(begin, end + 1 if end >= begin else end + 8))
    except ValueError:
        problem = f"times: days: {show(value)} is not known"
        raise DefinitionError("schedule", problem, "Write 'mon-fri' or 'sat,sun'") from None
    return tuple(sorted(found))


def _day(word: str) -> int:
    """Return the number of a day by its name, in full or its first three letters; raises ValueError."""
    name = word.strip()
    return DAYS.index(name) if len(name) == 3 else _DAY_NAMES.index(name)


def _read_minute(value: object) -> int:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    found = int(match[1]) * 60 + int(match[2]) if match else _DAY + 1
    if found > _DAY:
        problem = f"times: {show(value)} is no time of day"
        raise DefinitionError("schedule", problem, "Write hours and minutes: 08:00, 24:00")
    return found


def _show_minute(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
