"""A small fleet: its keys, its TUF metadata, its CA, and documents that are all right."""

import uuid
from dataclasses import dataclass, field, replace

import pytest

from popham.model.bundle import BUNDLE_TYPE, Bundle, LocationSet, PolicyRef
from popham.model.communication import CommunicationSettings
from popham.model.status import StateRecord
from popham.trust.assignment import ASSIGNMENT_TYPE, Assignment
from popham.trust.ca import Authority
from popham.trust.dsse import seal
from popham.trust.keys import IdentityKey, SigningKey
from popham.trust.tuf import TrustedTuf, create_root, create_targets

NOW = 1_800_000_000.0


class FixedClock:
    def __init__(self, now=NOW):
        self.time = now

    def now(self):
        return self.time

    def monotonic(self):
        return self.time


@dataclass
class Fleet:
    root: SigningKey = field(default_factory=SigningKey.create)
    targets: SigningKey = field(default_factory=SigningKey.create)
    director: SigningKey = field(default_factory=SigningKey.create)
    identity: IdentityKey = field(default_factory=IdentityKey.create)
    clock: FixedClock = field(default_factory=FixedClock)
    uid: str = str(uuid.UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0001))

    def __post_init__(self):
        self.root_bytes = create_root(self.root, self.targets.public, now=NOW)
        self.targets_bytes = create_targets(self.targets, self.director.public, now=NOW)
        self.tuf = TrustedTuf.from_bytes(self.root_bytes, self.targets_bytes)
        self.ca = Authority.create("popham", self.clock)

    def bundle(self, **changes):
        ref = PolicyRef(type="files", name="motd", revision=1, sha256="0" * 64, length=3)
        held = LocationSet(policies=(ref,), communication=CommunicationSettings())
        bundle = Bundle(group="fleet", serial=1, version=1000, issued=1, locations={"default": held})
        return replace(bundle, **changes)

    def sealed_bundle(self, *, signer=None, **changes):
        return seal(BUNDLE_TYPE, self.bundle(**changes).payload(), signer or self.director)

    def assignment(self, **changes):
        keyid = self.identity.keyid
        return replace(Assignment(uid=self.uid, spki_sha256=keyid, group="fleet", seq=5, issued=1), **changes)

    def sealed_assignment(self, **changes):
        return seal(ASSIGNMENT_TYPE, self.assignment(**changes).payload(), self.director)

    def record(self, **changes):
        record = StateRecord(
            uid=self.uid, revision=3, group="fleet", promise=300.0, mode="push", dialer="agent"
        )
        return replace(record, **changes)


@pytest.fixture(scope="module")
def fleet():
    return Fleet()


@pytest.fixture
def other_fleet():
    return Fleet()
