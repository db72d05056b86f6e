"""Everything of a Manager that has to do with relays: wired together, and brought to the hub and the visits."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from popham.clock import Clock
from popham.errors import PophamError
from popham.manager.book import ManagerBook
from popham.manager.keys import ManagerKeys
from popham.manager.proxies.directory import ProxyDirectory
from popham.manager.relays.calls import Calls
from popham.manager.relays.desk import ManagerDesk
from popham.manager.relays.statements import Statements
from popham.manager.visits import Visits
from popham.opamp.relay import Exchange
from popham.store.seam import Store
from popham.upstream.hub import Hub
from popham.upstream.intake import OtlpIntake
from popham.upstream.orders import Ordering
from popham.upstream.otlp import Otlp
from popham.upstream.record import Record
from popham.upstream.relay_below import Below
from popham.upstream.relay_carried import RelayedStreams
from popham.upstream.relay_placed import Placed
from popham.upstream.relays import Relays
from popham.upstream.shedding import Shedder

LOOK: Final = 5.0
"""Seconds between two looks whether a proxy on a link that this Manager opened was silent for a heartbeat."""
AWAITED: Final = 3.0
"""Promises of a proxy that is not heard after a start, until its agents are visited from here."""
AWAITED_MOST: Final = 900.0
"""Seconds of that, at most."""


class ManagerRelays:
    """The relays of a Manager.

    Attributes:
        placed: At which proxy agents are.
        desk: Answers proxies.
        relays: Exchanges messages with them.
    """

    def __init__(
        self,
        book: ManagerBook,
        hub: Hub,
        directory: ProxyDirectory,
        store: Store,
        keys: ManagerKeys,
        clock: Clock,
        boot: int,
        *,
        visits: Visits | None = None,
        ordering: Ordering | None = None,
        otlp: OtlpIntake | None = None,
        shedder: Shedder | None = None,
        unreached: Callable[[str, PophamError], None] = lambda _uid, _error: None,
        defined: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """Wire the parts.

        Args:
            book: All agents.
            hub: Serves them; it is given the relays.
            directory: Who is a proxy; this takes note of its changes beside whoever did before.
            store: The database.
            keys: The director signs statements; the CA issued certificates.
            clock: Wall time.
            boot: Of this process: 64 bits, not 0.
            visits: Dial proxies; None for a Manager that dials nobody.
            ordering: Who keeps operations; None if nothing is ordered.
            otlp: Takes plain OTLP; None if none is taken.
            shedder: Says what is left out under load; None to leave out nothing.
            unreached: Told the uid of an agent that its proxy could not visit, and why.
            defined: Told a definition of an agent that is bound to one by now.
        """
        self._hub, self._book, self._visits, self._directory = hub, book, visits, directory
        self._proxies, self._former = set(directory.uids()), directory.changed
        self._clock, self._boot, self._began, self._came = clock, boot, clock.monotonic(), set[str]()
        if visits is not None:
            visits.targets.is_awaited = self._is_awaited
        self.placed = Placed(book.record, clock)
        streams = RelayedStreams(hub.streams)
        calls = Calls(
            *(book, directory, self.placed, store, keys.ca, clock),
            outputs=hub.outputs,
            streams=streams,
            otlp=Otlp(book, otlp, shedder or Shedder()),
            changed=lambda group: hub.changed([group]),
            defined=defined,
        )
        statements = Statements(keys.director, clock)
        self.desk = ManagerDesk(
            *(book, directory, self.placed, hub.reports, statements, streams, calls, clock),
            ordering=ordering,
            unreached=unreached,
        )
        self.relays = Relays(self.desk, clock, boot, wake=self._wake)
        self.placed.moved, self.desk.told_anew = self._moved, self.relays.agent_changed
        directory.changed, door = self._changed, hub.relaying
        door.relays, door.on_came = self.relays, self.placed.came
        door.settle, door.is_settled = directory.settle, directory.is_settled

    def _is_awaited(self, record: Record) -> bool:
        """Return whether a proxy that was not heard since the start may have an agent: nothing else says at which it is."""
        if self._clock.monotonic() - self._began >= AWAITED_MOST:
            return False
        scopes = (self._directory.scope_of(uid) for uid in self._directory.uids() if uid not in self._came)
        return any(scope is not None and scope.has(record) for scope in scopes)

    def _look_for_awaited(self) -> None:
        """Let agents be visited from here again, once their proxies were heard, or stay away for too long."""
        since = self._clock.monotonic() - self._began
        for uid in set(self._directory.uids()) - self._came:
            proxy, scope = self._book.record(uid), self._directory.scope_of(uid)
            patience = 0.0 if proxy is None else min(AWAITED * proxy.promise, AWAITED_MOST)
            if since < patience and proxy is not None and self.relays.silent(proxy) == math.inf:
                continue
            self._came.add(uid)
            if self._visits is not None and scope is not None:
                self._visits.targets.groups_changed(scope.groups)
                for agent in scope.agents:
                    self._visits.targets.agent_changed(agent)

    def _changed(self) -> None:
        self._former()
        self.desk.keep()
        self.relays.places_changed()
        former, self._proxies = self._proxies, set(self._directory.uids())
        for uid in former - self._proxies:
            record = self._book.record(uid)
            if record is not None and uid not in self.relays.leaving:
                # It was not heard since this process began, and relayed to a former one.
                self.relays.leaving.add(Below(record, Exchange(self._boot)))
        for uid in self.relays.leaving:
            if self._visits is not None:
                self._visits.hasten(uid)
        for uid in former | self._proxies:
            # One that is behind another is told by that whom it may speak for, or that it is none any more.
            self.relays.agent_changed(uid)

    def _moved(self, uid: str) -> None:
        """Have the proxy that an agent was at told, and look whether the agent is to be visited from here now."""
        self.relays.agent_changed(uid)
        if self._visits is not None:
            self._visits.targets.agent_changed(uid)

    def _wake(self, proxy: Record) -> bool:
        """Tell a proxy that there is something for it, over the link that is held, whoever opened it."""
        return (self._visits is not None and self._visits.relay(proxy.uid)) or self._hub.wake(proxy)

    def agent_changed(self, uid: str) -> None:
        """Take note that an agent is another, or none any more, or is to be told something."""
        self.placed.look(uid)
        self.relays.agent_changed(uid)

    def tell_orders(self, record: Record) -> None:
        """Have an agent behind a proxy told of what is ordered of it; a proxy that is visited is, now."""
        self.relays.agent_changed(record.uid)
        self._hasten(record)

    def check_in(self, uid: str) -> bool:
        """Have an agent behind a proxy asked for a round; False if there is no way to ask, or it is behind none."""
        record = self._book.record(uid)
        if record is None or not record.via:
            return False
        return self.relays.check_in(uid) or self._hasten(record)

    def _hasten(self, record: Record) -> bool:
        return bool(record.via) and self._visits is not None and self._visits.hasten(record.via[0])

    async def run(self) -> None:
        """Relay once per heartbeat where a link that this Manager opened is held, until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            self._look_for_awaited()
            for uid in self.desk.outdated():
                self.relays.agent_changed(uid)
            for uid in self._directory.uids():
                proxy = self._book.record(uid)
                if proxy is not None and self._visits is not None:
                    self._look(proxy)

    def _look(self, proxy: Record) -> None:
        if proxy.link is not None and self.relays.silent(proxy) >= proxy.promise and self._visits is not None:
            self._visits.relay(proxy.uid)
