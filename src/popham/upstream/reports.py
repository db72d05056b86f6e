"""What agents say of themselves, on its way into records, to whoever keeps operations, and to be durable.

It comes from an agent itself, or is relayed by the Proxy Manager that the agent is at: then nothing is answered here, and
of an agent that has a key nothing is believed that this key has not signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from popham.model.fleet import AgentKind
from popham.model.status import StateRecord
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.wire import OWN_AGENT, SESSION
from popham.upstream.book import Book
from popham.upstream.hearing import Heard, hear_none, note
from popham.upstream.keeping import answer_after
from popham.upstream.orders import Ordering
from popham.upstream.record import Record


class Reports:
    """Takes note of what agents say."""

    def __init__(
        self,
        book: Book,
        ordering: Ordering | None,
        reported: Callable[[Record], None],
        changed: Callable[[Iterable[str]], None],
        *,
        vouched: bool = False,
    ) -> None:
        """Keep what is needed.

        Args:
            book: Makes it durable.
            ordering: Hears results; None if nothing is ordered here.
            reported: Told of a record in which something changed that an agent said, or whose outputs are wanted.
            changed: Told the names of groups whose bundle was raised above one that an agent held.
            vouched: Whether the signature of what an agent says itself is checked above, and not here: the agent has
                proven its key on the connection.
        """
        self._vouched = vouched
        self._book = book
        self._ordering = ordering
        self._reported = reported
        self._changed = changed

    def note(self, record: Record, message: AgentToServer) -> Heard:
        """Write what an agent says into its record; raises as :func:`popham.upstream.hearing.note`."""
        hear = self._ordering.hear if self._ordering else hear_none
        return note(record, message, hear, vouched=self._vouched)

    def tell(self, record: Record, *, changed: bool) -> None:
        """Tell those who want to know it that an agent said something."""
        orders = record.orders
        if changed or record.lacks or (orders is not None and orders.want_outputs):
            self._reported(record)
        if self._ordering is not None and (changed or orders is not None):
            self._ordering.reported(record)

    async def durable(self, record: Record, heard: Heard) -> None:
        """Return once what was noted is durable, and a bundle that the agent was asked for was looked at.

        Raises:
            StateError: It could not be written.
            TrustError: The bundle is not genuine.
            NotFoundError: Its group is gone.
        """
        kept = [] if record.saved == record.edition else [answer_after(self._book, record, bytes)]
        if heard.durable is not None:
            # It may be shared with others; so it is not cancelled with this.
            shared = asyncio.isfuture(heard.durable)
            await asyncio.gather(asyncio.shield(heard.durable) if shared else heard.durable, *kept)
            self.tell(record, changed=False)
        else:
            for one in kept:
                await one
        if heard.bundle:
            await self._book.claim(record, heard.bundle)
            self._changed([record.group])

    async def relayed(
        self, record: Record, message: AgentToServer, believes: Callable[[StateRecord], bool]
    ) -> None:
        """Take note of what a proxy says that an agent said; returns once that is durable.

        Args:
            record: The agent.
            message: All that is known of it there.
            believes: Asked about a new state record, which the agent has signed.

        Raises:
            WireError: A part is malformed, or the agent's generation may not talk to us.
            TrustError: The state record, a result or a bundle is not signed as it has to be.
            StateError: It could not be written.
        """
        record.settled = None
        if record.public_key:
            message = _keep_signed(message)
        else:
            record.ear.hear(message)

        def signed(state: StateRecord) -> bool:
            record.ear.custom = frozenset({SESSION})
            record.ear.capabilities = record.ear.capabilities or int(OWN_AGENT)
            return believes(state)

        heard = note(record, message, self._ordering.hear if self._ordering else hear_none, signed)
        changed = heard.changed
        if record.kind is AgentKind.UNKNOWN and record.public_key and record.ear.custom:
            record.kind, changed = AgentKind.OWN, True
        record.edition += changed
        record.lacks = ()  # whoever it is at brings it what it lacks
        self.tell(record, changed=changed)
        await self.durable(record, heard)


def _keep_signed(message: AgentToServer) -> AgentToServer:
    """Return of a message what the agent signs, and what is only asked for: bodies, and a bundle to be looked at."""
    said = message.custom_message if message.HasField("custom_message") else None
    return AgentToServer(instance_uid=message.instance_uid, custom_message=said)
