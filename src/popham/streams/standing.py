"""How far a receiver is with one stream of one agent: what it says to whoever sends.

Rules:

1. ``next`` is the offset up to which everything is durable there, or known to be lost; what came beyond stands in
   ``ranges``.
2. ``last`` is the tail of the frame that ends at ``next``.  A sender whose own frame there has another one, or that
   has less than ``next``, finds that its history is not the one that was told: its state directory was copied back.
   ``boots`` say which of its frames the receiver has then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from popham.streams.frame import START, Stream

RANGES: Final = 32
"""Ranges beyond ``next`` that a receiver keeps of one stream, at most; a frame that would make more is refused."""
BOOTS: Final = 16
"""Boots that a receiver remembers of one stream: the newest."""
CREDIT: Final = 1024 * 1024
"""Bytes that may be sent to a receiver without being asked, at most."""


@dataclass(frozen=True, slots=True)
class Range:
    """Records that are durable beyond the contiguous ones.

    Attributes:
        first: Offset of the first.
        end: Offset after the last.
        last: Tail of the frame that ends there.
    """

    first: int
    end: int
    last: bytes = START


@dataclass(frozen=True, slots=True)
class Boot:
    """A process of the agent that appended frames: its number, and the offset of the first of them that is known."""

    boot: bytes
    first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a receiver is.

    Attributes:
        stream: With which stream.
        epoch: Of which epoch this is said; 0 if none is known.
        newest: The newest epoch that is known of this stream; 0 for none.
        next: Offset of the first record that is not durable there.
        last: Tail of the frame that ends at ``next``; :data:`~popham.streams.frame.START` if ``next`` is 0.
        ranges: What is durable beyond, in order; at most :data:`RANGES`.
        boots: Of the frames that are here, in order; the newest :data:`BOOTS`.
        credit: Bytes that may be sent now without being asked; 0 to wait until asked, or until ``retry_after`` is over.
        retry_after: Seconds to send nothing of this stream; 0 for none.
        refused: Whether frames of this epoch contradict what is here, so that it cannot go on: a new one is to begin.
        above: Where a Proxy Manager answers that keeps what it took until the Manager has it: how far the Manager is.
            None where ``next`` is durable at the Manager.
    """

    stream: Stream
    epoch: int = 0
    newest: int = 0
    next: int = 0
    last: bytes = START
    ranges: tuple[Range, ...] = ()
    boots: tuple[Boot, ...] = field(default=())
    credit: int = CREDIT
    retry_after: float = 0.0
    refused: bool = False
    above: int | None = None
