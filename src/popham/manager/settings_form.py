"""Communication settings as people write them: the way back from :mod:`popham.model.communication`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from popham.model.cell import Cell
from popham.model.communication import SPREAD_MAX, CommunicationSettings
from popham.model.duration import show_duration
from popham.model.schedule import DAYS, Override, Period

_DEFAULT = CommunicationSettings()
_ALWAYS = ("heartbeat", "spread")
_FLAGS = ("download", "upload", "critical")


def write_settings(
    settings: CommunicationSettings, others: Iterable[CommunicationSettings] = (), *, download: bool = True
) -> dict[str, Any]:
    """Return ``settings`` as a definition writes them.

    Args:
        settings: What is to hold.
        others: What may hold where the definition is applied: what differs from one of them is written.
        download: Whether ``download`` may be written; it is the group's alone.
    """
    bases = [_DEFAULT, *others]
    found: dict[str, Any] = {"preset": str(settings.preset)}
    for key, value in _forms(settings).items():
        if key == "download" and not download:
            continue
        if key in _ALWAYS or any(getattr(base, key) != getattr(settings, key) for base in bases):
            found[key] = value
    return found


def _forms(settings: CommunicationSettings) -> dict[str, Any]:
    """Return every setting but mode and dialer in the form of a definition."""
    return {
        "heartbeat": _duration(settings.heartbeat),
        "spread": "on" if settings.spread == SPREAD_MAX else _switched(settings.spread),
        **{flag: "on" if getattr(settings, flag) else "off" for flag in _FLAGS},
        "accelerated": _switched(settings.accelerated),
        "data": _cell(settings.data) if settings.data else None,
        "times": [_period(period) for period in settings.times] or None,
        "metered": _override(settings.metered) if settings.metered else None,
        "servers": [server.as_dict() for server in settings.servers] or None,
        "hold": _duration(settings.hold),
        "never_dial": settings.never_dial,
    }


def _duration(seconds: float) -> str:
    """Return a duration that reads back as exactly as it was."""
    shown = show_duration(seconds)
    exact = f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"
    return exact if shown.endswith("s") else shown


def _switched(seconds: float) -> str:
    return _duration(seconds) if seconds else "off"


def _cell(cell: Cell) -> dict[str, Any]:
    return {"preset": str(cell.preset)}


def _override(override: Override) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if override.mode is not None:
        found["mode"] = str(override.mode)
    if override.dialer is not None:
        found["dialer"] = str(override.dialer)
    if override.heartbeat is not None:
        found["heartbeat"] = _duration(override.heartbeat)
    return found


def _period(period: Period) -> Mapping[str, Any]:
    found: dict[str, Any] = {"from": _minute(period.begin), "to": _minute(period.end)}
    if len(period.days) < len(DAYS):
        found["days"] = ",".join(DAYS[day] for day in period.days)
    return found | _override(period.override)


def _minute(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
