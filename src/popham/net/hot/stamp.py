"""The lines that every answer has, made once a second: what the hot path says is mostly the same."""

from __future__ import annotations

from email.utils import formatdate

from popham.clock import Clock
from popham.net.route import PROTOBUF

_SIZES = 64
"""Heads of one second that are kept; answers with nothing new have one size."""


class Stamp:
    """Heads of answers, with the time. Source: RFC 9110 section 6.6.1.

    Wall time is asked for once a second; whoever answers knows the loop's time anyway.
    """

    __slots__ = ("_clock", "_heads", "_line", "_until")

    def __init__(self, clock: Clock) -> None:
        """Tell the time of ``clock``."""
        self._clock = clock
        self._until = float("-inf")
        self._line = ""
        self._heads: dict[int, bytes] = {}

    def line(self, now: float) -> str:
        """Return the Date header at the loop time ``now``."""
        if now >= self._until:
            self._renew(now)
        return self._line

    def found(self, size: int, now: float) -> bytes:
        """Return the head of an answer of ``size`` bytes that was found and ends here."""
        if now >= self._until:
            self._renew(now)
        head = self._heads.get(size)
        if head is None:
            head = self.begin(size, now) + b"\r\n"
            if len(self._heads) < _SIZES:
                self._heads[size] = head
        return head

    def begin(self, size: int, now: float) -> bytes:
        """Return the same head, to which lines may be added; an empty one ends it."""
        lines = (
            f"HTTP/1.1 200 OK\r\n{self.line(now)}\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {size}\r\n"
        )
        return lines.encode()

    def _renew(self, now: float) -> None:
        told = self._clock.now()
        self._until = now + 1.0 - told % 1.0
        self._line = f"Date: {formatdate(int(told), usegmt=True)}"
        self._heads.clear()
