"""The keys of a fleet, made once by ``popham init`` and loaded at each start.

In the Manager's state directory, ``keys/`` holds::

    root.pem  targets.pem     keys of TUF's root and targets; may be moved offline
    director.pem              signs bundles and assignments
    ca.key  ca.pem  ca.domain the fleet's CA
    1.root.json  1.targets.json
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from popham.clock import Clock
from popham.errors import StateError
from popham.model.names import digest
from popham.statedir import replace_file
from popham.trust.assignment import ASSIGNMENT_TYPE
from popham.trust.ca import Authority
from popham.trust.dsse import Envelope, seal
from popham.trust.join import JoinString
from popham.trust.keys import SigningKey, read_key_file
from popham.trust.tuf import TrustedTuf, create_root, create_targets

_ROOT, _TARGETS = "1.root.json", "1.targets.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerKeys:
    """What a Manager signs with, and what it tells agents to trust.

    Attributes:
        director: Signs bundles and assignments.
        ca: Issues certificates.
        root: Bytes of TUF's first root; join strings pin their digest.
        targets: Bytes of TUF's targets, which name the director.
        urls: Where agents reach this Manager, best first.
    """

    director: SigningKey = field(repr=False)
    ca: Authority = field(repr=False)
    root: bytes = field(repr=False)
    targets: bytes = field(repr=False)
    urls: tuple[str, ...]

    @property
    def trust_domain(self) -> str:
        """First part of the names in certificates."""
        return self.ca.trust_domain

    def join_string(self, seed: bytes) -> str:
        """Return the join string of the token ``seed``."""
        ca, root = self.ca.spki_sha256, digest(self.root)
        return JoinString(urls=self.urls, ca=ca, root=root, seed=seed).encode()


def create_keys(
    directory: Path,
    *,
    urls: tuple[str, ...],
    trust_domain: str,
    clock: Clock,
    authority: tuple[bytes, bytes] | None = None,
) -> ManagerKeys:
    """Make all keys of a new fleet, write them to ``directory``, and return them.

    Args:
        directory: Must exist, and hold no keys yet.
        urls: Where agents reach the Manager.
        trust_domain: First part of the names in certificates.
        clock: Dates certificates and metadata.
        authority: Key and certificate (PEM) of an intermediate CA to import; None makes a root.

    Raises:
        StateError: ``state.keys``: there are keys already.
        TrustError, ConfigError: The CA to import, or the trust domain, cannot be used.
    """
    if any(directory.iterdir()):
        raise StateError("keys", f"{directory} holds keys already", "Keep them, or name an empty directory")
    if authority is None:
        ca = Authority.create(trust_domain, clock)
    else:
        ca = Authority.import_(*authority, trust_domain, clock)
    root, targets, director = SigningKey.create(), SigningKey.create(), SigningKey.create()
    now = clock.now()
    for name, key in (("root.pem", root), ("targets.pem", targets), ("director.pem", director)):
        key.save(directory / name)
    ca.save(directory)
    replace_file(directory / _ROOT, create_root(root, targets.public, now=now))
    replace_file(directory / _TARGETS, create_targets(targets, director.public, now=now))
    return load_keys(directory, urls=urls, clock=clock)


def load_keys(directory: Path, *, urls: tuple[str, ...], clock: Clock) -> ManagerKeys:
    """Return the keys in ``directory``, checked against each other.

    Raises:
        TrustError: A key or document is missing, damaged, or does not fit the
            others: what would be signed with it no agent would believe.
    """
    keys = ManagerKeys(
        director=SigningKey.load(directory / "director.pem"),
        ca=Authority.load(directory, clock),
        root=read_key_file(directory / _ROOT),
        targets=read_key_file(directory / _TARGETS),
        urls=urls,
    )
    probe = seal(ASSIGNMENT_TYPE, b"{}", keys.director)
    TrustedTuf.from_bytes(keys.root, keys.targets).verify(Envelope.parse(probe, types=(ASSIGNMENT_TYPE,)))
    return keys
