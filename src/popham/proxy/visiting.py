"""A proxy visits agents below it, as a Manager does: with a key of its own, and a statement that allows it.

Rules:

1. Nobody is visited without a statement, or once it is over; a link that is held then is the agent's to end.
2. A statement that names others than the one before has those tried soon that could not be visited.
3. Who could not be visited, and can, is named above, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from popham.clock import Clock
from popham.errors import PophamError
from popham.net.seam import Limits
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.cache import Loaded, ProxyCache
from popham.proxy.permit import VisitorPermit
from popham.proxy.targets import Call, ProxyTargets
from popham.trust.birth import FoundingDocuments
from popham.upstream.book import Book
from popham.upstream.hub import Hub
from popham.upstream.targets import Target
from popham.upstream.visit_dials import VisitDials
from popham.upstream.visiting import Visiting
from popham.upstream.visitor import LANE, SLOW_LANE
from popham.upstream.visits import Dials, Signer

_log = logging.getLogger(__name__)
_NOTES: Final = "notes"
_STATEMENT: Final = "visitor"
LONGEST: Final = 3600.0
"""Seconds after which it is looked again whether the statement holds: the wall clock may be set."""
LOOK: Final = 15.0
"""Seconds after which it is looked whether those that could not be visited were."""
FAILING_MAX: Final = 20
"""Places of which a view says why they fail."""


class ProxyVisits(Visiting[ProxyTargets]):
    """Everything of a proxy that has to do with dialling agents below it.

    Attributes:
        permit: Its key, and the statement that allows it to visit.
    """

    def __init__(
        self,
        book: Book,
        hub: Hub,
        call: Call,
        cache: ProxyCache,
        permit: VisitorPermit,
        documents: FoundingDocuments,
        *,
        trust_domain: str,
        clock: Clock,
        draw: Callable[[], float],
        limits: Limits,
        http_proxy: str = "",
        dial: Callable[[Target], Dials] | None = None,
        unreached: Callable[[str], None] = lambda _uid: None,
        lanes: tuple[int, int] = (LANE, SLOW_LANE),
    ) -> None:
        """Wire the parts; :meth:`run` starts them. Called in a running loop.

        Args:
            book: Who is known.
            hub: Hears what visited agents say.
            call: Asks the Manager: kind, instance_uid, body.
            cache: Keeps places and statement.
            permit: The key to visit with.
            documents: Trust documents of the fleet: this proxy's own, for whoever waits to be born.
            trust_domain: Of the fleet.
            clock: Wall time, and the time of the schedule.
            draw: Random number in [0, 1).
            limits: Bounds of messages and links.
            http_proxy: Web proxy where a place names none; empty for none.
            dial: Returns the way to an agent; None for the network.
            unreached: Told the uid of an agent that could not be visited, or can be again; :meth:`unvisited` says why.
            lanes: Visits at once; and of agents whose last visit failed.
        """
        self.permit = permit
        self._cache = cache
        self._stated = asyncio.Event()
        self._unreached = unreached
        self._failing: set[str] = set()
        super().__init__(
            book,
            hub,
            ProxyTargets(book, cache, call, clock, allowed=lambda: permit.holds, http_proxy=http_proxy),
            VisitDials(book, ca=documents.ca.decode(), trust_domain=trust_domain, limits=limits),
            Signer(permit.key.crypto, permit.key.keyid, permit.statement),
            documents.encode(),
            clock=clock,
            draw=draw,
            limits=limits,
            dial=dial,
            unreached=self._failed,
            lanes=lanes,
        )

    def load(self, loaded: Loaded) -> None:
        """Take what the cache had, before :meth:`run`."""
        kept = loaded.get(_NOTES, {}).get(_STATEMENT)
        if kept:
            self.permit.take(kept)
        self.targets.load(loaded.get("places", {}))

    def _failed(self, uid: str, _error: PophamError) -> None:
        if uid:
            self._failing.add(uid)
            self._unreached(uid)

    # What came from above.

    def places_told(self, places: Iterable[wire.PlaceTold], everything: bool = False) -> None:  # noqa: FBT002  # the callable's form
        """Take where the Manager says that agents are to be visited; with ``everything`` nowhere else."""
        self.targets.told(places, everything=everything)

    def stated(self, envelope: bytes) -> None:
        """Take the statement that the Manager made for this proxy; one that is not believed changes nothing."""
        former = self.permit.visitor
        if not self.permit.take(envelope):
            return
        self._cache.put(_NOTES, _STATEMENT, envelope)
        now = self.permit.visitor
        if former is None or now is None or (former.groups, former.agents) != (now.groups, now.agents):
            self._try_again()
            if now is not None:
                groups = ", ".join(now.groups) or "no group"
                _log.info("it speaks for the agents of: %s; and for %d by name", groups, len(now.agents))
        self._stated.set()

    def _try_again(self) -> None:
        """Have those visited soon that could not be: perhaps they refused."""
        for key in self.targets.read():
            sight = self.visitor.sight(key)
            if sight is not None and sight.failures:
                self.visitor.hasten(key)

    # What others ask.

    def unvisited(self, uid: str) -> str:
        """Return why an agent cannot be visited, code and sentence; empty if it was, or is not to be."""
        sight = self.visitor.sight(self.targets.key_of(uid))
        if sight is None or sight.error is None:
            return ""
        return f"{sight.error.code} {sight.error.problem}"

    def view(self) -> dict[str, Any]:
        """Return how visits stand, for the status of this proxy: numbers, and the first places that fail."""
        targets, failing = self.targets.read(), dict[str, str]()
        for key, target in targets.items():
            sight = self.visitor.sight(key)
            if sight is not None and sight.error is not None and len(failing) < FAILING_MAX:
                failing[target.name] = f"{sight.error.code} {sight.error.problem}"
        visitor = self.permit.visitor
        return {
            "places": self.targets.places,
            "visited": len(targets),
            "held": self.visitor.held,
            "until": visitor.expires if visitor else 0,
            "problem": self.permit.problem,
            "failing": failing,
        }

    # Its own work.

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs while it visits."""
        return [*super().work(), self.targets.say(), self._watch(), self._look()]

    async def _watch(self) -> None:
        """Have the schedule look at everybody when this proxy may visit again, or not any more."""
        held = self.permit.holds
        while True:
            self._stated.clear()
            try:
                async with asyncio.timeout(min(self.permit.left, LONGEST) if held else LONGEST):
                    await self._stated.wait()
            except TimeoutError:
                pass
            now = self.permit.holds
            if now != held:
                self.visitor.changed(None)
            held = now

    async def _look(self) -> None:
        """Say of those that could not be visited when they were, or are not to be any more."""
        while True:
            await asyncio.sleep(LOOK)
            for uid in tuple(self._failing):
                if not self.unvisited(uid):
                    self._failing.discard(uid)
                    self._unreached(uid)
