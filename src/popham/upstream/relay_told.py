"""What a Proxy Manager is told of an agent and of a group; pure."""

from __future__ import annotations

import uuid

from popham.model.fleet import Admission, AgentKind
from popham.model.generation import OPERATIONS
from popham.model.names import canonical
from popham.model.operation import DOCUMENTS
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.orders import HEARD
from popham.upstream.record import Record, Wanted
from popham.upstream.relaying import Scope


def tell_agent(record: Record) -> wire.AgentTold:
    """Return what a proxy is to know of an agent that was given to it; the same until something changes."""
    relay, state = record.relay, record.state
    told = wire.AgentTold(
        key=record.key,
        name=record.name,
        group=record.group,
        kind=str(record.kind),
        admission=str(record.admission),
        public_key=record.public_key,
        former_key=record.former_key,
        assignment=record.assignment,
        assignment_seq=record.assignment_seq,
        certificate_until=record.certificate_until,
        dialer=str(record.dialer or ""),
        candidate=record.candidate,
        revision=state.revision if state is not None else 0,
        want_state=relay is not None and relay.want_state,
        want_bundle=relay is not None and relay.want_bundle,
    )
    _tell_orders(record, told)
    return told


def _tell_orders(record: Record, told: wire.AgentTold) -> None:
    orders, state = record.orders, record.state
    if orders is None or record.admission is not Admission.ACCEPTED:
        return
    if record.kind is AgentKind.STOCK:
        told.restart = orders.restart
    elif state is not None and state.generation >= OPERATIONS:
        for nonce, order in list(orders.open.items())[:DOCUMENTS]:
            told.orders.add(nonce=nonce, envelope=order.sealed())
        told.heard.extend(list(orders.heard)[:HEARD])
        told.want_outputs.extend(list(orders.want_outputs)[:DOCUMENTS])


def tell_scope(told: wire.AgentTold, scope: Scope, visitor: bytes) -> None:
    """Say of an agent that it is a Proxy Manager, whom it may speak for, and by which statement it visits."""
    told.proxy.CopyFrom(
        wire.ScopeTold(
            groups=sorted(scope.groups),
            agents=[uuid.UUID(uid).bytes for uid in sorted(scope.agents)],
            orders=orders_of(scope),
            visitor=visitor,
        )
    )


def orders_of(scope: Scope | None) -> bytes:
    """Return what is ordered of a proxy, as JSON."""
    if scope is None:
        return canonical({"custody": {}})
    return canonical({"custody": dict(scope.custody), "names": list(scope.names)})


def tell_group(wanted: Wanted) -> wire.GroupTold:
    """Return what the agents of a group are to have."""
    objects = (
        wire.ObjectTold(key=key, content_type=held.content_type, body=held.body)
        for key, held in wanted.objects.items()
    )
    return wire.GroupTold(
        name=wanted.group,
        serial=wanted.serial,
        version=wanted.version,
        content_digest=wanted.content_digest,
        envelope=wanted.envelope,
        blobs=list(wanted.blobs),
        objects=list(objects),
        objects_digest=wanted.objects_digest,
        guarded=sorted(wanted.guarded),
        minimum_serial=wanted.minimum_serial,
    )
