"""The groups of a proxy: what their agents are to have now, what is to come, and which bodies are still wanted.

Rules:

1. Make before break: what was told becomes current once all its bodies are here; the former serves until then.
2. A bundle that is not believed, or older, changes nothing; it is looked at again once there is newer TUF metadata.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import DecodeError

from popham.errors import PophamError, TrustError
from popham.model.names import DEFAULT_TENANT, NAME
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.cache import Loaded, ProxyCache
from popham.proxy.wanted import Told, open_told
from popham.trust.tuf import TrustedTuf
from popham.trust.verify import check_blob
from popham.upstream.record import Wanted

_log = logging.getLogger(__name__)
LACKS_MAX: Final = 32
"""Bodies that are asked for at once."""
REFUSED_MAX: Final = 256
"""Groups that were refused, of which that is remembered."""
_CURED: Final = frozenset({"trust.tuf_behind", "trust.signature"})
"""Refusals that newer TUF metadata may cure."""
_CURRENT, _COMING = "groups", "coming"


@dataclass(slots=True)
class _Part:
    """A body that has begun to come: its first bytes, and how often it was not what its name says."""

    data: bytearray = field(default_factory=bytearray)
    wrong: int = 0
    absent: bool = False


class ProxyGroups:
    """What the groups of one proxy are to have.

    Attributes:
        refused: Group → why what was told of it last is not believed.
        on_above: Told a group whose bundle here is newer than the one that was told, and its envelope. Must not wait.
    """

    def __init__(
        self, cache: ProxyCache, tuf: Callable[[], TrustedTuf], *, tenant: str = DEFAULT_TENANT
    ) -> None:
        """Keep everything in ``cache``; ``tuf`` returns the metadata that is trusted now."""
        self._cache = cache
        self._tuf, self._tenant = tuf, tenant
        self._tuf_seen: TrustedTuf | None = None
        self._current: dict[str, Told] = {}
        self._coming: dict[str, Told] = {}
        self._raw: dict[str, bytes] = {}  # of those that are to come, as it travelled
        self._digests: dict[str, wire.Known] = {}
        self._retried: dict[str, wire.GroupTold] = {}
        self._parts: dict[str, _Part] = {}
        self.refused: dict[str, str] = {}
        self.on_above: Callable[[str, bytes], None] = lambda _group, _envelope: None
        cache.needed = self.needed

    def load(self, loaded: Loaded, note: Callable[[bytes, bytes], wire.Known]) -> None:
        """Take what the cache had; ``note`` makes what is said of it after a boot."""
        for kind in (_CURRENT, _COMING):
            for name, data in loaded[kind].items():
                try:
                    told = wire.GroupTold.FromString(data)
                    found = self._open(told)
                except (DecodeError, PophamError) as error:
                    _log.warning("what was kept of group %s is not believed: %s", name, error)
                    self._cache.remove(kind, name)
                    continue
                self._digests[name] = note(name.encode(), data)
                self._coming[name], self._raw[name] = found, data
                self._settle(name)

    def wanted(self, group: str) -> Wanted | None:
        """Return what a group's agents are to have now; None while nothing of it is here."""
        found = self._current.get(group)
        return found.wanted if found else None

    def names(self) -> list[str]:
        """Return the groups of which something was told."""
        return sorted(self._current.keys() | self._coming.keys())

    @property
    def coming(self) -> list[str]:
        """Groups whose newest bundle still lacks bodies here."""
        return sorted(self._coming)

    def known(self) -> Iterable[wire.Known]:
        """Return what is known, as it is said after a boot."""
        return self._digests.values()

    def needed(self) -> set[str]:
        """Return the digests of the bodies that bundles name."""
        every = (*self._current.values(), *self._coming.values())
        return {sha256 for told in every for sha256 in told.lengths}

    def tell(self, told: wire.GroupTold, known: wire.Known) -> bool:
        """Take what was told of a group; return whether something else is current now.

        Raises:
            TrustError: Its bundle is not believed, or older; what is here stays.
        """
        name = told.name
        if told.gone:
            return self._forget(name)
        self._retried.pop(name, None)
        try:
            if not NAME.fullmatch(name):
                raise TrustError("audience", "a bundle is for no group")  # noqa: TRY301  # one end for all refusals
            found = self._open(told)
        except TrustError as error:
            self._refuse(told, error)
            raise
        self.refused.pop(name, None)
        self._digests[name] = known
        self._coming[name], self._raw[name] = found, told.SerializeToString()
        self._cache.put(_COMING, name, self._raw[name])
        self._drop_parts()
        return self._settle(name)

    def lost(self, sha256: str) -> None:
        """Take note that a body is not here any more: those who need it lack it again."""
        self._parts.pop(sha256, None)

    # Bodies.

    def lacks(self) -> Iterator[tuple[str, int]]:
        """Yield the bodies that are wanted, and how many bytes of each are here already; a few at once."""
        left = LACKS_MAX
        asked: set[str] = set()
        for told in (*self._coming.values(), *self._current.values()):
            for sha256 in told.lengths:
                part = self._parts.get(sha256)
                if sha256 in asked or self._cache.has(sha256) or (part is not None and part.absent):
                    continue
                asked.add(sha256)
                yield sha256, len(part.data) if part else 0
                left -= 1
                if not left:
                    return

    def comes(self, sha256: str, group: str) -> bool:
        """Return whether a body is here, or on its way here, that the group's bundle names, or the one to come."""
        part = self._parts.get(sha256)
        named = (told.get(group) for told in (self._current, self._coming))
        return any(one is not None and sha256 in one.lengths for one in named) and not (part and part.absent)

    def bring(self, body: wire.Body) -> list[str]:
        """Take a part of a body; return the groups of which something else is current now."""
        length = self._length_of(body.sha256)
        if length is None or self._cache.has(body.sha256):
            return []
        part = self._parts.setdefault(body.sha256, _Part())
        if body.absent:
            part.absent = True
            return []
        if body.offset != len(part.data):
            return []
        part.data += body.data
        if len(part.data) < length:
            return []
        data = bytes(part.data)
        part.data.clear()
        try:
            check_blob(data, body.sha256, length)
        except TrustError as error:
            # It is asked for again from its beginning, a few times.
            part.wrong += 1
            part.absent = part.wrong >= 3
            _log.warning("a body came that is not the one that was asked for: %s", error)
            return []
        del self._parts[body.sha256]
        self._cache.put_body(data)
        return [name for name in list(self._coming) if self._settle(name)]

    def ask_again(self) -> None:
        """Ask again for bodies that were not to be had."""
        for part in self._parts.values():
            part.absent, part.wrong = False, 0

    def retry(self, note: Callable[[bytes, bytes], wire.Known]) -> list[str]:
        """Look again at what was refused, where there is newer TUF metadata; return the groups that changed."""
        tuf, found = self._tuf(), []
        if tuf is self._tuf_seen:
            return []
        self._tuf_seen = tuf
        for name, told in list(self._retried.items()):
            try:
                if self.tell(told, note(name.encode(), told.SerializeToString())):
                    found.append(name)
            except TrustError:
                _log.info("group %s is refused still: %s", name, self.refused[name])
        return found

    def _open(self, told: wire.GroupTold) -> Told:
        known = self._coming.get(told.name) or self._current.get(told.name)
        floor = known.floor if known else None
        return open_told(told, tuf=self._tuf(), tenant=self._tenant, floor=floor, cache=self._cache)

    def _length_of(self, sha256: str) -> int | None:
        every = (*self._coming.values(), *self._current.values())
        return next((told.lengths[sha256] for told in every if sha256 in told.lengths), None)

    def _settle(self, name: str) -> bool:
        """Let what is to come be current, if all its bodies are here."""
        coming = self._coming[name]
        if not all(map(self._cache.has, coming.lengths)):
            return False
        former = self._current.get(name)
        del self._coming[name]
        self._current[name] = coming
        self._drop_parts()
        self._cache.put(_CURRENT, name, self._raw.pop(name))
        self._cache.remove(_COMING, name)
        return former is None or former.wanted != coming.wanted

    def _drop_parts(self) -> None:
        """Forget what came of bodies that nobody needs any more."""
        needed = self.needed()
        self._parts = {sha256: part for sha256, part in self._parts.items() if sha256 in needed}

    def _refuse(self, told: wire.GroupTold, error: TrustError) -> None:
        if told.name not in self.refused and len(self.refused) >= REFUSED_MAX:
            return
        self.refused[told.name] = str(error)
        known = self._coming.get(told.name) or self._current.get(told.name)
        if error.code in _CURED:
            self._retried[told.name] = told
        if error.code == "trust.rollback" and known is not None:
            self.on_above(told.name, known.wanted.envelope)

    def _forget(self, name: str) -> bool:
        self._coming.pop(name, None)
        self._raw.pop(name, None)
        self._digests.pop(name, None)
        self.refused.pop(name, None)
        self._retried.pop(name, None)
        if NAME.fullmatch(name):
            self._cache.remove(_CURRENT, name)
            self._cache.remove(_COMING, name)
        return self._current.pop(name, None) is not None
