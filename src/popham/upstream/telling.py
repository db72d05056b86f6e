"""Says to agents what they are to be told: in answers, and by itself over held links.

What many agents of a group are told alike is encoded once; each costs only a
head with its own instance_uid, and putting the two together.
"""

from __future__ import annotations

from collections.abc import Callable

from popham.model.fleet import AgentKind
from popham.model.registry import IdentityKind
from popham.net.seam import HeldLink, Peer, Refused
from popham.opamp.codec import custom, encode_frame
from popham.opamp.schema.opamp.v1.opamp_pb2 import ServerToAgent
from popham.opamp.schema.popham.v1.popham_pb2 import Wake
from popham.upstream.book import Book, Identity
from popham.upstream.callers import UNKNOWN
from popham.upstream.counts import Counts
from popham.upstream.destinations import (
    NOWHERE,
    Destinations,
    find_destinations,
    settings_digest,
)
from popham.upstream.directive import ORDERS, Plan, is_ordered, orders_room, plan, quiet, render_tail
from popham.upstream.orders import Ordering, Said
from popham.upstream.record import Record, Wanted

TAILS = 4096
"""Tails that are remembered; a fleet of many groups has a few for each."""
_ASK = Plan(check_in=True)
_WAKE = ServerToAgent(custom_message=custom(Wake())).SerializeToString()
_Alike = tuple[Wanted | None, float, bytes]
"""What a tail was made from, beside its plan: what the group is to have, the retry window, and the nonce."""


class Telling:
    """Renders what agents are told."""

    def __init__(
        self,
        book: Book,
        counts: Counts,
        *,
        endpoint: Callable[[], str],
        retry_window: Callable[[], float],
        ordering: Ordering | None = None,
        telemetry: bool = False,
        nonce: Callable[[], bytes] = bytes,
    ) -> None:
        """Keep what is needed.

        Args:
            book: Knows what groups are to have.
            counts: Counts what is said without a question.
            endpoint: URL that stock agents are told to dial.
            retry_window: Seconds from which agents draw their first retry.
            ordering: Told which documents of operations are on their way; None if nothing is ordered.
            telemetry: Whether OTLP is taken here, so that stock agents are told where their own goes.
            nonce: Returns the newest nonce of a Proxy Manager, which agents are handed; empty at a Manager.
        """
        self._book = book
        self._counts = counts
        self._endpoint = endpoint
        self._retry_window = retry_window
        self._ordering = ordering
        self._telemetry = telemetry
        self._nonce = nonce
        self._tails: dict[tuple[str, bool, Plan, str], tuple[_Alike, bytes]] = {}

    def tell(self, record: Record) -> None:
        """Tell one agent what it should be told now, if a link is held and there is anything; see also :meth:`order`."""
        if record.link is None or record.kind is AgentKind.UNKNOWN:
            return
        wanted = self._book.wanted(record.group)
        to = self.destinations(record, wanted, record.link.peer, held=True)
        what = plan(record, wanted, full_state=False, hello=False, to=to)
        if not what.empty:
            self._say(what, record)

    def ask(self, record: Record) -> None:
        """Ask one agent for a round now, if a link is held."""
        if record.link is not None:
            self._say(_ASK, record)

    def order(self, record: Record) -> None:
        """Tell one agent what is ordered of it, if a link is held and there is anything.

        It has a message of its own: beside a bundle there may be no room.
        """
        if record.link is not None and is_ordered(record, visited=bool(record.link.peer.uid)):
            self._say(ORDERS, record)

    def wake(self, record: Record) -> bool:
        """Tell a Proxy Manager that there is something to relay; False if no link is held."""
        link = record.link
        if link is None or not self._may_hear(link):
            return False
        return link.send(encode_frame(head(record) + _WAKE))

    def _say(self, what: Plan, record: Record) -> None:
        link = record.link
        if link is not None and self._may_hear(link):
            self._counts.told += 1
            link.send(encode_frame(self.render(what, record, link.peer, held=True)))

    def _may_hear(self, link: HeldLink) -> bool:
        """Return whether a link serves still; it is closed where its certificate ended since the agent last spoke."""
        try:
            if self._book.identify(link.peer).caller is not IdentityKind.NONE:
                return True
            refusal = UNKNOWN
        except Refused as error:
            refusal = error.refusal
        link.close(1008, refusal.body[:120])
        return False

    def render(self, what: Plan, record: Record, peer: Peer, *, held: bool) -> bytes:
        """Return the ServerToAgent that says ``what``, and note what was offered.

        Args:
            what: That.
            record: To whom.
            peer: The agent's end of the connection; where this end dialled, it fetches outputs by itself.
            held: Whether it goes over a held link.
        """
        said = self._say_orders(what, record, held=held, visited=bool(peer.uid)) if what.orders else None
        wanted = self._book.wanted(record.group)
        to = self.destinations(record, wanted, peer, held=held)
        if what.settings and wanted is not None:
            heartbeat = wanted.communication.heartbeat if to.opamp else 0.0
            record.settings_offered(settings_digest(wanted, to), heartbeat)
        own, window, nonce = record.kind is AgentKind.OWN, self._retry_window(), self._nonce()
        if what.ask_state:
            record.state_nonce = nonce.hex()
        if said is not None:
            return head(record) + render_tail(
                what, record, wanted, held=held and own, retry_window=window, to=to, said=said, nonce=nonce
            )
        if what.settings and to.has_telemetry:
            bearer = peer.bearer if to.token else ""
            return head(record) + render_tail(
                what, record, wanted, held=False, retry_window=window, to=to, bearer=bearer
            )
        return head(record) + self._tail(what, record, wanted, to, held=held)

    def _say_orders(self, what: Plan, record: Record, *, held: bool, visited: bool) -> Said:
        """Return what is said of operations now, and take note that it is."""
        orders = record.orders
        if orders is None:
            return Said()
        if record.kind is AgentKind.STOCK:
            said, orders.restart = Said(nonces=(orders.restart,)), ""
        else:
            said = orders.say(orders_room(what, record, held=held), visited=visited)
        self._counts.operations += len(said.nonces)
        if said.nonces and self._ordering is not None:
            self._ordering.told(record, said.nonces)
        if orders.empty:
            record.orders = None
        return said

    def _tail(
        self, what: Plan, record: Record, wanted: Wanted | None, to: Destinations, *, held: bool
    ) -> bytes:
        """Return what stands behind the head; over held links encoded once for all who are told the same."""
        own, alike = record.kind is AgentKind.OWN, (wanted, self._retry_window(), self._nonce())
        key = (record.group, own, what, to.opamp)
        shared = held and not what.assignment
        found = self._tails.get(key) if shared else None
        # A group is the same object as long as nothing of it changed; comparing its parts would cost more.
        if found is not None and found[0][0] is wanted and found[0][1:] == alike[1:]:
            return found[1]
        made = render_tail(
            what, record, wanted, held=held and own, retry_window=alike[1], to=to, nonce=alike[2]
        )
        if shared:
            if len(self._tails) >= TAILS:
                self._tails.clear()
            self._tails[key] = (alike, made)
        return made

    def destinations(self, record: Record, wanted: Wanted | None, peer: Peer, *, held: bool) -> Destinations:
        """Return where a stock agent is told to connect; for agents of ours the bundle says it."""
        if record.kind is not AgentKind.STOCK:
            return NOWHERE
        identity: Identity = peer.identity
        return find_destinations(
            self._endpoint(),
            record.ear.capabilities,
            held=held,
            telemetry=self._telemetry and wanted is not None and wanted.communication.upload,
            token=identity.token,
        )


def head(record: Record) -> bytes:
    """Return what every message to this agent begins with, which is also the answer to a quiet heartbeat."""
    if not record.quiet:
        record.quiet = quiet(record.key)
    return record.quiet
