"""Bounds of the intake."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the intake may use.

    Attributes:
        keep: Seconds that segments are kept after all readers have read them, while there is room.
        bytes: Bytes of all segments; over that, nothing is taken.
        reserve: Bytes of the disk that are left free. Source: guarantees REL-3.
        bytes_per_second: Bytes in a second of one agent; 0 for no limit. Source: guarantees SEC-10.
    """

    keep: float = 86_400.0
    bytes: int = 16 * 1024**3
    reserve: int = 64 * 1024**2
    bytes_per_second: float = 4.0 * 1024**2
