"""One lane: streams that are sent one after another, by one message or request at a time."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from popham.agent.streams.course import Course
from popham.agent.streams.pace import Bandwidth
from popham.agent.streams.spools import View
from popham.agent.streams.terms import Terms
from popham.downstream.standings import decode
from popham.errors import LinkError, PophamError
from popham.link.backoff import Backoff
from popham.link.waits import wait_for_first
from popham.net.route import STREAMS
from popham.opamp.codec import custom
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.opamp.wire import HELD_MESSAGE_LIMIT
from popham.streams.frame import Stream
from popham.streams.standing import Standing

_log = logging.getLogger(__name__)
REQUEST: Final = 1024 * 1024
"""Bytes of the frames of one request. Source: docs/reference/wire.md."""
FRAMES: Final = 256
"""Frames of one request. Source: as above."""
MESSAGE: Final = HELD_MESSAGE_LIMIT - 256
"""Bytes of the frames of one message on a held link; the rest is for what stands around them."""
ANSWER_TIME: Final = 15.0
"""Seconds in which upstream has to answer frames on a held link."""
ASKED_TIME: Final = 15.0
"""Seconds without a further question after which a visitor, or who was told to ask, is no longer waited for."""
OLDER: Final = 3600.0
"""Seconds until an upstream that has no streams is asked again."""
SOON: Final = 0.001
"""Seconds before which something is due already: no timer is as exact as a sum of times."""
_ABSENT: Final = frozenset({404, 405})
_CONFLICT: Final = 409
_STANDING: Final = 16 * 1024
"""Bytes of a standing that is answered."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames that are sent at once: as bytes, the offset after them, and how many records wait behind."""

    data: bytes
    end: int
    waiting: int


class Lane:
    """Sends some of the streams.

    Attributes:
        courses: How far each is, in the order in which they are sent.
        bandwidth: Bounds what is sent.
    """

    def __init__(self, streams: Sequence[Stream], terms: Terms) -> None:
        """Send nothing before :meth:`run`."""
        self.courses = {stream: Course(stream, Backoff(terms.draw)) for stream in streams}
        self.bandwidth = Bandwidth()
        self._terms = terms
        self._backoff = Backoff(terms.draw)
        self._until = -math.inf  # time of the loop: nothing is sent by this end before, because it failed
        self._woken = asyncio.Event()

    # What others tell it.

    def wake(self) -> None:
        """Look again what is to be sent."""
        self._woken.set()

    def appended(self, stream: Stream) -> None:
        """Take note that there is more to send."""
        self.courses[stream].appended(_now())
        self.wake()

    def release(self) -> None:
        """Let everything go that is there."""
        for stream, course in self.courses.items():
            view = self._terms.spools.view(stream)
            course.released = view.next if view is not None else 0
        self.wake()

    async def take(self, standing: Standing) -> None:
        """Take note of how far upstream is. Raises StreamError."""
        course = self.courses[standing.stream]
        if standing.refused and course.renewed:
            # Each time all that waits would be written again, for nothing.
            problem = f"upstream refuses the stream {course.stream} under whatever epoch"
            self._failed(course, LinkError("unexpected", problem, status=_CONFLICT))
            return
        course.note(standing, _now())
        found = await self._terms.spools.heard(standing)
        view = self._terms.spools.view(standing.stream)
        if found is not None and view is not None:
            course.go_on(found, view)
            course.renewed = found.forked or (course.renewed and not found.first)
            if found.forked:
                _log.warning("the stream %s begins anew: upstream has another history of it", course.stream)
                self.release()
        self.wake()

    async def asked(self, standing: Standing, limit: int) -> bytes:
        """Return frames for a visitor that is so far; nothing if it is not the visitor who is to have them.

        Raises:
            StreamError: They cannot be read.
        """
        await self.take(standing)
        course = self.courses[standing.stream]
        failures = self._backoff.failures + course.backoff.failures
        works = self._terms.way.dials and not failures and self._terms.absent <= _now()
        limit = self.bandwidth.saved(limit, _now())
        if works or not limit or not self._terms.sends(course.stream):
            return b""
        batch = await self._read(course, limit)
        if batch is None:
            course.asked = -math.inf
            return b""
        course.asked = _now() + ASKED_TIME
        self.bandwidth.sent(len(batch.data), _now(), visit=True)
        return batch.data

    # What it does.

    async def run(self) -> None:
        """Send what is to be sent, until cancelled."""
        while True:
            self._woken.clear()
            course, wait = self._choose()
            if course is None:
                await wait_for_first(wait if wait < math.inf else None, self._woken)
                continue
            try:
                await self._send(course)
            except PophamError as error:
                self._failed(course, error)

    def _choose(self) -> tuple[Course | None, float]:
        """Return of which stream something is to be sent now; None, and in how many seconds there may be one."""
        soonest, now = math.inf, _now()
        for course in self.courses.values():
            wait = self._wait(course, now)
            if wait <= SOON:
                return course, 0.0
            soonest = min(soonest, wait)
        return None, soonest

    def _wait(self, course: Course, now: float) -> float:
        terms, view = self._terms, self._terms.spools.view(course.stream)
        if view is None or not terms.sends(course.stream):
            return math.inf
        settings = terms.end.settings
        due = course.wait(view, now, pulls=terms.way.pulls, critical=settings.critical)
        held = max(self._until - now, self.bandwidth.wait(now))
        if self._fits(course, view):
            return max(due, held, course.asked - now)
        if terms.way.dials:
            return max(due, held, terms.absent - now)
        return max(due, held, course.asked - now) if terms.way.asks else math.inf

    def _fits(self, course: Course, view: View) -> bool:
        """Return whether what waits goes as one message over the link that is held."""
        return self._terms.way.link and not course.shunned and view.bytes <= min(MESSAGE, course.credit)

    async def _send(self, course: Course) -> None:
        view = self._terms.spools.view(course.stream)
        course.since = None
        if view is not None and self._fits(course, view):
            await self._say(course)
        elif self._terms.way.dials:
            await self._post(course)
        else:
            await self._terms.way.say(custom(wire.Ready(streams=[course.stream])))
            course.asked = _now() + ASKED_TIME

    async def _read(self, course: Course, limit: int) -> Batch | None:
        """Return the next frames that upstream does not have; None if there are none."""
        terms, stream = self._terms, course.stream
        while frames := (await terms.spools.read(stream, course.first, limit=limit, key=terms.key))[:FRAMES]:
            lacking = course.lacking(frames)
            if lacking:
                end, view = lacking[-1].head.end, terms.spools.view(stream)
                waiting = max(0, view.next - end) if view is not None else 0
                return Batch(b"".join(frame.encode() for frame in lacking), end, waiting)
            course.first = frames[-1].head.end
        return None

    # By a request of this end.

    async def _post(self, course: Course) -> None:
        batch = await self._read(course, self.bandwidth.room(min(REQUEST, course.credit or REQUEST)))
        if batch is None:
            return
        now = self._terms.clock.now()
        path = f"{STREAMS}{course.stream}?now={now:.3f}&waiting={batch.waiting}"
        self.bandwidth.sent(len(batch.data), _now())
        before, conflict = course.progress, None
        try:
            answer = await self._terms.way.request(lambda to: to.upload(path, batch.data, limit=_STANDING))
        except LinkError as error:
            if error.status != _CONFLICT:
                raise
            conflict, answer = error, await self._ask(course.stream)
        await self.take(decode(answer, course.stream))
        if course.progress == before and course.until <= _now():
            problem = f"upstream took nothing of the stream {course.stream}"
            raise conflict or LinkError("unexpected", problem)
        self._worked(course)

    async def _ask(self, stream: Stream) -> bytes:
        """Return how far upstream is, as it says."""
        view = self._terms.spools.view(stream)
        path = f"{STREAMS}{stream}?epoch={view.epoch if view is not None else 0}"
        return await self._terms.way.request(lambda to: to.fetch(path, limit=_STANDING))

    # Over a link.

    async def _say(self, course: Course) -> None:
        batch = await self._read(course, MESSAGE)
        if batch is None:
            return
        if len(batch.data) > MESSAGE:
            course.shunned = True  # a gap is counted nowhere, and has its bytes, too
            return
        now = self._terms.clock.now()
        append = wire.Append(stream=course.stream, frames=batch.data, now=now, waiting=batch.waiting)
        self.bandwidth.sent(len(batch.data), _now())
        before = course.progress
        await self._terms.way.say(custom(append))
        try:
            async with asyncio.timeout(ANSWER_TIME):
                while course.progress == before and course.until <= _now() and self._terms.way.link:
                    self._woken.clear()
                    await self._woken.wait()
        except TimeoutError as error:
            self._terms.way.linked = False  # until upstream says something of streams over it
            problem = f"upstream did not answer for the stream {course.stream} within {ANSWER_TIME:g} s"
            raise LinkError("timeout", problem) from error
        if course.progress != before:
            self._worked(course)
            return
        course.shunned = True
        if course.until <= _now():
            raise LinkError("closed", f"the link ended before the stream {course.stream} was answered")

    def _worked(self, course: Course) -> None:
        self._backoff.succeeded()
        if not course.renewed:
            course.backoff.succeeded()

    def _failed(self, course: Course, error: PophamError) -> None:
        """Note a failure, and for how long to stay away."""
        course.problem = str(error)
        status = error.status if isinstance(error, LinkError) else 0
        if status in _ABSENT:
            self._terms.absent = _now() + OLDER
            _log.warning("upstream takes no streams; it is older than this agent, and asked again in an hour")
            return
        # Who answered refused this stream; what failed otherwise would fail for the others, too.
        backoff = course.backoff if status else self._backoff
        backoff.window, backoff.heartbeat = self._terms.end.retry_window, self._terms.end.settings.heartbeat
        wait = backoff.failed(error.retry_after if isinstance(error, LinkError) else None)
        if status:
            course.until = _now() + wait
        else:
            self._until = _now() + wait
        level = logging.WARNING if backoff.failures == 1 else logging.DEBUG
        _log.log(
            level, "the stream %s is not sent, and tried again in %.1f s: %s", course.stream, wait, error
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
