"""The Manager dials: what it visits with, and what people see of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from popham.clock import Clock
from popham.errors import PophamError
from popham.manager.book import ManagerBook
from popham.manager.keys import ManagerKeys
from popham.manager.settings import VisitsSettings
from popham.manager.visit_targets import VisitTargets
from popham.manager.visit_views import VisitView, view_visit
from popham.net.seam import Limits
from popham.store.seam import Store
from popham.trust.birth import FoundingDocuments
from popham.upstream.hub import Hub
from popham.upstream.targets import Target
from popham.upstream.visit_dials import VisitDials
from popham.upstream.visiting import Visiting
from popham.upstream.visits import Dials, Signer


class Visits(Visiting[VisitTargets]):
    """Everything of a Manager that has to do with dialling agents."""

    def __init__(
        self,
        settings: VisitsSettings,
        book: ManagerBook,
        hub: Hub,
        store: Store,
        keys: ManagerKeys,
        *,
        clock: Clock,
        draw: Callable[[], float],
        limits: Limits,
        dial: Callable[[Target], Dials] | None = None,
        unreached: Callable[[str, PophamError], None] = lambda _uid, _error: None,
    ) -> None:
        """Wire the parts; :meth:`run` starts them.

        Args:
            settings: Of the Manager's configuration.
            book: Who is known.
            hub: Hears what visited agents say.
            store: Has the definitions.
            keys: The director signs requests; the CA is whom agents' certificates come from.
            clock: Wall time, and the time of the schedule.
            draw: Random number in [0, 1).
            limits: Bounds of messages and links.
            dial: Returns the way to an agent; None for the network.
            unreached: Told the uid of an agent that could not be visited, and why.
        """
        super().__init__(
            book,
            hub,
            VisitTargets(book, store, clock, http_proxy=settings.http_proxy),
            VisitDials(book, ca=keys.ca.pem.decode(), trust_domain=keys.ca.trust_domain, limits=limits),
            Signer(keys.director.crypto, keys.director.keyid),
            FoundingDocuments(ca=keys.ca.pem, root=keys.root, targets=keys.targets).encode(),
            clock=clock,
            draw=draw,
            limits=limits,
            enabled=settings.enabled,
            dial=dial,
            unreached=unreached,
            lanes=(settings.concurrency, max(1, settings.concurrency // 2)),
        )
        book.on_joined = self.targets.joined

    def definitions_changed(self, names: Sequence[str]) -> None:
        """Take note that definitions were made, changed or deleted."""
        self.targets.definitions_changed(names)

    def visit(self, uid: str) -> VisitView | None:
        """Return how an agent is visited; None if it is not."""
        return self._view(self.targets.key_of(uid))

    def visit_of_definition(self, name: str) -> VisitView | None:
        """Return how whoever is at a definition is visited; None if nobody is."""
        return self._view(self.targets.key_of_definition(name))

    def _view(self, key: str) -> VisitView | None:
        target = self.targets.read().get(key)
        if target is None or not self.enabled:
            return None
        return view_visit(target, self.visitor.sight(key), self.targets.definition_of(target.uid))
