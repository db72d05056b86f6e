"""What an agent says of itself on its own machine: ``popham agent status``."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from popham.agent.contact import ContactNote
from popham.agent.end import STRAY, AgentEnd
from popham.agent.location import Locator
from popham.agent.operations.ledger import describe_entries, read_entries
from popham.agent.operations.pause import read_pause
from popham.agent.records import Standing
from popham.agent.schedule import Schedule
from popham.agent.state import AgentState
from popham.agent.ways import UpstreamWays
from popham.clock import Clock
from popham.errors import StateError
from popham.link.driver import Driver
from popham.link.visits import AWAITED, KEPT, LAPSED, MISSED, OFF
from popham.model.communication import CommunicationSettings, Mode
from popham.net.seam import FULL
from popham.trust.identity import load_certificate, read_identity

_TEXT = 1000
_OF_RECORD = (
    "group",
    "serial",
    "version",
    "content_digest",
    "applied_digest",
    "mode",
    "dialer",
    "promise",
    "fallback",
    "candidate",
    "candidate_error",
)
"""Fields of the state record that are shown as they are."""
_WHY: Mapping[str, str] = MappingProxyType(
    {
        FULL: "refused: the Manager's links are all taken",
        STRAY: "the server list: none of it answers, so the addresses of the join string are dialled",
        OFF: "it is to be visited, and its service is off, so it dials",
        AWAITED: "it is to be visited, and nobody came yet, so it dials",
        LAPSED: f"it is to be visited, and {MISSED} visits did not come, so it dials",
        KEPT: "it is to dial, and that has not worked yet, so it is visited still",
    }
)
"""Code of a fallback → why the way is another than the one that was ordered."""


class Status:
    """Keeps the last words of the driver, and puts them beside what is kept on disk.

    Attributes:
        more: Describes what else this process does.
    """

    def __init__(self, state: AgentState, clock: Clock, contact: ContactNote | None = None) -> None:
        """Begin with what is kept.

        Args:
            state: What this machine keeps.
            clock: Wall time.
            contact: Notes when upstream answered last, for when no agent runs.
        """
        self._state = state
        self._clock = clock
        self._contact = contact
        self._end: AgentEnd | None = None
        self._driver: Driver | None = None
        self._noticed = -math.inf  # time of the loop: the contact that was noticed last
        self._ways: UpstreamWays | None = None
        self._schedule: Schedule | None = None
        self._locator: Locator | None = None
        self._left: Callable[[], tuple[str, ...]] = tuple
        self._lacking: Callable[[], Sequence[str]] = tuple
        self._service: Callable[[], dict[str, Any]] | None = None
        self._streams: Callable[[], dict[str, Any]] = dict
        self.more: Callable[[], dict[str, Any]] = dict
        self._problem = ""
        self._at: float | None = None
        self._url = ""
        self._next: float | None = None

    def attend(
        self,
        end: AgentEnd,
        driver: Driver,
        *,
        ways: UpstreamWays | None = None,
        schedule: Schedule | None = None,
        locator: Locator | None = None,
        left: Callable[[], tuple[str, ...]] = tuple,
        lacking: Callable[[], Sequence[str]] = tuple,
        service: Callable[[], dict[str, Any]] | None = None,
        streams: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        """Ask this end of the session from now on.

        Args:
            end: The end.
            driver: Keeps it in touch.
            ways: Know which server is dialled.
            schedule: Knows on what link the machine is.
            locator: Knows what criteria are not looked at.
            left: Returns the paths that no policy wants any more, and that stay.
            lacking: Returns the names of policies whose bodies are still to be brought here.
            service: Describes the agent's service.
            streams: Describes what waits to be sent.
        """
        self._end = end
        self._driver = driver
        self._ways = ways
        self._schedule = schedule
        self._locator = locator
        self._left = left
        self._lacking = lacking
        self._service = service
        self._streams = streams

    def serve(self, service: Callable[[], dict[str, Any]]) -> None:
        """Describe the agent's service, while it waits behind that to be born."""
        self._service = service

    def say(self, text: str, wait: float | None) -> None:
        """Note a sentence (empty: all is well) and in how many seconds the next contact is due."""
        now = self._clock.now()
        self._problem = text[:_TEXT]
        self._notice()
        if not text and self._driver is None:
            self._at = now
        self._next = None if wait is None else now + wait
        if self._contact is not None:
            self._contact.note(self._at, self._url, self._problem)

    def end(self) -> None:
        """Note that the process ends in order."""
        if self._contact is not None:
            self._contact.end()

    def _notice(self) -> None:
        """Note when upstream answered last, by the wall clock; soon after, as no loop counts a machine's sleep."""
        driver = self._driver
        if driver is None or driver.contact <= self._noticed:
            return
        self._noticed = driver.contact
        self._at = self._clock.now() - (asyncio.get_running_loop().time() - driver.contact)
        if driver.dials and self._ways is not None:
            self._url = self._ways.current
        elif self._service is not None:
            self._url = (self._service()["visitor"] or {}).get("address", "")

    def describe(self) -> dict[str, Any]:
        """Return everything as plain data; times are unix seconds, None where unknown."""
        self._notice()
        known = self._contact.known if self._contact is not None else None
        before = known.at or None if known is not None else None
        found = describe_state(self._state)
        found |= {
            "running": True,
            "running_since": known.began if known is not None else None,
            "last_contact": before if self._at is None else self._at,
            "answered_by": self._url or (known.url if known is not None else ""),
            "next_contact": self._next,
            "problem": self._problem,
        }
        if self._end is not None:
            record = self._end.record()
            found |= {key: getattr(record, key) for key in _OF_RECORD}
            found |= _describe_standing(self._end.standing)
            found["candidate_serial"] = self._end.candidate_serial
            found["ordered"] = describe_settings(self._end.ordered)
            if record.fallback:
                found["why"] = _WHY.get(record.fallback, f"could not be opened ({record.fallback})")
            found["unsupported"] = list(record.unsupported)
            found["lacking"] = list(self._lacking())
            found["text"] = self._end.text
            found["stretch"] = self._end.stretch
            if self._driver is not None:
                found |= self._describe_link(self._end, self._driver)
        elif found["walled"]:
            found |= {"mode": "pull", "dialer": "manager"}
        if self._ways is not None:
            found["servers"], found["server"] = list(self._ways.urls), self._ways.current
            found["moved"] = asdict(self._ways.moved) if self._ways.moved else None
        if self._service is not None:
            found["service"] = self._service()
        if self._schedule is not None:
            found["metered"] = self._schedule.metered
        if self._locator is not None:
            found["location_unseen"] = list(self._locator.unseen)
        found["streams"] = self._streams()
        found |= self.more()
        try:
            found["left"] = list(self._left())
        except StateError as error:
            found["left"], found["problem"] = [], found["problem"] or str(error)
        return found

    def _describe_link(self, end: AgentEnd, driver: Driver) -> dict[str, Any]:
        """Return by what this machine is in touch now, and when a held link is asked for again."""
        pulls = bool(end.fallback) or end.settings.mode is Mode.PULL
        link = "held" if driver.held else "visits" if not driver.dials else "rounds" if pulls else "none"
        if not end.fallback:
            return {"link": link}
        return {"link": link, "link_again": self._clock.now() + max(0.0, driver.link_wait)}


def describe_settings(settings: CommunicationSettings) -> dict[str, Any]:
    """Return what was ordered of mode, dialer and heartbeat, for all times and links."""
    return {
        "mode": str(settings.mode),
        "dialer": str(settings.dialer),
        "heartbeat": settings.heartbeat,
        "never_dial": settings.never_dial,
        "by_time": bool(settings.times),
    }


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
    found["operations"] = describe_entries(read_entries(state.room))
    found["collection_paused"] = read_pause(state.room) or None
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
