"""The Proxy Managers that may stand below this one, as those above told: whom they may speak for, and whom they visit."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from popham.errors import WireError
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.record import Record
from popham.upstream.relaying import Scope

_log = logging.getLogger(__name__)
GROUPS_MAX: Final = 16_384
"""Groups, and agents, that one proxy may be given."""
PLACES_MAX: Final = 65_536
"""Places that all of them visit."""
_KEY: Final = 16
_CUSTODY: Final = {"hop", "end to end"}


@dataclass(frozen=True, slots=True)
class _Lower:
    """A proxy: what was told of it, and whom it may speak for by that."""

    told: wire.ScopeTold
    scope: Scope


class LowerProxies:
    """Answers from memory; what was told of an agent is kept where all of that is.

    Attributes:
        changed: Told that who may stand here, or whom one visits, is another. Must not wait.
    """

    def __init__(self) -> None:
        """Know of none."""
        self.changed: Callable[[], None] = lambda: None
        self._known: dict[str, _Lower] = {}
        self._places: dict[str, wire.PlaceTold] = {}
        self._is_told = False

    # What others ask.

    def uids(self) -> tuple[str, ...]:
        """Return the uids of all of them."""
        return tuple(self._known)

    def scope_of(self, uid: str) -> Scope | None:
        """Return whom a proxy may speak for; None if it is none, or not any more."""
        found = self._known.get(uid)
        return found.scope if found is not None else None

    def told_of(self, uid: str) -> wire.ScopeTold | None:
        """Return what was told of a proxy; None if it is none."""
        found = self._known.get(uid)
        return found.told if found is not None else None

    def places_of(self, key: bytes) -> list[wire.PlaceTold] | None:
        """Return where a proxy (its uid of 16 bytes) is to visit agents; None while that was not told since the start."""
        return [place for place in self._places.values() if place.proxy == key] if self._is_told else None

    # What is told from above.

    def told(self, record: Record, told: wire.AgentTold) -> None:
        """Take what was told of an agent, which may be a proxy, or be none any more."""
        if not told.HasField("proxy"):
            self.gone(record.uid)
            return
        known = self._known.get(record.uid)
        if known is not None and known.told == told.proxy:
            return
        try:
            found = _Lower(told.proxy, scope_of(told.proxy))
        except WireError as error:
            _log.warning("whom %s may speak for is not taken: %s", record.name, error)
            return
        self._known[record.uid] = found
        self.changed()

    def gone(self, uid: str) -> None:
        """Take note that an agent is no proxy here."""
        if self._known.pop(uid, None) is not None:
            self.changed()

    def places_told(self, places: Iterable[wire.PlaceTold], *, everything: bool) -> None:
        """Take where those below are to visit agents; with ``everything`` nowhere else."""
        before = dict(self._places)
        if everything:
            self._places, self._is_told = {}, True
        for place in places:
            if place.gone or len(place.proxy) != _KEY:
                self._places.pop(place.name, None)
            elif len(self._places) < PLACES_MAX:
                # Whoever visits there is told in the same form as by the Manager itself.
                self._places[place.name] = place
        if everything or before != self._places:
            self.changed()


def scope_of(told: wire.ScopeTold) -> Scope:
    """Return whom a proxy may speak for. Raises WireError ``wire.relay``: what was told is malformed."""
    if len(told.groups) > GROUPS_MAX or len(told.agents) > GROUPS_MAX:
        raise WireError("relay", "a proxy was given more groups or agents than there may be")
    try:
        orders = json.loads(told.orders)
        custody = {str(name): how for name, how in orders["custody"].items() if how in _CUSTODY}
        names = tuple(str(name) for name in orders.get("names", ()))
        agents = frozenset(str(uuid.UUID(bytes=key)) for key in told.agents)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WireError("relay", "what is ordered of a proxy cannot be read") from error
    return Scope(groups=frozenset(told.groups), agents=agents, custody=custody, names=names)
