"""Which communication settings hold now: by the machine's local time, and on what link it is.

Rules:

1. The next time at which something changes is a timer, never a poll.
2. A fleet does not change over in one second: each machine's periods begin and end later by its own
   part of the spread. Without a spread they are exact.
3. Where the wall clock was set, or the time zone is another, somebody says so by :meth:`Schedule.look_again`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, time, timedelta, tzinfo

from popham.clock import Clock
from popham.model.communication import CommunicationSettings
from popham.posix import read_local_time

_AHEAD = 8
"""Days in which a period that differs has begun or ended, whatever the day of the week."""
_QUARTER = 900.0
"""Seconds: clocks at the wall are put forward or back at a quarter of an hour. Source: the IANA time zones in use."""


class Schedule:
    """Settings as they hold now, out of settings as they were ordered."""

    def __init__(
        self, clock: Clock, *, phase: float, changed: Callable[[], None], zone: tzinfo | None = None
    ) -> None:
        """Begin on a link that is not metered.

        Args:
            clock: Wall time.
            phase: The agent's own number in [0, 1).
            changed: Called when other settings hold than before, though none were ordered.
            zone: The time zone; None for the machine's own, whatever it is at the time.
        """
        self._clock = clock
        self._phase = phase
        self._changed = changed
        self._zone = zone
        self._metered = False
        self._for: CommunicationSettings | None = None
        self._found: CommunicationSettings | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def metered(self) -> bool:
        """Whether the link is metered."""
        return self._metered

    @metered.setter
    def metered(self, value: bool) -> None:
        if value is not self._metered:
            self._metered = value
            self.look_again()

    def at(self, settings: CommunicationSettings) -> CommunicationSettings:
        """Return what holds now of ``settings``."""
        if not settings.times and settings.metered is None:
            if self._for is not None:
                self.close()
            return settings
        if self._found is None or settings != self._for:
            self._for, self._found = settings, self._look(settings)
        return self._found

    def look_again(self) -> None:
        """Find out anew what holds, and say if it is something else."""
        if self._for is None:
            return
        before, self._found = self._found, self._look(self._for)
        if self._found != before:
            self._changed()

    def close(self) -> None:
        """Forget the settings, and the timer."""
        self._for = self._found = None
        self._stop_timer()

    def _look(self, settings: CommunicationSettings) -> CommunicationSettings:
        """Return what holds now, and have it looked at again when that changes."""
        self._stop_timer()
        if self._zone is None:
            read_local_time()
        later = settings.window * self._phase
        now = self._clock.now() - later
        found = self._at(settings, now)
        following = self._following(settings, found, now)
        if following is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(following - now, self.look_again)
        return found

    def _at(self, settings: CommunicationSettings, when: float) -> CommunicationSettings:
        local = datetime.fromtimestamp(when, self._zone)
        return settings.at(local.weekday(), local.hour * 60 + local.minute, metered=self._metered)

    def _following(
        self, settings: CommunicationSettings, found: CommunicationSettings, now: float
    ) -> float | None:
        """Return the first time after ``now`` at which something else holds than ``found``."""
        today = datetime.fromtimestamp(now, self._zone).date()
        minutes = {minute for period in settings.times for minute in (period.begin, period.end)}
        midnights = (
            datetime.combine(today + timedelta(days=day), time(), self._zone) for day in range(_AHEAD + 1)
        )
        # Adding to a local time counts on the clock at the wall, so a day with 23 or 25 hours is none the less one.
        times = {(day + timedelta(minutes=minute)).timestamp() for day in midnights for minute in minutes}
        # Where that clock is put forward or back, a period may begin or end without its minute being reached.
        first = now - now % _QUARTER
        times.update(first + _QUARTER * number for number in range(1, int(_AHEAD * 86400 / _QUARTER)))
        return next(
            (when for when in sorted(times) if when > now and self._at(settings, when) != found), None
        )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
