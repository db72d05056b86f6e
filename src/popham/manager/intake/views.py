"""How the intake is shown: what waits, what was refused, what is kept, and how far behind its readers are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from popham.manager.data.views import KeptView


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderView:
    """How far somebody who derives something from a stream is.

    Attributes:
        name: Who.
        bytes: Bytes of segments that it has not read.
        records: Records that it has not read, at most; part of a segment is counted whole at first.
        seconds: For how long the oldest of them is here; 0 if there is none.
    """

    name: str
    bytes: int
    records: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeView:
    """The intake of one stream.

    Attributes:
        name: The stream.
        queued: Records that wait for the disk.
        queued_bytes: Bytes of them.
        oldest: Seconds that the oldest of them waits; 0 if there is none.
        appended: Records that became durable in a second, lately.
        refused: Reason → appends refused since the start.
        stored: Records that are durable or were, of all agents.
        lost: Cause → records that agents had to drop.
        damaged: Frames of segments that are not what was written any more.
        segments: Files of it.
        bytes: Bytes of them.
        readers: Those who derive something from it.
        kept: What is kept in files of what was taken; None where nobody keeps it.
    """

    name: str
    queued: int
    queued_bytes: int
    oldest: float
    appended: float
    refused: Mapping[str, int]
    stored: int
    lost: Mapping[str, int]
    damaged: int
    segments: int
    bytes: int
    readers: tuple[ReaderView, ...]
    kept: KeptView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of one stream of one agent.

    Attributes:
        epoch: The newest.
        stored: Records that are durable or were, of all epochs that are known.
        lost: Cause → records that it had to drop; ``absent`` for those that a Proxy Manager took and did not bring yet.
        waiting: Records that wait at the agent, as it said last; None if it did not.
        skew: Seconds that its clock is ahead of ours; None if that is not known.
        received: When its newest frames came, unix seconds.
    """

    epoch: int
    stored: int
    lost: Mapping[str, int]
    waiting: int | None
    skew: float | None
    received: float
