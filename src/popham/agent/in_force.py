"""A bundle on a machine, and the location whose part of it holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from popham.agent.records import Parts
from popham.model.bundle import Bundle, LocationSet


@dataclass(frozen=True, slots=True)
class InForce:
    """A bundle on this machine, as it came, and the location whose part of it holds.

    Attributes:
        bundle: What holds for this agent of it: during a rollout one of its sides.
        location: Where the machine is.
        envelope: The bundle as it came.
        serial: Serial of the content that holds: an older one than the bundle's on the stable side of a rollout.
        parts: What of it holds where something of it is withheld; ``bundle`` has that in place of the whole.
    """

    bundle: Bundle
    location: str
    envelope: bytes = field(default=b"", repr=False, compare=False)
    serial: int = 0
    parts: Parts | None = None

    @classmethod
    def of(cls, bundle: Bundle, uid: str, envelope: bytes) -> InForce:
        """Return a bundle as the agent ``uid`` has it, in the default location."""
        chosen = bundle.chosen(uid)
        return cls(chosen, chosen.default_location, envelope, bundle.serial_for(uid))

    @property
    def held(self) -> LocationSet:
        """What holds here."""
        return self.bundle.locations[self.location]

    @property
    def here(self) -> Parts | None:
        """What of it holds here; None for all of it."""
        return self.parts if self.parts and self.parts.location == self.location else None

    def only(self, parts: Parts | None) -> InForce:
        """Return the same bundle, where ``parts`` of it hold; None for all of it, as it is."""
        if parts is None or parts.location not in self.bundle.locations:
            return self
        sets = dict(self.bundle.locations)
        sets[parts.location] = replace(sets[parts.location], policies=parts.policies)
        bundle = replace(self.bundle, locations=sets)
        return replace(self, bundle=bundle, location=parts.location, parts=parts)

    def at(self, location: str) -> InForce:
        """Return the same bundle in another location; in its default where it does not know that one."""
        known = location if location in self.bundle.locations else self.bundle.default_location
        return self if known == self.location else replace(self, location=known)

    def where(self, resolved: str) -> InForce:
        """Return the same bundle in the location for which it brings ``resolved``; where none is, as it is."""
        if self.held.resolved_digest == resolved:
            return self
        found = (name for name, held in self.bundle.locations.items() if held.resolved_digest == resolved)
        return self.at(next(found, self.location))
