"""Thresholds of the policy in force: evaluated on what is measured, and their changes put into the stream of events.

A change counts as told once its event is durable; then the states are written to :data:`FILE`.  A crash in between
tells it once more after the start, and whoever reads it sees that nothing has changed by it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from popham.agent.collect.appends import Appends
from popham.agent.collect.collection import FILE, FILE_MAX
from popham.agent.collect.encoding import ERROR, INFO, WARN, Encoder, Record
from popham.agent.collect.sample import Sample
from popham.agent.collect.thresholds import STATES_MAX, Change, Key, Level, Local, Thresholds
from popham.agent.collect.wanted import WantedThreshold
from popham.agent.storage import Storage
from popham.clock import Clock
from popham.errors import StateError, StreamError
from popham.streams.frame import Stream

_log = logging.getLogger(__name__)
EVENT: Final = "popham.threshold"
_SEVERITY: Final = {Level.RECOVERED: INFO, Level.WARNING: WARN, Level.ERROR: ERROR}
_WHY: Final = {
    "withdrawn": "its threshold was withdrawn",
    "time": "its threshold does not hold at this time",
    "absent": "it is measured no more",
}


class Watching:
    """Watches what is measured."""

    def __init__(
        self,
        appends: Appends,
        *,
        storage: Storage,
        clock: Clock,
        encoder: Encoder,
        local: Local | None = None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        """Go on from what the file says.

        Args:
            appends: Takes events.
            storage: Has the file.
            clock: Wall time.
            encoder: Makes payloads.
            local: The machine's own time of day; None to ask the system.
            monotonic: The monotonic clock; None for the loop's.
        """
        self._appends = appends
        self._storage = storage
        self._clock = clock
        self._encoder = encoder
        self._monotonic = monotonic or asyncio.get_running_loop().time
        self._thresholds = Thresholds(_read(storage), local=local or _local, now=self._monotonic())
        self._one = asyncio.Lock()
        self._full = False

    async def configure(self, wanted: Sequence[WantedThreshold]) -> None:
        """Hold these thresholds from now on; what was raised by others is told to have recovered."""
        async with self._one:
            self._thresholds.configure(wanted, at=self._clock.now())
            await self._tell()

    async def evaluate(self, samples: Sequence[Sample]) -> None:
        """Take note of what a look measured, and tell what changed by it."""
        async with self._one:
            thresholds, room = self._thresholds, not self._thresholds.beyond
            thresholds.evaluate(samples, now=self._monotonic(), at=self._clock.now())
            if room and thresholds.beyond:
                _log.warning("thresholds have more than %d states: the rest is not watched", STATES_MAX)
            await self._tell()

    async def _tell(self) -> None:
        changes = list(self._thresholds.changes())
        if not changes:
            return
        try:
            for payload, count in self._encoder.encode_records([event_of(change) for change in changes]):
                await self._appends.append(Stream.EVENTS, payload, count)
        except StreamError as error:
            if not self._full:
                _log.warning("changes of thresholds are told later: %s", error)
            self._full = True
            return
        self._full = False
        self._thresholds.kept(changes)
        raised = self._thresholds.raised()
        try:
            if raised:
                self._storage.write(FILE, _encode(raised))
            else:
                self._storage.remove(FILE)
        except (StateError, OSError) as error:
            _log.warning("states of thresholds were not written, and may be told again: %s", error)


def event_of(change: Change) -> Record:
    """Return the event that tells a change."""
    key = change.key
    what = f"{key.item} of {key.resource}" if key.resource else key.item
    said = f"{what} is {change.value:g}" if change.value is not None else what
    if change.level:
        body = f"{said}, {change.bound}"
    elif change.reason:
        body = f"{said} has recovered: {_WHY[change.reason]}"
    else:
        body = f"{said}: recovered"
    attributes = {
        "popham.threshold": key.threshold,
        "popham.item": key.item,
        "popham.resource": key.resource,
        "popham.state": change.level.word,
        "popham.value": "" if change.value is None else repr(change.value),
        "popham.bound": change.bound,
        "popham.reason": change.reason,
        "popham.text": change.text,
    }
    return Record(
        body=body,
        at=change.at,
        event=EVENT,
        severity=_SEVERITY[change.level],
        attributes={name: value for name, value in attributes.items() if value},
    )


def _encode(raised: Sequence[tuple[Key, Level, float]]) -> bytes:
    rows = [[key.threshold, key.item, key.resource, int(level), gap] for key, level, gap in raised]
    return msgspec.json.encode(rows)


def _read(storage: Storage) -> list[tuple[Key, Level, float]]:
    """Return what the file says; nothing, if nobody can read it."""
    try:
        rows: list[Any] = msgspec.json.decode(
            storage.read(FILE, FILE_MAX) or b"[]", type=list[tuple[str, str, str, int, float]]
        )
        return [(Key(*row[:3]), Level(row[3]), row[4]) for row in rows[:STATES_MAX]]
    except (OSError, StateError, msgspec.MsgspecError, ValueError) as error:
        _log.warning("states of thresholds are not known any more: %s", error)
        return []


def _local(at: float) -> tuple[int, int]:
    local = datetime.fromtimestamp(at).astimezone()
    return local.weekday(), local.hour * 60 + local.minute
