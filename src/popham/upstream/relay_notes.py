"""What an upstream writes into an agent's record of what a Proxy Manager says, beside what the agent itself signed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from popham.model.status import PROMISE_MAX
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.orders import Ordering
from popham.upstream.record import STOCK_PROMISE, Record
from popham.upstream.relayed import Relayed

_OFFERED: Final = 256


def note_promise(record: Record, relay: Relayed, said: wire.AgentSaid) -> None:
    """Take note of how often an agent comes to its own upstream: it promises that, or was measured there."""
    told = said.promise if math.isfinite(said.promise) and said.promise > 0 else 0.0
    told = min(told, PROMISE_MAX * max(1, len(record.via)))
    if record.public_key and record.state is not None:
        signed = record.state.promise
        record.own_promise = max(told, signed) if len(record.via) > 1 else signed
    elif not record.public_key:
        record.own_promise = told or STOCK_PROMISE
    relay.promise = told or record.own_promise


def note_offered(ordering: Ordering | None, record: Record, nonces: Sequence[str]) -> None:
    """Take note of operations that were offered to an agent where it is."""
    nonces = nonces[:_OFFERED]
    if not nonces or ordering is None:
        return
    ordering.told(record, nonces)
    orders = record.orders
    if orders is not None and orders.restart in nonces:
        orders.restart = ""


def note_arrived(record: Record, heard: Sequence[str]) -> bool:
    """Take note that a proxy was told of results that are durable; return whether others are still to be told."""
    orders = record.orders
    if orders is None:
        return False
    left = [one for one in orders.heard if one not in heard]
    orders.heard.clear()
    orders.heard.extend(left)
    if orders.empty:
        record.orders = None
    return bool(left)
