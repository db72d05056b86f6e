"""Who opens connections, for one agent: what its group's settings say, its assignment, and how it was born; pure.

Rules:

1. An assignment decides for its agent, whatever the group's settings say, at all times and on all links.
2. Who was born by a visit opens nothing, until an assignment lets it: neither settings nor visits that do not come
   change that.
"""

from __future__ import annotations

from dataclasses import replace

from popham.model.communication import VISIT_DEFAULT, CommunicationSettings, Dialer, Mode
from popham.model.schedule import Override
from popham.trust.assignment import Assignment

FIRST = CommunicationSettings(mode=Mode.PULL)
"""Until a bundle says otherwise: one round brings it, inline and whole."""
AWAITED = CommunicationSettings(
    mode=Mode.PULL, dialer=Dialer.MANAGER, heartbeat=VISIT_DEFAULT, never_dial=True
)
"""The same, for who was born by a visit: the next one brings it."""


def settings_for(
    settings: CommunicationSettings | None, assignment: Assignment | None, *, walled: bool
) -> CommunicationSettings:
    """Return what holds for one agent.

    Args:
        settings: Of its group and location; None before any bundle.
        assignment: Its own; None before any.
        walled: Whether it was born by a visit.
    """
    walled = walled and not (assignment is not None and assignment.may_dial)
    if settings is None:
        return AWAITED if walled else FIRST
    dialer = Dialer.MANAGER if walled else assignment.dialer if assignment is not None else None
    if dialer is None:
        return settings
    return replace(
        settings,
        dialer=dialer,
        never_dial=settings.never_dial or walled,
        data=replace(settings.data, dialer=dialer) if walled and settings.data else settings.data,
        times=tuple(replace(period, override=_without(period.override)) for period in settings.times),
        metered=None if settings.metered is None else _without(settings.metered),
    )


def _without(override: Override) -> Override:
    """Return ``override`` without a dialer of its own."""
    return replace(override, dialer=None)
