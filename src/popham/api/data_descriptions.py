"""What the fields of agents' data mean: the part of :mod:`popham.api.descriptions` that is about it."""

from __future__ import annotations

from collections.abc import Mapping

DATA_FIELDS: Mapping[str, str] = {
    "IntakeView.appended": "Records that became durable in a second, lately.",
    "IntakeView.bytes": "Bytes of its segments.",
    "IntakeView.damaged": "Frames of segments that are not what was written any more.",
    "IntakeView.lost": "Cause to how many records agents had to drop.",
    "IntakeView.name": "The stream: events, summary, metrics or logs.",
    "IntakeView.oldest": "Seconds that the oldest of what waits has waited; 0 if nothing does.",
    "IntakeView.queued": "Records that wait for the disk.",
    "IntakeView.queued_bytes": "Bytes of what waits for the disk.",
    "IntakeView.readers": "Who derives something from it.",
    "IntakeView.refused": "Reason to how many appends were refused since the start.",
    "IntakeView.segments": "How many files it has.",
    "IntakeView.stored": "Records of all agents that became durable.",
    "Intakes.items": "One for each stream.",
    "ReaderView.bytes": "Bytes of segments that it has not read.",
    "ReaderView.name": "What derives something from the stream.",
    "ReaderView.records": "Records that it has not read, at most.",
    "ReaderView.seconds": "For how long the oldest record that it has not read is here; 0 if there is none.",
}
"""``Schema.field`` → what it means there."""
