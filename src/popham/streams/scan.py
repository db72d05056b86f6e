"""Finds the frames in a segment's bytes, and what is damaged between them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from popham.errors import StreamError
from popham.streams.frame import HEAD, MAGIC, SIGNATURE, Head


@dataclass(frozen=True, slots=True)
class Place:
    """A frame in a segment.

    Attributes:
        head: What it says.
        at: Where the frame begins in the file.
        is_whole: Whether its payload is what it was.
    """

    head: Head
    at: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a segment holds.

    Attributes:
        places: The frames whose heads are whole, in the order of the file.
        damaged: What is no whole frame: from, up to.
        end: Where the last frame ends; what follows is a torn tail.
    """

    places: tuple[Place, ...]
    damaged: tuple[tuple[int, int], ...]
    end: int


def scan(data: bytes, *, stamp: int = 0) -> Scanned:
    """Return what ``data`` holds; ``stamp`` bytes stand before each frame."""
    places: list[Place] = []
    damaged: list[tuple[int, int]] = []
    at = end = 0
    view = memoryview(data)
    while at < len(data):
        place = _place(view, at + stamp)
        if place is None:
            # The next place where a frame may begin, whatever its stamp says.
            found = data.find(MAGIC, at + stamp + 1)
            at = len(data) if found < 0 else found - stamp
            continue
        if at > end:
            damaged.append((end, at))
        places.append(place)
        end = place.at + place.head.total
        if not place.is_whole:
            damaged.append((at, end))
        at = end
    if end < len(data):
        damaged.append((end, len(data)))
    return Scanned(tuple(places), tuple(damaged), end)


def _place(view: memoryview, at: int) -> Place | None:
    try:
        head = Head.decode(view[at : at + HEAD])
    except StreamError:
        return None
    payload = view[at + HEAD + SIGNATURE : at + head.total]
    if len(payload) < head.length:
        return None
    return Place(head, at, sha256(payload).digest() == head.digest)
