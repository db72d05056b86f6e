"""What a bundle says of communication settings, as an upstream has it ready: of both sides of a rollout; pure."""

from __future__ import annotations

from popham.model.bundle import Bundle, Side
from popham.upstream.record import Within


def within(side: Side) -> Within:
    """Return the communication settings of one side of a bundle, in each of its locations."""
    settings = {name: held.communication for name, held in side.locations.items()}
    return Within(side.default_location, settings)


def sides(bundle: Bundle) -> tuple[Within, Within | None, bool]:
    """Return the settings of the stable and of the candidate side, and whether upstream dials on either."""
    stable = within(bundle.stable)
    candidate = within(bundle.candidate) if bundle.candidate else None
    return stable, candidate, stable.is_visited or (candidate is not None and candidate.is_visited)
