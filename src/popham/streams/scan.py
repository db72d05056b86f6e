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


def scan(data: bytes, *, stamp: int = 0, mark: bytes = MAGIC) -> Scanned:
    """Return what ``data`` holds.

    Nothing is looked for inside of a frame whose head is whole: a payload may have frames that are none.

    Args:
        data: A segment, or a part of one that begins where a frame does.
        stamp: Bytes before each frame.
        mark: What these begin with, or without them the frame; where it stands is looked on after what is damaged.
    """
    places: list[Place] = []
    damaged: list[tuple[int, int]] = []
    at = end = 0
    view = memoryview(data)
    while at < len(data):
        place = _place(view, at + stamp) if data.startswith(mark, at) else None
        if place is None:
            found = data.find(mark, at + 1)
            at = len(data) if found < 0 else found
            continue
        if place.at + place.head.total > len(data):
            break
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
    return Place(head, at, sha256(payload).digest() == head.digest)
