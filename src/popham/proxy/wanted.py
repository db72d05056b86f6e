"""What a group's agents are to have, made of what a proxy was told: believed by TUF only.

Rules:

1. Of a group only its bundle decides, which the director signed; what is told beside it may say less, never more.
2. A bundle that is older than one that was believed is refused, as an agent would.
3. What stock agents get is not signed by anybody: it is as good as the link that it came by.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping
from dataclasses import dataclass

from popham.errors import TrustError
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.cache import ProxyCache
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import Floor, open_bundle
from popham.upstream.record import ConfigObject, Wanted
from popham.upstream.wanted import sides

SMALL = 16 * 1024
"""Bytes of a body that may be read at once from the disk."""
OBJECT_MAX = 1024 * 1024
"""Bytes of one configuration object of stock agents."""


@dataclass(frozen=True, slots=True)
class Told:
    """A group as it was told, and believed.

    Attributes:
        wanted: What its agents are to have.
        floor: Of its bundle.
        lengths: Digest → bytes of each body that it names.
    """

    wanted: Wanted
    floor: Floor
    lengths: Mapping[str, int]


class Blobs(Mapping[str, bytes]):
    """The bodies of one bundle, read when they are needed; those that are not here are left out."""

    def __init__(self, cache: ProxyCache, names: Mapping[str, int]) -> None:
        """Have those of ``names`` that the cache has."""
        self._cache = cache
        self._names = names

    def __eq__(self, other: object) -> bool:
        """Return whether the same bodies are named."""
        return isinstance(other, Blobs) and self._names == other._names

    __hash__ = None  # type: ignore[assignment]  # as of every mapping

    def __getitem__(self, sha256: str) -> bytes:
        """Return a body. Raises KeyError: the bundle does not name it, or it is not here."""
        found = self._cache.body(sha256) if sha256 in self._names else None
        if found is None:
            raise KeyError(sha256)
        return found

    def __contains__(self, sha256: object) -> bool:
        """Return whether the bundle names a body that is here; nothing is read for that."""
        return isinstance(sha256, str) and sha256 in self._names and self._cache.has(sha256)

    def __iter__(self) -> Iterator[str]:
        """Yield the digests of those that are here."""
        return (sha256 for sha256 in self._names if self._cache.has(sha256))

    def items(self) -> ItemsView[str, bytes]:
        """Return those that are said unasked: in memory, or small; nobody is to wait for a disk that has the others."""
        found: dict[str, bytes] = {}
        for sha256, length in self._names.items():
            body = self._cache.body(sha256) if length <= SMALL else self._cache.at_hand(sha256)
            if body is not None:
                found[sha256] = body
        return found.items()

    def __len__(self) -> int:
        """Return how many are here."""
        return sum(map(self._cache.has, self._names))


def open_told(
    told: wire.GroupTold, *, tuf: TrustedTuf, tenant: str, floor: Floor | None, cache: ProxyCache
) -> Told:
    """Return what a group's agents are to have.

    Args:
        told: What was said.
        tuf: Says who the director is.
        tenant: This proxy's.
        floor: Of the newest bundle of that group that was believed; None for none.
        cache: Has the bodies.

    Raises:
        TrustError: Its bundle is not believed: as :func:`popham.trust.verify.open_bundle`.
    """
    bundle, found = open_bundle(told.envelope, tuf=tuf, tenant=tenant, group=told.name, floor=floor)
    lengths = bundle.blobs()
    if any(len(one.body) > OBJECT_MAX for one in told.objects):
        raise TrustError("size", f"an object of group {told.name!r} has more than {OBJECT_MAX} bytes")
    within, candidate, is_visited = sides(bundle)
    wanted = Wanted(
        group=told.name,
        serial=bundle.serial,
        version=bundle.version,
        content_digest=bundle.content_digest,
        envelope=told.envelope,
        blobs=Blobs(cache, lengths),
        objects={one.key: ConfigObject(one.body, one.content_type) for one in told.objects},
        objects_digest=told.objects_digest,
        communication=bundle.locations[bundle.default_location].communication,
        guarded=frozenset(told.guarded).intersection(lengths) if told.minimum_serial else frozenset(),
        minimum_serial=told.minimum_serial,
        within=within,
        candidate=candidate,
        rollout=bundle.rollout,
        is_visited=is_visited,
    )
    return Told(wanted, found, lengths)


OpenTold = Callable[[wire.GroupTold, Floor | None], Told]
"""Returns what was told, if it is believed, and not older than a floor."""
