"""Where the frames of agents go: what an upstream asks of whoever keeps them.

The Manager's intake is one, a Proxy Manager's store-and-forward another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from popham.net.seam import Refusal
from popham.streams.frame import Stream
from popham.streams.standing import Standing
from popham.upstream.record import Record

APPEND_LIMIT = 1024 * 1024
"""Bytes of the frames of one append. Source: the bound of requests for other paths than ``/v1/opamp``."""
APPEND_FRAMES = 256
"""Frames of one append, at most."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What an agent says beside its frames.

    Attributes:
        now: Unix seconds by its clock, as it sent them; None if that is not known.
        waiting: Records of the stream that still wait there after these; None if that is not known.
    """

    now: float | None = None
    waiting: int | None = None


class Intake(Protocol):
    """Takes frames, and knows how far it is."""

    def refusal(self, record: Record, stream: Stream) -> Refusal | None:
        """Return why nothing of this stream is taken of this agent now: there is no room. None if it is welcome."""
        ...

    def standing(self, record: Record, stream: Stream, epoch: int = 0) -> Awaitable[Standing]:
        """Return how far it is with an epoch of a stream of this agent; of the newest that is known, if 0."""
        ...

    def append(self, record: Record, stream: Stream, frames: bytes, sent: Sent) -> Awaitable[Standing]:
        """Keep frames, signed by this agent; the awaitable ends once they are durable.

        What is durable already is taken note of and dropped.  All frames are of one epoch, in order.

        Raises:
            StreamError: ``stream.damaged``, ``stream.short``, ``stream.many``: they are none of ours.
                ``stream.signature``: this agent did not sign them, or they are another's, or of another stream.
                ``stream.overlap``: they contradict what is durable.  ``stream.scattered``: they would make more
                ranges than are kept.  What stands before the frame that is refused may have been kept.
            LinkError: ``link.busy`` with ``retry_after``: there is no room now.
            StateError: They could not be written.
        """
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends plain OTLP.

    Attributes:
        uid: 16 bytes: of the agent, or of the token.
        owner: Returns whose the records of a resource are, 16 bytes, by its ``service.instance.id``.
    """

    uid: bytes
    owner: Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Rejected:
    """What of a request was left out, and is not to be sent again: records, and a sentence that says why."""

    records: int = 0
    why: str = ""


class OtlpIntake(Protocol):
    """Takes records that come as plain OTLP."""

    def refusal(self, source: bytes, stream: Stream) -> Refusal | None:
        """Return why nothing of this stream is taken of whoever this is now. None if it is welcome."""
        ...

    def take(self, source: Source, stream: Stream, body: bytes, *, is_json: bool) -> Awaitable[Rejected]:
        """Keep the records of an export request; the awaitable ends once they are durable.

        Raises:
            WireError: ``wire.malformed``, ``wire.too_large``: nothing of it is kept, and never will be.
            LinkError: ``link.busy`` with ``retry_after``: there is no room now.
            StateError: They could not be written.
        """
        ...
