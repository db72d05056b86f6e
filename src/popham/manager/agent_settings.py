"""Which communication settings hold for an agent where it says that it is, and which others may."""

from __future__ import annotations

from dataclasses import replace

from popham.model.communication import CommunicationSettings
from popham.model.status import StateRecord
from popham.upstream.record import Record, Within


def settings_here(within: Within, record: Record) -> CommunicationSettings:
    """Return the settings that hold for an agent where it says that it is, at the time of day that holds there."""
    state = record.state
    held = within.at(state.location if state else within.default)
    found = _in_force(held, state) if state else held
    return found if record.dialer is None else replace(found, dialer=record.dialer)


def _in_force(held: CommunicationSettings, state: StateRecord) -> CommunicationSettings:
    """Return which of the settings' times of day holds, by the agent's own clock: the one that it reports."""
    said = (state.mode, state.dialer)
    return next((one for one in variants(held) if (one.mode, one.dialer) == said), held)


def variants(held: CommunicationSettings) -> list[CommunicationSettings]:
    """Return settings as they hold at some time, the usual first."""
    found = [held, *(held.under(period.override) for period in held.times)]
    return found + ([one.under(held.metered) for one in found] if held.metered else [])
