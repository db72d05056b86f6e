"""What agents are told of what is ordered: documents in their records, signed when they are first offered."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import partial

from popham.clock import Clock
from popham.manager.operations.ledger import Entry
from popham.model.fleet import AgentKind
from popham.model.operation import Kind, Operation, OperationState, lifetime_for
from popham.trust.keys import SigningKey
from popham.trust.operation import seal_operation
from popham.upstream.orders import Order, Orders
from popham.upstream.record import Record


class Offering:
    """Puts orders into records, and takes them out again."""

    def __init__(
        self,
        find: Callable[[str], Record | None],
        director: SigningKey,
        clock: Clock,
        handed_on: Callable[[Entry], None],
    ) -> None:
        """Find records by ``find``; documents are signed by ``director``; ``handed_on`` is told what a proxy will have."""
        self._find = find
        self._handed_on = handed_on
        self._director = director
        self._clock = clock

    def orders(self, record: Record) -> Orders:
        """Return what is ordered of an agent; it is about to be added to."""
        record.settled = None
        if record.orders is None:
            record.orders = Orders()
        return record.orders

    def offer(self, entry: Entry) -> None:
        """Have an agent told of a target, and whatever it says brought here."""
        row, record = entry.row, self._find(entry.row.uid)
        if record is None:
            return
        kind, orders = entry.going.stored.kind, self.orders(record)
        if is_followed(entry, record):
            orders.followed = True
            if kind is Kind.RESTART and row.state == OperationState.QUEUED:
                orders.restart = row.nonce
        elif row.state != OperationState.RUNNING:
            orders.open[row.nonce] = Order(row.nonce, partial(self._seal, entry, kind, row.nonce))
        if row.cancelled_by and row.nonce:
            self.offer_cancel(entry)

    def offer_cancel(self, entry: Entry) -> None:
        """Have an agent told that a target is taken back."""
        record = self._find(entry.row.uid)
        if record is not None and record.kind is AgentKind.OWN:
            nonce, orders = cancel_nonce(entry.row.nonce), self.orders(record)
            # Before all others: what it ends may be what they wait for.
            orders.open = {nonce: Order(nonce, partial(self._seal, entry, Kind.CANCEL, nonce))} | orders.open

    def forget_output(self, record: Record, sha256: str) -> None:
        """Have an agent asked for an output no more."""
        orders = record.orders
        if orders is not None:
            orders.want_outputs.pop(sha256, None)
            if orders.empty:
                record.orders = None

    def stop(self, entry: Entry) -> None:
        """Have an agent told no more of what it has begun, or may not begin any more."""
        record = self._find(entry.row.uid)
        if record is not None and record.orders is not None:
            record.orders.open.pop(entry.row.nonce, None)

    def is_handed_on(self, entry: Entry) -> bool:
        """Return whether a Proxy Manager may have the document of a target: it offers that also while it is away.

        That was so before this start, too, if the row says when it was signed for one.
        """
        if entry.row.sent:
            return True
        record = self._find(entry.row.uid)
        if record is None or not record.via or record.orders is None:
            return False
        order = record.orders.open.get(entry.row.nonce)
        return order is not None and bool(order.envelope)

    def withdraw(self, entry: Entry, others: Iterable[Entry]) -> None:
        """Take a target that is over out of its agent's record; ``others`` of that agent are open."""
        row, record = entry.row, self._find(entry.row.uid)
        if record is None or record.orders is None:
            return
        orders = record.orders
        orders.open.pop(row.nonce, None)
        orders.open.pop(cancel_nonce(row.nonce), None)
        if row.nonce and orders.restart == row.nonce:
            orders.restart = ""
        orders.followed = any(is_followed(other, record) for other in others)
        if orders.empty:
            record.orders = None

    def _seal(self, entry: Entry, kind: Kind, nonce: str) -> bytes:
        """Return the document for one target."""
        row, stored, now = entry.row, entry.going.stored, self._clock.now()
        args, expires, record = stored.args_for(row.group), row.expires, self._find(row.uid)
        if kind is Kind.CANCEL:
            args, expires = {"nonce": row.nonce}, now + lifetime_for(record.promise if record else 0.0)
        operation = Operation(
            uid=row.uid,
            operation=stored.name,
            kind=kind,
            nonce=nonce,
            issued=int(now),
            expires=int(expires),
            args=args,
        )
        if kind is not Kind.CANCEL and record is not None and record.via:
            self._handed_on(entry)
        return seal_operation(operation, self._director)


def is_followed(entry: Entry, record: Record) -> bool:
    """Return whether what becomes of a target is seen from here: no document says it to the agent."""
    return entry.going.stored.kind is Kind.SEND or record.kind is AgentKind.STOCK


def cancel_nonce(nonce: str) -> str:
    """Return the nonce of the document that takes back another one: the same one after a restart."""
    return hashlib.sha256(f"cancel {nonce}".encode()).hexdigest()[:32]
