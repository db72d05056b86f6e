"""The bundle: the signed document that says what holds for one group.

Its form is ``application/vnd.popham.bundle.v1+json`` in
``docs/reference/wire.md``.  ``serial`` is for people and rises only when content
changes; ``version`` is for machines and rises at each signing.

Rules:

1. ``content_digest`` covers everything but ``version``, ``issued`` and itself.
2. Fields this program does not know are kept out of the objects and ignored,
   unless they are listed in ``crit``.
3. The location is resolved on the agent, so a bundle carries all of them, and the rules.
4. With download off it carries settings and rules only; agents keep the policies they have.  ``crit`` says so,
   since an agent that does not know this would take its policies away.  So it does where the Manager is to
   dial, on either side: an agent that cannot be visited would wait for ever.
5. What a later version added stands in it only where it is used, so nobody's serial rises by an upgrade.
6. During a rollout it carries two sides, *stable* and *candidate*, and the agent itself decides by its bucket,
   and by its assignment, which one holds for it.  A reader that knows no rollouts stays on the stable side.  Its waves are signed
   anew under the same serial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from popham.errors import DefinitionError, WireError
from popham.model.communication import CommunicationSettings, Dialer
from popham.model.location import LocationRules
from popham.model.names import DEFAULT_LOCATION, DEFAULT_TENANT, canonical, digest, parse_json
from popham.model.rollout import RolloutRef

BUNDLE_TYPE = "application/vnd.popham.bundle.v1+json"
CRITICAL = frozenset({"download", "visits"})
"""What this program knows of ``crit``."""
_NOT_CONTENT = ("version", "issued", "content_digest")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRef:
    """A policy as a bundle names it.

    Attributes:
        type: Policy type, such as ``files``.
        name: Name of the policy.
        revision: Revision of the policy, from 1.
        sha256: Digest of its canonical body.
        length: Length of that body, in bytes.
    """

    type: str
    name: str
    revision: int
    sha256: str
    length: int

    def as_dict(self) -> dict[str, Any]:
        """Return the reference as it stands in the document."""
        return {
            "type": self.type,
            "name": self.name,
            "revision": self.revision,
            "sha256": self.sha256,
            "length": self.length,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationSet:
    """What holds in one location: policies (by type, sorted) and communication settings."""

    policies: tuple[PolicyRef, ...]
    communication: CommunicationSettings

    def as_dict(self) -> dict[str, Any]:
        """Return the set as it stands in the document."""
        return {
            "policies": [ref.as_dict() for ref in self.policies],
            "communication": self.communication.as_dict(),
        }

    @property
    def resolved_digest(self) -> str:
        """Digest of the resolved policy that holds in this location."""
        return digest(canonical(self.as_dict()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two sides of a rollout: what holds for those on it.

    Attributes:
        locations: Name → what holds there.
        rules: How an agent finds out where it is; None where there is the default location only.
        download: Whether policies stand in it.
    """

    locations: Mapping[str, LocationSet]
    rules: LocationRules | None = None
    download: bool = True

    @property
    def default_location(self) -> str:
        """Name of the location that holds where no other does."""
        return self.rules.default if self.rules else DEFAULT_LOCATION

    def sets(self) -> dict[str, Any]:
        """Return the sets as they stand in the document."""
        return {name: held.as_dict() for name, held in self.locations.items()}

    def traits(self) -> dict[str, Any]:
        """Return what stands beside the sets."""
        used: dict[str, Any] = {"default_location": self.default_location}
        if self.rules is not None:
            used["location_rules"] = self.rules.as_dict()
        if not self.download:
            used["download"] = False
        return used


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What is to hold for one group, in each of its locations.

    Attributes:
        serial: Rises by one when content changes.
        version: Rises at each signing: max(previous + 1, unix milliseconds).
        issued: Unix seconds of the signing.
        prev: ``content_digest`` of the serial before; empty for the first.
        crit: What else a reader must know, besides what follows from the content.
        tuf: Smallest versions of TUF roles that go with it.
        locations: Name → what holds there.
        rules: How an agent finds out where it is; None where there is the default location only.
        download: Whether policies stand in it; if not, those of an earlier bundle stay in force.
        candidate: What holds for the cohort of a rollout; None without one.
        rollout: Who is in the cohort; None without a rollout.
    """

    group: str
    serial: int
    version: int
    issued: int
    locations: Mapping[str, LocationSet]
    prev: str = ""
    tenant: str = DEFAULT_TENANT
    rules: LocationRules | None = None
    download: bool = True
    crit: tuple[str, ...] = ()
    tuf: Mapping[str, int] = field(default_factory=lambda: {"root": 1, "targets": 1})
    candidate: Side | None = None
    rollout: RolloutRef | None = None
    # What the payload said, unknown fields included; replace() drops it.
    _said: str = field(default="", init=False, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the whole document, its content digest included."""
        body = self._content()
        body["content_digest"] = digest(canonical(body))
        return body | {"version": self.version, "issued": self.issued}

    def payload(self) -> bytes:
        """Return the bytes to sign."""
        return canonical(self.as_dict())

    @property
    def default_location(self) -> str:
        """Name of the location that holds where no other does."""
        return self.stable.default_location

    @property
    def content_digest(self) -> str:
        """Digest over all but version and issue time; the identity of the content."""
        return self._said or digest(canonical(self._content()))

    @property
    def stable(self) -> Side:
        """What holds for those outside a cohort, and without a rollout for all."""
        return Side(locations=self.locations, rules=self.rules, download=self.download)

    def is_candidate(self, uid: str, candidate: str = "") -> bool:
        """Return whether the candidate side holds for an agent.

        Args:
            uid: Its instance_uid, a UUID string.
            candidate: The rollout that its assignment names; empty for none.
        """
        return self.rollout is not None and self.rollout.has(uid, candidate)

    def serial_of(self, *, candidate: bool) -> int:
        """Return the serial of the content of one side: an older one on the stable side."""
        return self.serial if self.rollout is None or candidate else self.rollout.stable_serial

    def chosen(self, *, candidate: bool) -> Bundle:
        """Return the bundle as it holds for those on one side; digest and numbers are the whole one's."""
        if self.candidate is None or not candidate:
            return self
        side = self.candidate
        chosen = replace(self, locations=side.locations, rules=side.rules, download=side.download)
        object.__setattr__(chosen, "_said", self.content_digest)
        return chosen

    def blobs(self) -> dict[str, int]:
        """Return digest → length of every policy body that the bundle names, on either side."""
        sides = [self.stable] if self.candidate is None else [self.stable, self.candidate]
        sets = [held for side in sides for held in side.locations.values()]
        return {ref.sha256: ref.length for held in sets for ref in held.policies}

    def _content(self) -> dict[str, Any]:
        stable = self.stable
        used, sets = stable.traits(), {"stable": stable.sets()}
        if self.candidate is not None and self.rollout is not None:
            sets["candidate"] = self.candidate.sets()
            used |= {"candidate": self.candidate.traits(), "rollout": self.rollout.as_dict()}
        return {
            "tenant": self.tenant,
            "group": self.group,
            "serial": self.serial,
            "prev": self.prev,
            "tuf": dict(self.tuf),
            "sets": sets,
            "crit": [*self.crit, *([] if self.download else ["download"]), *(["visits"] * self._visits())],
            **used,
        }

    def _visits(self) -> bool:
        """Return whether the Manager is to dial in some location, at some time, on either side."""
        sides = [self.stable] if self.candidate is None else [self.stable, self.candidate]
        sets = (held for side in sides for held in side.locations.values())
        return any(Dialer.MANAGER in held.communication.dialers for held in sets)

    @classmethod
    def from_payload(cls, payload: bytes) -> Bundle:
        """Return the bundle in ``payload``, whose signature has been verified.

        Raises:
            WireError: It is no bundle, its digest is wrong, or ``crit`` names
                something that this program does not know (``wire.crit``, as for
                criteria of a location that it does not know).
        """
        try:
            data: dict[str, Any] = parse_json(payload)
            unknown = [word for word in data.get("crit", ()) if word not in CRITICAL]
            if unknown:
                problem = f"the bundle needs {', '.join(map(str, unknown))}, which this program does not know"
                raise WireError("crit", problem, "Upgrade the agent")
            said = {key: value for key, value in data.items() if key not in _NOT_CONTENT}
            if digest(canonical(said)) != data["content_digest"]:
                raise WireError("bundle", "the bundle's content digest does not fit its content")
            bundle = _known(cls._from_dict, data)
            object.__setattr__(bundle, "_said", data["content_digest"])
            return bundle
        except (KeyError, TypeError, ValueError, AttributeError, DefinitionError) as error:
            raise WireError("bundle", f"the bundle is malformed: {error!r}") from error

    @classmethod
    def _from_dict(cls, data: dict[str, Any]) -> Bundle:
        if int(data["serial"]) < 1 or int(data["version"]) < 1:
            raise ValueError("a serial or version below 1")
        stable, candidate, rollout = _side(data["sets"]["stable"], data), None, None
        if "rollout" in data:
            candidate = _side(data["sets"]["candidate"], data["candidate"])
            rollout = RolloutRef.from_dict(data["rollout"])
        return cls(
            tenant=data["tenant"],
            group=data["group"],
            serial=int(data["serial"]),
            version=int(data["version"]),
            issued=int(data["issued"]),
            prev=data["prev"],
            tuf={role: int(version) for role, version in data["tuf"].items()},
            locations=stable.locations,
            rules=stable.rules,
            download=stable.download,
            candidate=candidate,
            rollout=rollout,
        )


def _side(sets: Mapping[str, Any], traits: Mapping[str, Any]) -> Side:
    """Return one side of a bundle; raises ValueError if its parts do not fit each other."""
    rules = LocationRules.from_dict(traits["location_rules"]) if "location_rules" in traits else None
    default = rules.default if rules else DEFAULT_LOCATION
    if traits["default_location"] != default:
        raise ValueError("another default location")
    if set(sets) != set(rules.names if rules else (default,)):
        raise ValueError("the sets are not those of the locations")
    return Side(
        rules=rules,
        download=traits.get("download", True) is not False,
        locations={
            name: LocationSet(
                policies=tuple(_ref(ref) for ref in held["policies"]),
                communication=CommunicationSettings.from_dict(held["communication"]),
            )
            for name, held in sets.items()
        },
    )


def _known(read: Callable[[dict[str, Any]], Bundle], data: dict[str, Any]) -> Bundle:
    """Return what ``read`` makes of ``data``; criteria that nobody here knows are a newer Manager's."""
    try:
        return read(data)
    except DefinitionError as error:
        if error.code != "definition.criteria":
            raise
        problem = f"the bundle's location rules need what this program does not know: {error.problem}"
        raise WireError("crit", problem, "Upgrade the agent") from error


def _ref(data: Mapping[str, Any]) -> PolicyRef:
    return PolicyRef(
        type=data["type"],
        name=data["name"],
        revision=int(data["revision"]),
        sha256=data["sha256"],
        length=int(data["length"]),
    )
