"""What an agent says of itself on its own machine: ``popham agent status``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from popham.agent.end import AgentEnd
from popham.agent.location import Locator
from popham.agent.records import Standing
from popham.agent.schedule import Schedule
from popham.agent.state import AgentState
from popham.agent.ways import UpstreamWays
from popham.clock import Clock
from popham.errors import StateError
from popham.trust.identity import load_certificate, read_identity

_TEXT = 1000
_OF_RECORD = (
    "group",
    "serial",
    "content_digest",
    "applied_digest",
    "mode",
    "dialer",
    "promise",
    "fallback",
)
"""Fields of the state record that are shown as they are."""


class Status:
    """Keeps the last words of the driver, and puts them beside what is kept on disk."""

    def __init__(self, state: AgentState, clock: Clock) -> None:
        """Begin with what is kept."""
        self._state = state
        self._clock = clock
        self._end: AgentEnd | None = None
        self._link_wait: Callable[[], float] = lambda: 0.0
        self._ways: UpstreamWays | None = None
        self._schedule: Schedule | None = None
        self._locator: Locator | None = None
        self._left: Callable[[], tuple[str, ...]] = tuple
        self._service: Callable[[], dict[str, Any]] | None = None
        self._problem = ""
        self._said_at: float | None = None
        self._next: float | None = None

    def attend(
        self,
        end: AgentEnd,
        link_wait: Callable[[], float],
        *,
        ways: UpstreamWays | None = None,
        schedule: Schedule | None = None,
        locator: Locator | None = None,
        left: Callable[[], tuple[str, ...]] = tuple,
        service: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        """Ask this end of the session from now on.

        Args:
            end: The end.
            link_wait: Returns the seconds until a held link is asked for again, if none could be had.
            ways: Know which server is dialled.
            schedule: Knows on what link the machine is.
            locator: Knows what criteria are not looked at.
            left: Returns the paths that no policy wants any more, and that stay.
            service: Describes the agent's service.
        """
        self._end = end
        self._link_wait = link_wait
        self._ways = ways
        self._schedule = schedule
        self._locator = locator
        self._left = left
        self._service = service

    def serve(self, service: Callable[[], dict[str, Any]]) -> None:
        """Describe the agent's service, while it waits behind that to be born."""
        self._service = service

    def say(self, text: str, wait: float | None) -> None:
        """Note a sentence (empty: all is well) and in how many seconds the next contact is due."""
        now = self._clock.now()
        self._problem = text[:_TEXT]
        if not text:
            self._said_at = now
        self._next = None if wait is None else now + wait

    def describe(self) -> dict[str, Any]:
        """Return everything as plain data; times are unix seconds, None where unknown."""
        found = describe_state(self._state)
        found |= {
            "running": True,
            "last_contact": self._said_at,
            "next_contact": self._next,
            "problem": self._problem,
        }
        if self._end is not None:
            record = self._end.record()
            found |= {key: getattr(record, key) for key in _OF_RECORD}
            found |= _describe_standing(self._end.standing)
            found["unsupported"] = list(record.unsupported)
            found["text"] = self._end.text
            found["stretch"] = self._end.stretch
            if self._end.fallback:
                found["link_again"] = self._clock.now() + max(0.0, self._link_wait())
        elif found["walled"]:
            found |= {"mode": "pull", "dialer": "manager"}
        if self._ways is not None:
            found["servers"], found["server"] = list(self._ways.urls), self._ways.current
        if self._service is not None:
            found["service"] = self._service()
        if self._schedule is not None:
            found["metered"] = self._schedule.metered
        if self._locator is not None:
            found["location_unseen"] = list(self._locator.unseen)
        try:
            found["left"] = list(self._left())
        except StateError as error:
            found["left"], found["problem"] = [], found["problem"] or str(error)
        return found


def describe_state(state: AgentState) -> dict[str, Any]:
    """Return what is kept on disk, which is all there is while no agent runs.

    Raises:
        StateError: A file is damaged.
    """
    identity, join, progress = state.identity(), state.join(), state.progress()
    found: dict[str, Any] = {
        "running": False,
        "uid": identity.uid if identity else "",
        "servers": list(join.urls) if join else [],
        "walled": join is not None and join.walled,
        "admission": "not enrolled"
        if join is None
        else "waiting"
        if state.certificate() is None
        else "accepted",
        "outcome": str(progress.outcome),
        "applied_serial": progress.applied_serial,
        "error": progress.error,
        "error_code": progress.error_code,
        "since": progress.since or None,
        "withheld": list(progress.withheld),
    }
    found |= _describe_probation(state) | _describe_drift(state)
    standing = state.standing()
    if standing is not None:
        found |= _describe_standing(standing)
    certificate = state.certificate()
    if certificate is not None:
        found["certificate_until"] = read_identity(load_certificate(certificate)).not_after
    return found


def _describe_standing(standing: Standing) -> dict[str, Any]:
    return {
        "location": standing.location,
        "location_since": standing.since or None,
        "location_rules": list(standing.rules),
    }


def _describe_probation(state: AgentState) -> dict[str, Any]:
    """Return what is watched, and what this machine undid by itself, the newest last."""
    probation = state.probation()
    trial = probation.trial
    return {
        "watched_until": probation.watched_until if trial else None,
        "undone": [
            {
                "serial": one.serial,
                "error_code": one.code,
                "error": one.error,
                "at": one.at,
                "times": one.times,
                "tried_again": one.again or one.times > 1,
            }
            for one in probation.undone
        ],
    }


def _describe_drift(state: AgentState) -> dict[str, Any]:
    """Return what was found to differ from the policies in force."""
    drift = state.drift()
    return {
        "drifted": list(drift.paths),
        "drift_path": drift.path,
        "drift_at": drift.at or None,
        "drift_error": drift.error,
        "put_back": drift.put_back,
    }
