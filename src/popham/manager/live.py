"""Brings what people changed to the hub: the service writes, this reads back and tells.

One task, one queue of names; a name that waits already is not queued twice, so
the queue is never longer than the fleet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from popham.errors import StateError
from popham.manager.book import ManagerBook
from popham.manager.links import NotRelayed, Relayed
from popham.manager.proxies.directory import ProxyDirectory
from popham.manager.relays.relays import ManagerRelays
from popham.manager.visit_views import VisitView
from popham.manager.visits import Visits
from popham.model.fleet import Admission
from popham.model.status import Downtime
from popham.upstream.hub import Hub
from popham.upstream.record import Record

_log = logging.getLogger(__name__)
SLICE = 64
"""Agents that are read again and told at once: some 5 ms."""
RETRY = 1.0
"""Seconds until another attempt, after the database had no room."""


class Live:
    """The open links, as the service sees them, and the way of its changes to them."""

    def __init__(
        self,
        book: ManagerBook,
        hub: Hub,
        visits: Visits | None = None,
        shut_out: Callable[[str], None] = lambda _uid: None,
        proxies: ProxyDirectory | None = None,
    ) -> None:
        """Keep what is needed; :meth:`run` does the work.

        Args:
            book: Who is known.
            hub: Tells agents.
            visits: Dial them; None for an upstream that dials nobody.
            shut_out: Told the uid of an agent that was refused, revoked or deleted.
            proxies: Knows who is a Proxy Manager; None where there are none.
        """
        self.relayed: Relayed = NotRelayed()
        self._relays: ManagerRelays | None = None
        self._proxies = proxies
        self._book = book
        self._hub = hub
        self._visits = visits
        self._shut_out = shut_out
        self._agents: set[str] = set()
        self._groups: set[str] = set()
        self._tokens = False
        self._woken = asyncio.Event()
        self._reading = asyncio.Lock()

    def relay(self, relays: ManagerRelays) -> None:
        """Bring changes to agents behind Proxy Managers too."""
        self._relays, self.relayed = relays, relays.placed

    # What the service asks; only tokens are waited for.

    def connected(self, uid: str) -> bool:
        """Return whether this agent holds a link, to this Manager or to the proxy that it is at."""
        record = self._book.record(uid)
        return record is not None and record.is_linked

    def check_in(self, uid: str) -> bool:
        """Ask for a round over the held link, by a visit now, or by its proxy; False if there is no way to ask."""
        if self._relays is not None and self._relays.check_in(uid):
            return True
        return self._hub.check_in(uid) or (self._visits is not None and self._visits.hasten(uid))

    def tell_orders(self, record: Record) -> None:
        """Have an agent told of what is ordered of it: over its held link, by a visit or its proxy now; else it waits."""
        if record.via and self._relays is not None:
            self._relays.tell_orders(record)
        elif record.link is not None:
            self._hub.tell_orders([record.uid])
        elif self._visits is not None:
            self._visits.hasten(record.uid)

    def visit(self, uid: str) -> VisitView | None:
        """Return how an agent is visited; None if it is not."""
        return self._visits.visit(uid) if self._visits else None

    def visit_of_definition(self, name: str) -> VisitView | None:
        """Return how whoever is at a definition is visited; None if nobody is."""
        return self._visits.visit_of_definition(name) if self._visits else None

    def last_contact(self, uid: str) -> float | None:
        """Return the last contact, in unix seconds."""
        record = self._book.record(uid)
        return record.last_contact if record else None

    def downtimes(self) -> Sequence[Downtime]:
        """Return the spans in which this Manager did not serve."""
        return self._book.downtimes

    def agent_changed(self, uid: str) -> None:
        """Take note that an administrator changed an agent."""
        if self._proxies is not None:
            self._proxies.agent_changed(uid)
        self._agents.add(uid)
        self._woken.set()

    def groups_changed(self, groups: Iterable[str]) -> None:
        """Take note that groups have new bundles."""
        self._groups.update(groups)
        if self._proxies is not None:
            self._proxies.refresh_soon()
        self._woken.set()

    def definitions_changed(self, names: Sequence[str]) -> None:
        """Take note that agents are visited elsewhere."""
        if self._proxies is not None:
            self._proxies.refresh_soon()
        if self._visits is not None:
            self._visits.definitions_changed(names)

    def proxies_changed(self, names: Sequence[str]) -> None:
        """Take note that definitions of Proxy Managers were made, changed or deleted."""
        if self._proxies is not None and names:
            self._proxies.refresh_soon()

    async def tokens_changed(self) -> None:
        """Have a token that was made or revoked hold from now on, whatever else waits to be brought.

        Many agents try their token once and then stay away for half a minute, or drop what they said.
        """
        try:
            await self._bring_tokens()
        except StateError as error:
            _log.warning("a change of tokens is brought to agents later: %s", error)
            self._tokens = True
            self._woken.set()

    # The task.

    async def run(self) -> None:
        """Bring changes to the hub, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self.bring()
            except StateError as error:
                if not error.retryable:
                    raise
                _log.warning("changes are brought to agents later: %s", error)
                await asyncio.sleep(RETRY)
                self._woken.set()

    async def bring(self) -> None:
        """Bring what is noted now."""
        tokens, groups, agents = self._tokens, set(self._groups), set(self._agents)
        self._tokens, self._groups, self._agents = False, set(), set()
        try:
            await self._bring(groups, agents, tokens=tokens)
        except StateError:
            self._tokens |= tokens
            self._groups |= groups
            self._agents |= agents
            raise

    async def _bring(self, groups: set[str], agents: set[str], *, tokens: bool) -> None:
        if tokens:
            await self._bring_tokens()
        if groups:
            await self._book.refresh(groups)
            self._hub.changed(groups)
            if self._visits is not None:
                self._visits.groups_changed(groups)
        several = sorted(agents)
        for first in range(0, len(several), SLICE):
            part = several[first : first + SLICE]
            for uid, record in (await self._book.reread(part)).items():
                if record is None or record.admission in {Admission.REFUSED, Admission.REVOKED}:
                    self._hub.drop(uid, "this agent was refused or revoked")
                    self._shut_out(uid)
                else:
                    self._hub.tell(uid)
                if self._visits is not None:
                    self._visits.agent_changed(uid)
                if self._relays is not None:
                    self._relays.agent_changed(uid)

    async def _bring_tokens(self) -> None:
        # One after the other: of two at once, the older reading could come last.
        async with self._reading:
            await self._book.read_tokens()
        self._hub.verify_links()
