"""What is held of one stream of one agent: frames that are not known to be above, on top of what is.

Rules:

1. What the other end of the uplink has stands in its *word*, the standing that it said last.  What is held is offered
   to that as to a receiver: what it has already goes, what contradicts it goes too, and is counted.
2. Frames go up in the order in which they came.  A gap may stand for more than what was lost, so it never goes before
   frames that came before it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Container
from dataclasses import dataclass, field, replace
from typing import Final

from popham.errors import StreamError
from popham.proxy.spool.log import Place
from popham.proxy.spool.stamp import Stamp
from popham.streams.frame import Head, Kind, Stream
from popham.streams.receiving import Receiving, Verdict
from popham.streams.standing import Standing

COST: Final = 4096
"""Bytes that a frame counts, at least: small ones take memory beside their bytes."""
REPEAT: Final = 60.0
"""Seconds after which what was said is said again although nobody knows that it did not arrive; twice as many each time."""
_REPEAT_MOST: Final = 3600.0
"""Seconds of that, at most."""
UNANSWERED: Final = 8
"""Times that something is said and not answered, after which nobody above takes it: then it counts how old it is."""
_WAIT_MOST: Final = 300.0
"""Seconds until frames are said again that were not taken, at most."""


@dataclass(slots=True, eq=False)
class Held:
    """A frame that is durable here: its head, where it stands, and what was noted as it came."""

    head: Head
    place: Place
    stamp: Stamp

    @property
    def cost(self) -> int:
        """Return the bytes that it counts."""
        return max(COST, self.place.size)

    @property
    def records(self) -> int:
        """Return how many records it has."""
        return self.head.count if self.head.kind is Kind.RECORDS else 0


class Epoch:
    """What is held of one epoch.

    Attributes:
        word: What was said above of it; None for nothing yet.
        held: In the order in which it came.
        whole: How far this is with all that is held.
    """

    def __init__(self, stream: Stream, epoch: int, word: Standing | None) -> None:
        """Begin with nothing on top of ``word``."""
        self.word = word
        self.held: list[Held] = []
        self._copies = False  # some of it was not promised
        self._none = Standing(stream=stream, epoch=epoch, newest=epoch)
        self.whole = Receiving.from_standing(word or self._none)

    def add(self, held: Held) -> bool:
        """Hold a frame too; returns False if that is not new. Raises StreamError as ``Receiving.offer``."""
        if self.whole.offer(held.head) is Verdict.HAVE:
            return False
        self.whole.take(held.head)
        self.held.append(held)
        self._copies |= not held.stamp.promised
        return True

    def hear(self, word: Standing) -> tuple[list[Held], list[Held]]:
        """Take what was said above; returns what is there, and what contradicts it: neither is held any more."""
        self.word = word
        there: list[Held] = []
        wrong: list[Held] = []
        if word.refused:
            self.held, wrong = [], self.held
        base, self.whole = Receiving.from_standing(word), Receiving.from_standing(word)
        kept = []
        for one in self.held:
            try:
                if base.offer(one.head) is Verdict.HAVE:
                    there.append(one)
                    continue
            except StreamError as error:
                if error.code == "stream.overlap":
                    wrong.append(one)
                    continue
            kept.append(one)
            self._take(one)
        self.held = kept
        return there, wrong

    def _take(self, one: Held) -> None:
        try:
            if self.whole.offer(one.head) is not Verdict.HAVE:
                self.whole.take(one.head)
        except StreamError:
            # It makes more ranges than are told.  It is sent nevertheless, and told of once it is above.
            return

    def promise(self) -> Receiving:
        """Return how far this is with all that is held, which agents are promised by that."""
        if self._copies:
            for one in self.held:
                one.stamp = replace(one.stamp, promised=True)
            self._copies = False
        return self.whole

    def promised(self) -> Receiving:
        """Return how far this is with what agents were promised only."""
        found = Receiving.from_standing(self.word or self._none)
        for one in self.held:
            if not one.stamp.promised:
                continue
            try:
                if found.offer(one.head) is not Verdict.HAVE:
                    found.take(one.head)
            except StreamError:
                continue
        return found

    def drop(self, gone: Container[Held]) -> None:
        """Hold these no more."""
        self.held = [one for one in self.held if one not in gone]
        self.whole = Receiving.from_standing(self.word or self._none)
        for one in self.held:
            self._take(one)


@dataclass(slots=True, eq=False)
class Lane:
    """One stream of one agent.

    Attributes:
        uid: The agent's instance_uid, 16 bytes.
        stream: Which stream.
        epochs: What is held of each epoch of which anything is.
        order: All that is held, in the order in which it came.
        said: How many of these were said, and may be on their way.
        since: When they were, monotonic seconds.
        credit: Bytes that may be said now.
        until: Nothing is said before, monotonic seconds.
        failures: How often what was said was not taken.
        unanswered: How often nothing was answered to what was said, since something was: then one frame is said at a time.
        waiters: Ended when something is said above of this stream.
    """

    uid: bytes
    stream: Stream
    epochs: dict[int, Epoch] = field(default_factory=dict)
    order: list[Held] = field(default_factory=list)
    said: int = 0
    since: float = -math.inf
    credit: int = 0
    until: float = -math.inf
    failures: int = 0
    unanswered: int = 0
    waiters: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def oldest(self) -> Held | None:
        """Return what is held longest; None for nothing."""
        return self.order[0] if self.order else None

    def next(self, now: float) -> Held | None:
        """Return what is to be said next; None for nothing now."""
        said = 0 if self._is_due_again(now) else self.said
        most = 1 if self.unanswered else len(self.order)
        if now < self.until or said >= min(most, len(self.order)):
            return None
        return self.order[said]

    def look(self, now: float) -> None:
        """Take note, as more is said above, of what arrived there long ago and was not answered.

        Nobody above has heard it for certain before: those may be away, for days, and then nothing counts as unanswered.
        """
        if self._is_due_again(now):
            self.said, self.unanswered = 0, min(self.unanswered + 1, 2 * UNANSWERED)

    def _is_due_again(self, now: float) -> bool:
        return bool(self.said) and now >= self.since + min(_REPEAT_MOST, REPEAT * 2.0**self.unanswered)

    def note_said(self, one: Held, now: float) -> None:
        """Take note that the next was said."""
        self.said += 1
        self.credit -= one.place.size
        self.since = now

    def again(self) -> None:
        """Say all of it again."""
        self.said = 0

    def took(self, now: float, *, moved: bool, wait: float, draw: float) -> None:
        """Take note of an answer: whether anything of it was taken, and the seconds to stay away."""
        self.unanswered = 0
        if moved:
            self.failures = 0
            self.until = now + wait if wait else -math.inf
        elif self.order:
            self.failures = min(self.failures + 1, 16)
            self.said = 0
            self.until = now + max(wait, min(_WAIT_MOST, 2.0**self.failures) * (0.5 + draw / 2))

    def remove(self, gone: Container[Held]) -> None:
        """Say nothing of these any more."""
        self.said -= sum(one in gone for one in self.order[: self.said])
        self.order = [one for one in self.order if one not in gone]
        self.epochs = {number: one for number, one in self.epochs.items() if one.held}

    def wake(self) -> None:
        """Have all go on that wait for what is said above."""
        waiters, self.waiters = self.waiters, []
        for one in waiters:
            if not one.done():
                one.set_result(None)
