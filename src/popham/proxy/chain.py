"""Everything of a Proxy Manager that has to do with those below it: relays over its own desk, wired to hub and visits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from popham.clock import Clock
from popham.model.names import canonical
from popham.net.seam import Refusal
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.book import ProxyBook
from popham.proxy.carrying import END_TO_END, ProxyIntake
from popham.proxy.desk import ProxyDesk
from popham.proxy.handing import Handing
from popham.proxy.lower import LowerProxies
from popham.proxy.ordering import ProxyOrdering
from popham.proxy.uplink import Uplink
from popham.streams.frame import Stream
from popham.upstream.hub import Hub
from popham.upstream.record import Record
from popham.upstream.relay_carried import RelayedStreams
from popham.upstream.relay_placed import Placed
from popham.upstream.relays import Relays
from popham.upstream.standings import to_wire
from popham.upstream.visiting import Visiting

LOOK: Final = 5.0
"""Seconds between two looks whether a proxy on a link that this one opened was silent for a heartbeat."""
STATUS_MAX: Final = 16 * 1024
"""Bytes of the status of one proxy below, as it is told above; of a longer one its key and its address."""
STATUSES_MAX: Final = 128 * 1024
"""Bytes of those of all."""
UNMET: Final = Refusal(status=503, retry_after=30.0, body="this proxy is not known here yet (link.busy)")
"""For a proxy of which nothing was told here: that is no word that it is none."""
_SHORT: Final = ("visitor_key", "listens", "generation")


class Chain:
    """The relays of one proxy with those below it.

    Attributes:
        lower: Who may stand below.
        placed: At which of them agents are.
        desk: Answers them.
        relays: Exchanges messages with them.
        visits: Dials them; None while nobody is dialled.
    """

    def __init__(
        self,
        uid: str,
        book: ProxyBook,
        hub: Hub,
        uplink: Uplink,
        ordering: ProxyOrdering,
        carrying: ProxyIntake,
        clock: Clock,
        boot: int,
    ) -> None:
        """Wire the parts; the uplink tells this of what it is told from now on.

        Args:
            uid: Of this proxy.
            book: What it was told.
            hub: Serves agents, and lower proxies as agents.
            uplink: This proxy's end of the exchange with what is above it.
            ordering: Orders and results.
            carrying: Keeps frames.
            clock: Wall time.
            boot: Of this process: 64 bits, not 0.
        """
        self.lower = LowerProxies()
        self.visits: Visiting[Any] | None = None
        self._book, self._hub, self._uplink = book, hub, uplink
        self.placed = Placed(book.record, clock)
        self.desk = ProxyDesk(
            *(uid, book, self.lower, self.placed, hub.reports, ordering),
            *(RelayedStreams(hub.streams), Handing(book.calls, carrying), clock),
            nonce=lambda: uplink.nonce,
        )
        self.relays = Relays(self.desk, clock, boot, wake=self._wake)
        self.placed.moved = self.desk.changed = self.relays.agent_changed
        self.desk.on_said, self.desk.on_left = uplink.mark, uplink.left
        self.lower.changed = self._changed
        hub.relaying.relays, hub.relaying.on_came = self.relays, self._came
        hub.relaying.unknown = lambda uid: None if self.desk.is_gone(uid) else UNMET
        uplink.on_record, uplink.on_forgotten = self.desk.told_above, self.desk.gone_above
        carrying.strict = self.is_strict

    def _changed(self) -> None:
        lower = set(self.lower.uids())
        self.placed.keep(lower, self._book.records())
        self.relays.places_changed()
        for uid in lower:
            # One that is behind another is told by that whom it may speak for.
            self.relays.agent_changed(uid)

    def _came(self, record: Record) -> None:
        """Take note that an agent that was at a lower proxy came to this one; that goes up."""
        self.placed.came(record)
        self._uplink.mark(record)

    def _wake(self, proxy: Record) -> bool:
        """Tell a proxy that there is something for it, over the link that is held, whoever opened it."""
        return (self.visits is not None and self.visits.relay(proxy.uid)) or self._hub.wake(proxy)

    # What came from above.

    def told(self, uid: str) -> None:
        """Take note that something was told of an agent."""
        self.relays.agent_changed(uid)

    def told_orders(self, uids: Iterable[str]) -> None:
        """Take note that something is ordered of agents; a proxy that is visited is, now."""
        for uid in uids:
            self.relays.agent_changed(uid)
            self._hasten(uid)

    def check_in(self, uid: str) -> bool:
        """Have an agent at a lower proxy asked for a round; False if there is no way to ask, or it is at none."""
        record = self._book.record(uid)
        if record is None or not record.via:
            return False
        return self.relays.check_in(uid) or self._hasten(uid)

    def _hasten(self, uid: str) -> bool:
        record = self._book.record(uid)
        if record is None or not record.via or self.visits is None:
            return False
        return self.visits.hasten(record.via[0])

    def stands(self, record: Record, stream: Stream, carrying: ProxyIntake) -> None:
        """Have the proxy that an agent is at told anew how far a stream is."""
        if record.via:
            standing = to_wire(carrying.told(record.key, stream))
            self.relays.stands(record.via[0], wire.Stood(key=record.key, standing=standing))

    def is_strict(self, key: bytes, stream: Stream) -> bool:
        """Return whether a proxy between this one and an agent may acknowledge a stream only once the Manager has it.

        Of an agent that nobody has spoken of since this process began, any proxy that may speak of it counts.
        """
        record = self._book.find(key)
        if record is None:
            return False
        between = [self.lower.scope_of(uid) for uid in record.via]
        if not record.via and record.contacted is None:
            between = [self.lower.scope_of(uid) for uid in self.lower.uids()]
            between = [one for one in between if one is not None and one.has(record)]
        return any(one is not None and one.custody.get(stream) == END_TO_END for one in between)

    # What is said above.

    def unvisited(self, record: Record) -> str:
        """Return why an agent cannot be visited from the lower proxy that it is at; empty if it can, or is at none."""
        return record.relay.unvisited if record.relay is not None else ""

    def statuses(self) -> dict[str, Mapping[str, Any]]:
        """Return how the proxies below stand, by their uids, and those below them."""
        found: dict[str, Mapping[str, Any]] = {}
        for uid in self.lower.uids():
            status = dict(self.placed.status(uid))
            further = status.pop("below", None)
            found |= further if isinstance(further, dict) else {}
            if status:
                found[uid] = status
        shown: dict[str, Mapping[str, Any]] = {}
        left = STATUSES_MAX
        for uid, one in found.items():
            if not isinstance(one, dict):
                continue
            said = one if len(canonical(one)) <= STATUS_MAX else {key: one.get(key) for key in _SHORT}
            left -= len(canonical(said))
            if left < 0:
                break
            shown[uid] = said
        return shown

    async def run(self) -> None:
        """Relay once per heartbeat where a link that this end opened is held, until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            for uid in self.lower.uids():
                proxy = self._book.record(uid)
                if proxy is None or proxy.link is None or self.visits is None:
                    continue
                if self.relays.silent(proxy) >= proxy.promise:
                    self.visits.relay(uid)
