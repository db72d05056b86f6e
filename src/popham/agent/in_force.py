"""A bundle on a machine, and the location whose part of it holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from popham.model.bundle import Bundle, LocationSet


@dataclass(frozen=True, slots=True)
class InForce:
    """A bundle on this machine, as it came, and the location whose part of it holds."""

    bundle: Bundle
    location: str
    envelope: bytes = field(default=b"", repr=False, compare=False)

    @property
    def held(self) -> LocationSet:
        """What holds here."""
        return self.bundle.locations[self.location]

    def at(self, location: str) -> InForce:
        """Return the same bundle in another location; in its default where it does not know that one."""
        known = location if location in self.bundle.locations else self.bundle.default_location
        return self if known == self.location else replace(self, location=known)
