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
        whole: The same with both sides.
        uses_candidate: Whether the candidate of a rollout holds.
        location: Where the machine is.
        envelope: The bundle as it came.
        serial: Serial of the content that holds: an older one than the bundle's on the stable side of a rollout.
        parts: What of it holds where something of it is withheld; ``bundle`` has that in place of the whole.
    """

    bundle: Bundle
    location: str
    envelope: bytes = field(repr=False, compare=False)
    serial: int
    whole: Bundle = field(repr=False, compare=False)
    uses_candidate: bool = False
    parts: Parts | None = None

    @classmethod
    def of(cls, bundle: Bundle, uid: str, envelope: bytes, candidate: str = "") -> InForce:
        """Return a bundle as an agent has it, in the default location.

        Args:
            bundle: It.
            uid: Of the agent.
            envelope: The bundle as it came.
            candidate: The rollout whose candidate the agent is to use by its assignment; empty for none.
        """
        return cls._on(bundle, envelope, candidate=bundle.is_candidate(uid, candidate))

    @classmethod
    def _on(cls, bundle: Bundle, envelope: bytes, *, candidate: bool) -> InForce:
        chosen, serial = bundle.chosen(candidate=candidate), bundle.serial_of(candidate=candidate)
        return cls(chosen, chosen.default_location, envelope, serial, bundle, candidate)

    @property
    def other(self) -> InForce | None:
        """The same bundle as it is for those on the other side of its rollout; None without one."""
        if self.whole.candidate is None:
            return None
        return self._on(self.whole, self.envelope, candidate=not self.uses_candidate)

    def bringing(self, resolved: str, *, serial: int = 0, parts: Parts | None = None) -> InForce:
        """Return the same bundle on the side that brings ``resolved``; where neither does, or both, as it is.

        An assignment may have changed the side since that came into force.

        Args:
            resolved: Digest of a resolved policy.
            serial: Serial of its content, which decides between the sides; 0 if unknown.
            parts: What of it holds where something of it is withheld.
        """
        other = self.other
        sides = [self] if other is None else [self, other]
        found = [one for one in sides if one.only(parts).brings(resolved)]
        return next((one for one in found if one.serial == serial), found[0] if found else self)

    def brings(self, resolved: str) -> bool:
        """Return whether a location of it has this resolved policy."""
        return any(held.resolved_digest == resolved for held in self.bundle.locations.values())

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
