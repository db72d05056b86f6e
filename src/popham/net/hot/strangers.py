"""Those who have not been admitted: how many, and who goes when there are too many.

Rules:

1. An address may hold so many places; past that its own oldest goes.
2. Past the bound of all, the oldest of the address with the most goes, so that
   one address that takes every place cannot push out another.
3. Every step takes the same time, however many there are.

Source: guarantees SEC-10, REL-14.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from popham.net.quota import place_of

One = TypeVar("One")
How = TypeVar("How")


class Strangers(Generic[One, How]):
    """Connections, or handshakes, by address; a mapping of each to what ends it."""

    def __init__(self, bound: int, per_address: int) -> None:
        """Hold so many in all, and of one address."""
        self._bound = bound
        self._per_address = per_address
        self._ends: dict[One, tuple[How, str]] = {}
        self._places: dict[str, dict[One, None]] = {}
        self._counts: dict[int, dict[str, None]] = {}
        self._most = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._ends)

    def __contains__(self, one: One) -> bool:
        """Return whether this one is among them."""
        return one in self._ends

    @property
    def most(self) -> int:
        """Return how many the address with the most has."""
        return self._most

    def add(self, one: One, how: How, address: str) -> How | None:
        """Take one more, and return what ends the one that has to go for it; None if nobody has to."""
        place = place_of(address)
        self._ends[one] = how, place
        held = self._places.setdefault(place, {})
        held[one] = None
        self._move(place, len(held) - 1, len(held))
        if len(held) > self._per_address:
            return self.pop(next(iter(held)))
        return self.drop() if len(self._ends) > self._bound else None

    def take_turn(self) -> How | None:
        """Take out the oldest of the address whose turn it is, one after the other; None if there is nobody."""
        if not self._ends:
            return None
        place, held = next(iter(self._places.items()))
        how = self.pop(next(iter(held)))
        if held:
            del self._places[place]
            self._places[place] = held
        return how

    def drop(self) -> How | None:
        """Take the oldest of the address with the most out, and return what ends it; None if there is nobody."""
        if not self._ends:
            return None
        place = next(iter(self._counts[self._most]))
        return self.pop(next(iter(self._places[place])))

    def pop(self, one: One) -> How | None:
        """Take one out, and return what ends it; None if it is not among them."""
        found = self._ends.pop(one, None)
        if found is None:
            return None
        how, place = found
        held = self._places[place]
        del held[one]
        self._move(place, len(held) + 1, len(held))
        if not held:
            del self._places[place]
        return how

    def _move(self, place: str, before: int, now: int) -> None:
        """Note that an address has one more, or one less."""
        if now:
            self._counts.setdefault(now, {})[place] = None
        if before:
            same = self._counts[before]
            del same[place]
            if not same:
                del self._counts[before]
        if now > self._most or (before == self._most and before not in self._counts):
            self._most = now
