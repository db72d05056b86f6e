"""Communication settings: when an agent and its upstream get in touch, and who opens.

Push and pull, and who dials, are independent of each other; the four cells
have names that people know (:class:`popham.model.cell.Preset`).  Numbers and
their sources are in ``docs/reference/communication.md``.

Rules:

1. A bundle names only what differs from the defaults of v0.1.0, so a setting
   that a later version brings does not raise anybody's serial.
2. A location may have settings of its own, or its group's; ``download`` is the group's alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from popham.errors import DefinitionError
from popham.model.cell import PRESETS, Cell, Dialer, Mode, Preset, read_cell
from popham.model.duration import parse_duration, show_duration
from popham.model.keys import check_keys
from popham.model.lines import line_of
from popham.model.names import show
from popham.model.schedule import Override, Period, read_override, read_periods
from popham.model.servers import Server, read_servers, servers_from_dicts

__all__ = [
    "PRESETS",
    "Cell",
    "CommunicationSettings",
    "Dialer",
    "Mode",
    "Preset",
    "parse_duration",
    "settings_from_definition",
    "show_duration",
]

HEARTBEAT_MIN = 1.0
HEARTBEAT_MAX = 7 * 86400.0
HEARTBEAT_DEFAULT = 300.0
"""Seconds where the agent dials. Source: SEPM, pull mode, five minutes."""
VISIT_DEFAULT = 600.0
"""Seconds where the Manager dials. Source: Systemwalker SQC, about ten minutes."""
SPREAD_MAX = 300.0
"""Seconds. Source: SEPM's randomization window."""
ACCELERATED_MAX = 60.0
ACCELERATED_DEFAULT = 30.0
"""Seconds of an accelerated round."""
HOLD_DEFAULT = 300.0
HOLD_MAX = 86400.0
"""Seconds on another server before the first is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunicationSettings:
    """How the agents of a group, or of one location of it, get in touch.

    Attributes:
        mode: When a round happens: at once over a held link, or per heartbeat.
        dialer: Which end opens the connection.
        heartbeat: Seconds between two rounds of a quiet link; 1 s to 7 days.
        spread: Seconds over which agents distribute themselves; 0 s (off) to
            the heartbeat, at most 300 s. It moves the phase of rounds and the
            start of downloads; never the first round or a push order.
        download: Whether policies and content are downloaded; a group's alone.
        upload: Whether data is sent; reports always are.
        critical: Whether critical events go at once, whatever the heartbeat.
        accelerated: Seconds to the next round after a change, a resume, a network
            change or an error, where the heartbeat is longer; 0 to 60, 0 for off.
        data: Another mode and dialer for data; None for the same.
        times: Other values at some times of day.
        metered: Other values on a metered link; None for the same.
        servers: Whom to dial; empty for the URLs of the join string.
        hold: Seconds on another server before the first is tried again.
        never_dial: Whether an agent that is to be visited waits, however many visits do not come.
    """

    mode: Mode = Mode.PUSH
    dialer: Dialer = Dialer.AGENT
    heartbeat: float = HEARTBEAT_DEFAULT
    spread: float = SPREAD_MAX
    download: bool = True
    upload: bool = True
    critical: bool = True
    accelerated: float = ACCELERATED_DEFAULT
    data: Cell | None = None
    times: tuple[Period, ...] = ()
    metered: Override | None = None
    servers: tuple[Server, ...] = ()
    hold: float = HOLD_DEFAULT
    never_dial: bool = False

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        beats = [period.override.heartbeat for period in self.times]
        for beat in (self.heartbeat, *beats, self.metered.heartbeat if self.metered else None):
            if beat is not None and not HEARTBEAT_MIN <= beat <= HEARTBEAT_MAX:
                problem = f"heartbeat: {show_duration(beat)} is outside 1 s to 7 days"
                hint = "Use a longer heartbeat for larger fleets; 5m is the default"
                raise DefinitionError("heartbeat", problem, hint)
        if not 0 <= self.spread <= SPREAD_MAX:
            problem = f"spread: {show_duration(self.spread)} is outside 0 s to 5 minutes"
            raise DefinitionError("spread", problem, "Leave it out for the default, or say 'off'")
        if not 0 <= self.accelerated <= ACCELERATED_MAX:
            problem = f"accelerated: {show_duration(self.accelerated)} is outside 0 s to 60 s"
            raise DefinitionError("accelerated", problem, "Leave it out for 30s, or say 'off'")
        if not 0 <= self.hold <= HOLD_MAX:
            problem = f"hold: {show_duration(self.hold)} is outside 0 s to 24 h"
            raise DefinitionError("hold", problem, "Leave it out for 5m")

    @property
    def cell(self) -> Cell:
        """Mode and dialer."""
        return Cell(mode=self.mode, dialer=self.dialer)

    @property
    def preset(self) -> Preset:
        """The name of this cell."""
        return PRESETS[self.mode, self.dialer]

    @property
    def dialers(self) -> frozenset[Dialer]:
        """Every end that may open a connection by these settings, at any time."""
        overrides = [period.override for period in self.times] + ([self.metered] if self.metered else [])
        named = [override.dialer for override in overrides if override.dialer is not None]
        return frozenset([self.dialer, *named, *([self.data.dialer] if self.data else [])])

    @property
    def window(self) -> float:
        """Seconds over which rounds are spread: the spread, never more than the heartbeat."""
        return min(self.spread, self.heartbeat)

    def at(self, weekday: int, minute: int, *, metered: bool = False) -> CommunicationSettings:
        """Return what holds at a local time (0 for Monday, minutes after midnight), and on what link."""
        found = self
        period = next((period for period in self.times if period.holds(weekday, minute)), None)
        if period is not None:
            found = found.under(period.override)
        return found.under(self.metered) if metered and self.metered else found

    def under(self, override: Override) -> CommunicationSettings:
        """Return the settings with what ``override`` names."""
        return replace(
            self,
            mode=override.mode or self.mode,
            dialer=override.dialer or self.dialer,
            heartbeat=override.heartbeat or self.heartbeat,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain data, in seconds, as they stand in a bundle."""
        found: dict[str, Any] = {
            "mode": str(self.mode),
            "dialer": str(self.dialer),
            "heartbeat": float(self.heartbeat),
            "spread": float(self.spread),
        }
        for name in ("download", "upload", "critical"):
            if not getattr(self, name):
                found[name] = False
        if self.accelerated != ACCELERATED_DEFAULT:
            found["accelerated"] = float(self.accelerated)
        if self.data is not None:
            found["data"] = self.data.as_dict()
        if self.times:
            found["times"] = [period.as_dict() for period in self.times]
        if self.metered is not None:
            found["metered"] = self.metered.as_dict()
        if self.servers:
            found["servers"] = [server.as_dict() for server in self.servers]
        if self.hold != HOLD_DEFAULT:
            found["hold"] = float(self.hold)
        if self.never_dial:
            found["never_dial"] = True
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CommunicationSettings:
        """Return the settings of a bundle; fields this program does not know are ignored."""
        return cls(
            mode=Mode(data["mode"]),
            dialer=Dialer(data["dialer"]),
            heartbeat=float(data["heartbeat"]),
            spread=float(data["spread"]),
            download=bool(data.get("download", True)),
            upload=bool(data.get("upload", True)),
            critical=bool(data.get("critical", True)),
            accelerated=float(data.get("accelerated", ACCELERATED_DEFAULT)),
            data=Cell.from_dict(data["data"]) if "data" in data else None,
            times=tuple(Period.from_dict(period) for period in data.get("times", ())),
            metered=Override.from_dict(data["metered"]) if "metered" in data else None,
            servers=servers_from_dicts(data.get("servers", ())),
            hold=float(data.get("hold", HOLD_DEFAULT)),
            never_dial=bool(data.get("never_dial", False)),
        )


def settings_from_definition(spec: Mapping[str, Any], base: CommunicationSettings) -> CommunicationSettings:
    """Return ``base`` with what ``spec`` says, as people write it in YAML.

    Args:
        spec: ``preset`` or ``mode`` and ``dialer``; ``heartbeat``, ``spread``, ``accelerated`` and ``hold``
            as ``30s``, ``5m``, ``2h``, ``24h``; ``spread`` and ``accelerated`` also ``on`` or ``off``;
            ``download``, ``upload`` and ``critical`` true or false; ``data`` a cell; ``times`` a list of
            periods; ``metered`` an override; ``servers`` a list. ``null`` takes data, times, metered
            and servers away.
        base: The values that hold where ``spec`` is silent.

    Raises:
        DefinitionError: A key, a word or a range is wrong.
    """
    check_keys(spec, _KNOWN, "communication")
    try:
        return _settings(spec, base)
    except DefinitionError as error:
        # The settings name themselves at the front of each sentence.
        error.line = error.line or line_of(spec, error.problem.partition(":")[0].partition(".")[0])
        raise


def _settings(spec: Mapping[str, Any], base: CommunicationSettings) -> CommunicationSettings:
    mode, dialer = read_cell(spec, base.mode, base.dialer)
    found: dict[str, Any] = {"mode": mode, "dialer": dialer}
    if "heartbeat" not in spec and dialer is not base.dialer:
        found["heartbeat"] = VISIT_DEFAULT if dialer is Dialer.MANAGER else HEARTBEAT_DEFAULT
    for key, read in _READERS.items():
        if key in spec:
            found[key] = read(spec[key], key)
    return replace(base, **found)


def _read_switched(most: float) -> Callable[[object, str], float]:
    """Return the reader of a duration that may also be ``on`` (``most``) or ``off``."""

    def read(value: object, setting: str) -> float:
        if value == "off" or value is False:
            return 0.0
        if value == "on" or value is True:
            return most
        return parse_duration(value, setting)

    return read


def _read_flag(value: object, setting: str) -> bool:
    if value == "on" or value == "off":  # noqa: PLR1714 - a list or mapping has no hash
        return value == "on"
    if not isinstance(value, bool):
        problem = f"{setting}: {show(value)} is neither on nor off"
        raise DefinitionError("flag", problem, "Write on or off")
    return value


def _read_data(value: object, setting: str) -> Cell | None:
    if value is None:
        return None
    known = {"preset", "mode", "dialer"}
    if not isinstance(value, Mapping) or not value or set(value) - known:
        problem = f"{setting}: {show(value)} is no mode and dialer"
        raise DefinitionError("form", problem, "Write 'data: {mode: pull, dialer: agent}'")
    mode, dialer = read_cell(value, Mode.PUSH, Dialer.AGENT)
    return Cell(mode=mode, dialer=dialer)


_READERS: Mapping[str, Callable[[object, str], Any]] = {
    "heartbeat": parse_duration,
    "spread": _read_switched(SPREAD_MAX),
    "download": _read_flag,
    "upload": _read_flag,
    "critical": _read_flag,
    "accelerated": _read_switched(ACCELERATED_DEFAULT),
    "data": _read_data,
    "times": lambda value, _: () if value is None else read_periods(value),
    "metered": lambda value, setting: None if value is None else read_override(value, setting),
    "servers": lambda value, _: () if value is None else read_servers(value),
    "hold": parse_duration,
    "never_dial": _read_flag,
}
_KNOWN = frozenset({"preset", "mode", "dialer", *_READERS})
