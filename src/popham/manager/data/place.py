"""Positions in the intake as one number each, which rises as records come: what columns and cursors have."""

from __future__ import annotations

from typing import Final

from popham.manager.intake.position import Position

_BITS: Final = 40
"""Bits of a place that are the position in a segment: a segment has far less than a tebibyte."""


def place_of(position: Position) -> int:
    """Return a position as one number."""
    return position.segment << _BITS | position.at


def position_of(place: int) -> Position:
    """Return the position that a place stands for."""
    return Position(place >> _BITS, place & ((1 << _BITS) - 1))
