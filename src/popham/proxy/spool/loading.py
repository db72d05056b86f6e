"""Puts frames that are held into messages, as they go up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from popham.clock import Clock
from popham.errors import StreamError
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.spool.held import Held, Lane
from popham.proxy.spool.keeping import Keeping
from popham.streams.frame import Stream
from popham.upstream.intake import APPEND_FRAMES, APPEND_LIMIT

_log = logging.getLogger(__name__)
_RETRY: Final = 5.0
"""Seconds after which a disk that gave nothing is read again."""


class Loading:
    """Reads what is to be said next.

    Attributes:
        on_lost: Told of an agent and a stream of which a frame is lost here.
    """

    def __init__(self, keeping: Keeping, clock: Clock) -> None:
        """Read what ``keeping`` holds; ``clock`` says for how long it was here."""
        self.on_lost: Callable[[bytes, Stream], None] = lambda _uid, _stream: None
        self._keeping = keeping
        self._clock = clock

    def load(self, limit: int) -> list[wire.Carried]:
        """Return what is to be carried now, about ``limit`` bytes of frames."""
        chosen = self._keeping.lanes.choose(limit, self._clock.monotonic())
        found = (self._carry(lane, items) for lane, items in chosen)
        return [carried for carried in found if carried is not None]

    def _carry(self, lane: Lane, items: Sequence[Held]) -> wire.Carried | None:
        """Return frames of one lane as they travel: of one epoch, and in order; the rest waits for the next message.

        Of each lane one thing is said at a time, since one thing is answered.
        """
        frames: list[bytes] = []
        size, before = 0, None
        for number, one in enumerate(items):
            try:
                frame = self._keeping.read(one)
            except StreamError as error:
                self._lose(lane, one, error)
                continue
            except OSError as error:
                _log.warning("frames of %s of %s cannot be read now: %s", lane.stream, lane.uid.hex(), error)
                lane.said -= len(items) - number
                lane.until = self._clock.monotonic() + _RETRY
                break
            if before is not None and not (
                _follows(one, before) and size + len(frame) <= APPEND_LIMIT and len(frames) < APPEND_FRAMES
            ):
                lane.said -= len(items) - number
                break
            frames.append(frame)
            size += len(frame)
            before = one
        return None if before is None else self._message(lane, before, frames)

    def _lose(self, lane: Lane, one: Held, error: StreamError) -> None:
        """Hold a frame no more that the disk does not give back; the agent is told, and counts what it has not itself."""
        _log.error("a frame of %s of %s is lost here: %s", lane.stream, lane.uid.hex(), error)
        self._keeping.lanes.drop(lane, [one], "damaged")
        self.on_lost(lane.uid, lane.stream)

    def _message(self, lane: Lane, last: Held, frames: Sequence[bytes]) -> wire.Carried:
        stamp, now = last.stamp, 0.0
        if stamp.now is not None:
            # The agent's clock as it is now, if it goes as this one does.
            now = stamp.now + max(0.0, self._clock.now() - stamp.received)
        # What waits at the agent, as it said last, and what waits here.
        waiting = lane.order[-1].stamp.waiting
        if waiting is not None:
            waiting += sum(one.records for one in lane.order[lane.order.index(last) + 1 :])
        return wire.Carried(
            key=last.head.uid,
            stream=last.head.stream,
            frames=b"".join(frames),
            now=now,
            waiting=waiting,
        )


def _follows(one: Held, before: Held) -> bool:
    return before.head.epoch == one.head.epoch and before.head.end <= one.head.first
