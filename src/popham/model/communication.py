"""Communication settings: when an agent and its upstream get in touch, and who opens.

Push and pull, and who dials, are independent of each other; the four cells
have names that people know (:class:`Preset`).  Numbers and their sources are
in ``docs/reference/communication.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from popham.errors import DefinitionError
from popham.model.lines import line_of
from popham.model.names import nearest, show

HEARTBEAT_MIN = 1.0
HEARTBEAT_MAX = 7 * 86400.0
HEARTBEAT_DEFAULT = 300.0
"""Seconds where the agent dials. Source: SEPM, pull mode, five minutes."""
VISIT_DEFAULT = 600.0
"""Seconds where the Manager dials. Source: Systemwalker SQC, about ten minutes."""
SPREAD_MAX = 300.0
"""Seconds. Source: SEPM's randomization window."""

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h|d)")
_Word = TypeVar("_Word", bound=StrEnum)
_UNIT = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Mode(StrEnum):
    """When a round happens."""

    PUSH = "push"
    PULL = "pull"


class Dialer(StrEnum):
    """Which end opens the connection."""

    AGENT = "agent"
    MANAGER = "manager"


class Preset(StrEnum):
    """The four cells by the names that users of SEPM and SQC know."""

    PUSH = "Push"
    PULL_BY_HEARTBEAT = "Pull by heartbeat"
    PULL_BY_VISIT = "Pull by visit"
    PUSH_OVER_MANAGER = "Push over the Manager's connection"


PRESETS: dict[tuple[Mode, Dialer], Preset] = {
    (Mode.PUSH, Dialer.AGENT): Preset.PUSH,
    (Mode.PULL, Dialer.AGENT): Preset.PULL_BY_HEARTBEAT,
    (Mode.PULL, Dialer.MANAGER): Preset.PULL_BY_VISIT,
    (Mode.PUSH, Dialer.MANAGER): Preset.PUSH_OVER_MANAGER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunicationSettings:
    """How the agents of a group get in touch.

    Attributes:
        mode: When a round happens: at once over a held link, or per heartbeat.
        dialer: Which end opens the connection.
        heartbeat: Seconds between two rounds of a quiet link; 1 s to 7 days.
        spread: Seconds over which agents distribute themselves; 0 s (off) to
            the heartbeat, at most 300 s. It moves the phase of rounds; never
            the first round or a push order.
    """

    mode: Mode = Mode.PUSH
    dialer: Dialer = Dialer.AGENT
    heartbeat: float = HEARTBEAT_DEFAULT
    spread: float = SPREAD_MAX

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        if not HEARTBEAT_MIN <= self.heartbeat <= HEARTBEAT_MAX:
            problem = f"heartbeat: {show_duration(self.heartbeat)} is outside 1 s to 7 days"
            hint = "Use a longer heartbeat for larger fleets; 5m is the default"
            raise DefinitionError("heartbeat", problem, hint)
        if not 0 <= self.spread <= SPREAD_MAX:
            problem = f"spread: {show_duration(self.spread)} is outside 0 s to 5 minutes"
            raise DefinitionError("spread", problem, "Leave it out for the default, or say 'off'")

    @property
    def preset(self) -> Preset:
        """The name of this cell."""
        return PRESETS[self.mode, self.dialer]

    @property
    def window(self) -> float:
        """Seconds over which rounds are spread: the spread, never more than the heartbeat."""
        return min(self.spread, self.heartbeat)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain data, in seconds, as they stand in a bundle."""
        return {
            "mode": str(self.mode),
            "dialer": str(self.dialer),
            "heartbeat": float(self.heartbeat),
            "spread": float(self.spread),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CommunicationSettings:
        """Return the settings of a bundle; fields this program does not know are ignored."""
        return cls(
            mode=Mode(data["mode"]),
            dialer=Dialer(data["dialer"]),
            heartbeat=float(data["heartbeat"]),
            spread=float(data["spread"]),
        )


def settings_from_definition(spec: Mapping[str, Any], base: CommunicationSettings) -> CommunicationSettings:
    """Return ``base`` with what ``spec`` says, as people write it in YAML.

    Args:
        spec: ``preset`` or ``mode`` and ``dialer``; ``heartbeat`` and ``spread``
            as ``30s``, ``5m``, ``2h``, ``24h``; ``spread`` also ``on`` or ``off``.
        base: The values that hold where ``spec`` is silent.

    Raises:
        DefinitionError: A key, a word or a range is wrong.
    """
    known = {"preset", "mode", "dialer", "heartbeat", "spread"}
    for key in spec:
        if key not in known:
            problem = f"communication has no setting {show(key)}"
            raise DefinitionError("unknown_key", problem, nearest(str(key), known), line=line_of(spec, key))
    try:
        return _settings(spec, base)
    except DefinitionError as error:
        # The settings name themselves at the front of each sentence.
        error.line = error.line or line_of(spec, error.problem.partition(":")[0])
        raise


def _settings(spec: Mapping[str, Any], base: CommunicationSettings) -> CommunicationSettings:
    mode, dialer = base.mode, base.dialer
    if "preset" in spec:
        if {"mode", "dialer"} & set(spec):
            problem = "communication names a preset and a mode or dialer"
            raise DefinitionError("preset", problem, "Say one or the other", line=line_of(spec, "preset"))
        preset = _word(Preset, spec["preset"], "preset")
        mode, dialer = next(cell for cell, name in PRESETS.items() if name is preset)
    mode = _word(Mode, spec.get("mode", mode), "mode")
    dialer = _word(Dialer, spec.get("dialer", dialer), "dialer")
    heartbeat = base.heartbeat
    if "heartbeat" in spec:
        heartbeat = parse_duration(spec["heartbeat"], "heartbeat")
    elif dialer is not base.dialer:
        heartbeat = VISIT_DEFAULT if dialer is Dialer.MANAGER else HEARTBEAT_DEFAULT
    return replace(base, mode=mode, dialer=dialer, heartbeat=heartbeat, spread=_spread(spec, base))


def parse_duration(value: object, setting: str) -> float:
    """Return seconds for ``30s``, ``5m``, ``2h``, ``24h`` or ``7d``.

    Raises:
        DefinitionError: It has no unit, or is no duration at all.
    """
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        problem = f"{setting}: {show(value)} is not a duration"
        raise DefinitionError("duration", problem, "Write a number and s, m, h or d: 30s, 5m, 2h, 24h")
    return float(match[1]) * _UNIT[match[2]]


def show_duration(seconds: float) -> str:
    """Return ``5m`` for 300.0: the largest unit that gives a whole number."""
    for unit in ("d", "h", "m"):
        if seconds >= _UNIT[unit] and seconds % _UNIT[unit] == 0:
            return f"{int(seconds // _UNIT[unit])}{unit}"
    return f"{seconds:g}s"


def _spread(spec: Mapping[str, Any], base: CommunicationSettings) -> float:
    if "spread" not in spec:
        return base.spread
    value = spec["spread"]
    if value == "off" or value is False:
        return 0.0
    if value == "on" or value is True:
        return SPREAD_MAX
    return parse_duration(value, "spread")


def _word(kind: type[_Word], value: object, setting: str) -> _Word:
    try:
        return kind(str(value))
    except ValueError:
        problem = f"{setting}: {show(value)} is not one of {', '.join(kind)}"
        raise DefinitionError("word", problem, nearest(str(value), list(kind))) from None
