"""What is to come of an agent's summary: how often it is taken, whether it is sent, and by which way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from popham.model.bundle import BUNDLE_TYPE, Bundle, LocationSet, Side
from popham.model.cell import Cell
from popham.model.types.collect_schema import INTERVAL
from popham.streams.frame import Stream
from popham.trust.dsse import ENVELOPE_LIMIT, Envelope
from popham.upstream.record import Record, Wanted

COLLECT: Final = "collect"
"""The type of policy that says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to come of the summary of the agents in one location of a group.

    Attributes:
        interval: Seconds between two samples; None if none is taken.
        sends: Whether what is collected is sent.
        data: Mode and dialer of data, where they are others than those of orders; None if they are the same.
    """

    interval: float | None = None
    sends: bool = True
    data: Cell | None = None


@dataclass(frozen=True, slots=True)
class _Sides:
    """Plans of both sides of a bundle: location → plan; and which location is the default."""

    version: int
    stable: Mapping[str, Plan]
    candidate: Mapping[str, Plan] | None
    defaults: tuple[str, str]


class Plans:
    """The plans of all groups, read from their bundles once per version."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: dict[str, _Sides] = {}

    def of(self, record: Record, wanted: Wanted | None) -> Plan:
        """Return the plan for an agent, where it says it is."""
        if wanted is None:
            return Plan()
        sides = self._known.get(wanted.group)
        if sides is None or sides.version != wanted.version:
            sides = self._known[wanted.group] = _read(wanted)
        rollout = wanted.rollout
        chosen = rollout is not None and rollout.has(record.uid, record.candidate)
        plans = sides.candidate if chosen and sides.candidate is not None else sides.stable
        location = record.state.location if record.state else ""
        return plans.get(location) or plans[sides.defaults[plans is sides.candidate]]


def _read(wanted: Wanted) -> _Sides:
    envelope = Envelope.parse(wanted.envelope, types=(BUNDLE_TYPE,), limit=ENVELOPE_LIMIT)
    bundle = Bundle.from_payload(envelope.payload)
    stable, candidate = bundle.stable, bundle.candidate
    return _Sides(
        version=wanted.version,
        stable=_plans(stable, wanted.blobs),
        candidate=None if candidate is None else _plans(candidate, wanted.blobs),
        defaults=(stable.default_location, (candidate or stable).default_location),
    )


def _plans(side: Side, blobs: Mapping[str, bytes]) -> dict[str, Plan]:
    return {name: _plan(held, blobs) for name, held in side.locations.items()}


def _plan(held: LocationSet, blobs: Mapping[str, bytes]) -> Plan:
    spec = next((_spec(blobs[ref.sha256]) for ref in held.policies if ref.type == COLLECT), None)
    settings = held.communication
    if spec is None:
        return Plan(sends=settings.upload, data=settings.data)
    wanted = spec.get(Stream.SUMMARY, True)
    interval = (
        wanted.get("interval", INTERVAL) if isinstance(wanted, Mapping) else INTERVAL if wanted else None
    )
    uploads = spec.get("upload", {}).get(Stream.SUMMARY, "on") == "on"
    return Plan(interval=interval, sends=settings.upload and uploads, data=settings.data)


def _spec(blob: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(blob)["body"]
    return found
