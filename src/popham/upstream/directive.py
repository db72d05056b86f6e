"""What an agent should be told, from what it has and what it should have; pure.

A directive is the difference of two digests, so the same report always gives
the same directive, and losing one costs nothing but time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

from popham.model.fleet import Admission, AgentKind
from popham.model.generation import GENERATION, OPERATIONS, PROXIES
from popham.model.names import digest
from popham.opamp.codec import custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentConfigMap,
    AgentIdentification,
    AgentRemoteConfig,
    CommandType,
    CustomCapabilities,
    ServerToAgent,
    ServerToAgentCommand,
)
from popham.opamp.schema.popham.v1.popham_pb2 import Directive
from popham.opamp.wire import (
    BLOB_KEY,
    BUNDLE_KEY,
    DSSE_TYPE,
    HELD_MESSAGE_LIMIT,
    INLINE_LIMIT,
    OWN_UPSTREAM,
    REFERENCE_TYPE,
    REPORT_FULL_STATE,
    SESSION,
    TRUST,
    AgentCapability,
)
from popham.upstream.destinations import NOWHERE, Destinations, render_settings, settings_digest
from popham.upstream.orders import Said
from popham.upstream.record import NO_OBJECTS, Record, Wanted, stock_digest

_ROOM = 1024
"""Bytes of a held message left for everything that is not the bundle, a body or an operation."""
ORDERS_ROOM = 64 * 1024
"""Bytes of operations in one HTTP answer."""

_TAKES_CONFIG = int(AgentCapability.ACCEPTS_REMOTE_CONFIG)
_REPORTS_SETTINGS = int(AgentCapability.REPORTS_CONNECTION_SETTINGS_STATUS)
_TAKES_RESTART = int(AgentCapability.ACCEPTS_RESTART_COMMAND)
_NEITHER = (False, False)
"""Parts of a plan that are for all: the first two."""
_OWN_ONLY = (False, False, False, False, False)
"""Parts of a plan that are for our own agents: the last five but one."""
_STOCK_ONLY = (False,)
"""The part that is for stock agents: the third."""
_UNORDERED, _ORDERED = (False,), (True,)
"""The last part."""
_UNSAID = Said()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be said to one agent now; all False and empty is nothing.

    Attributes:
        full_state: Ask for everything it can say of itself.
        assignment: Send its newest assignment.
        bundle: Offer the group's bundle (ours) or objects (stock).
        ask_bundle: Ask for its bundle, which is above ours.
        ask_state: Ask for its state record anew, with the newest nonce.
        settings: Offer connection settings (stock).
        check_in: Ask for a round now.
        hello: Name generation and retry window.
        guarded: Leave out of the offer the bodies that it is not given yet.
        orders: Say what is ordered of it: documents (ours), or OpAMP's command, alone in its message (stock).
        text: A sentence for its own status page.
        stretch: Seconds by which its next round is wanted later.
    """

    full_state: bool = False
    assignment: bool = False
    bundle: bool = False
    ask_bundle: bool = False
    ask_state: bool = False
    settings: bool = False
    check_in: bool = False
    hello: bool = False
    guarded: bool = False
    orders: bool = False
    text: str = ""
    stretch: float = 0.0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to say."""
        return self is NOTHING or self == NOTHING


@lru_cache(128)
def _plan(
    full_state: bool,
    bundle: bool,
    settings: bool,
    hello: bool,
    assignment: bool,
    ask_bundle: bool,
    ask_state: bool,
    guarded: bool,
    orders: bool,
) -> Plan:
    """Return the one plan that says this, for all who are told the same; called by position always."""
    return Plan(
        full_state=full_state,
        bundle=bundle,
        settings=settings,
        hello=hello,
        assignment=assignment,
        ask_bundle=ask_bundle,
        ask_state=ask_state,
        guarded=guarded,
        orders=orders,
    )


NOTHING = _plan(*_NEITHER, *_STOCK_ONLY, *_OWN_ONLY, *_UNORDERED)
ORDERS = _plan(*_NEITHER, *_STOCK_ONLY, *_OWN_ONLY, *_ORDERED)
"""What is ordered, and nothing else."""


def is_ordered(record: Record, *, visited: bool) -> bool:
    """Return whether there is something to say of operations now, to an agent that may hear it.

    Nothing is ordered of agents that know no operations: whoever keeps them says so to people.
    """
    orders = record.orders
    if orders is None or record.admission is not Admission.ACCEPTED:
        return False
    if record.kind is AgentKind.STOCK:
        return bool(orders.restart) and bool(record.ear.capabilities & _TAKES_RESTART)
    state = record.state if record.kind is AgentKind.OWN else None
    return state is not None and state.generation >= OPERATIONS and orders.waits(visited=visited)


def wants_bundle(record: Record, wanted: Wanted | None) -> bool:
    """Return whether an agent holds a bundle of its group that is above what is here; a genuine one raises ours."""
    state = record.state
    if state is None or wanted is None or state.group != record.group:
        return False
    return state.serial > wanted.serial or state.version > wanted.version


def plan(
    record: Record,
    wanted: Wanted | None,
    *,
    full_state: bool,
    hello: bool,
    to: Destinations,
    ordered: bool = False,
) -> Plan:
    """Return what this agent should be told.

    Nothing is offered while its kind is unknown or it is not accepted.
    ``to`` is where a stock agent is to connect; ``ordered`` is what :func:`is_ordered` says.
    """
    if record.kind is AgentKind.UNKNOWN:
        return Plan(full_state=True)
    if record.admission is not Admission.ACCEPTED:
        text = "waiting to be accepted by an administrator" if hello else ""
        return Plan(full_state=full_state, hello=hello, text=text)
    if record.kind is AgentKind.STOCK:
        if ordered:
            return ORDERS
        return _plan_stock(record, wanted, full_state=full_state, to=to)
    return _plan_own(record, wanted, full_state=full_state, hello=hello, ordered=ordered)


def _plan_own(record: Record, wanted: Wanted | None, *, full_state: bool, hello: bool, ordered: bool) -> Plan:
    state = record.state
    if state is None:
        return Plan(full_state=True, hello=hello, assignment=bool(record.assignment))
    assignment = bool(record.assignment) and state.assignment < record.assignment_seq
    guarded = wanted is not None and wanted.guards(record)
    # What it was refused, and is given now, is a difference too.
    lacks = bool(state.withheld) and not guarded
    differs = wanted is not None and (lacks or wanted.content_digest != state.content_digest)
    above = wants_bundle(record, wanted)
    takes = bool(record.ear.capabilities & _TAKES_CONFIG)
    offer = takes and differs and not above and (assignment or state.group == record.group)
    anew = record.want_state and state.generation >= PROXIES
    asks = above and state.version > record.claimed
    return _plan(full_state, offer, *_STOCK_ONLY, hello, assignment, asks, anew, offer and guarded, ordered)


def _plan_stock(record: Record, wanted: Wanted | None, *, full_state: bool, to: Destinations) -> Plan:
    capabilities = record.ear.capabilities
    if wanted is None:
        return Plan(full_state=full_state)
    takes_config = bool(capabilities & _TAKES_CONFIG)
    held = record.remote.digest
    # One that reports is believed; of another, what was told counts, or it would be told for ever.
    reports = capabilities & _REPORTS_SETTINGS
    known = record.settings.digest if reports else record.settings_told
    return _plan(
        full_state,
        takes_config and held != stock_digest(wanted.objects_digest, held),
        to != NOWHERE and known != settings_digest(wanted, to),
        *_OWN_ONLY,
        *_UNORDERED,
    )


def render_tail(
    what: Plan,
    record: Record,
    wanted: Wanted | None,
    *,
    held: bool,
    retry_window: float,
    to: Destinations,
    bearer: str = "",
    said: Said = _UNSAID,
    nonce: bytes = b"",
) -> bytes:
    """Return what stands behind :func:`quiet` in the ServerToAgent that says it.

    A Proxy Manager's ``nonce`` stands in each directive, so beside each offer to an agent of ours; older ones ignore it.

    Without an assignment, what is ordered (``said``) and an agent's own token (``bearer``) it is the same for all agents
    of a group and kind that connect to the same places.
    On a held link between our own ends nothing exceeds 8 KiB: a bundle that
    would is named, and bodies that would are left out, to be fetched by digest.
    """
    message = ServerToAgent()
    if what.orders and record.kind is AgentKind.STOCK:
        message.command.CopyFrom(ServerToAgentCommand(type=CommandType.CommandType_Restart))
        return message.SerializeToString()
    if what.full_state:
        message.flags = REPORT_FULL_STATE
    tail = b""
    if what.bundle and wanted is not None:
        tail = _offer(wanted, own=record.kind is AgentKind.OWN, held=held, guarded=what.guarded)
    if what.settings and wanted is not None:
        message.connection_settings.CopyFrom(render_settings(wanted, to, bearer))
    if record.kind is AgentKind.OWN:
        directive = Directive(
            generation=GENERATION,
            retry_window_seconds=retry_window,
            assignment=record.assignment if what.assignment else b"",
            want_bundle=what.ask_bundle,
            check_in=what.check_in,
            text=what.text,
            stretch_seconds=what.stretch,
            operations=said.operations,
            heard=said.heard,
            want_outputs=said.want_outputs,
            nonce=nonce,
            want_state=what.ask_state,
        )
        message.custom_message.CopyFrom(custom(directive))
        if what.hello:
            message.custom_capabilities.CopyFrom(CustomCapabilities(capabilities=[SESSION, TRUST]))
    elif what.check_in:
        message.flags = REPORT_FULL_STATE
    return message.SerializeToString() + tail


def orders_room(what: Plan, record: Record, *, held: bool) -> int:
    """Return the bytes that what is ordered may take in the message that says ``what``."""
    if not held:
        return ORDERS_ROOM
    return HELD_MESSAGE_LIMIT - _ROOM - (len(record.assignment) if what.assignment else 0)


def _offer(wanted: Wanted, *, own: bool, held: bool, guarded: bool) -> bytes:
    """Return the part of a ServerToAgent that many agents of a group share: it is encoded once.

    Encoded messages that stand one behind the other are one message.
    """
    made = wanted.offers.get((own, held, guarded))
    if made is None:
        offer = _own_offer(wanted, held=held, guarded=guarded) if own else _stock_offer(wanted)
        made = wanted.offers[own, held, guarded] = ServerToAgent(remote_config=offer).SerializeToString()
    return made


def quiet(key: bytes) -> bytes:
    """Return the answer to a heartbeat with nothing new."""
    return ServerToAgent(instance_uid=key, capabilities=int(OWN_UPSTREAM)).SerializeToString()


def rename(key: bytes, new: bytes) -> bytes:
    """Return the answer to an agent that asks for an instance_uid: it is ``new`` from now on."""
    identification = AgentIdentification(new_instance_uid=new)
    return ServerToAgent(
        instance_uid=key, capabilities=int(OWN_UPSTREAM), agent_identification=identification
    ).SerializeToString()


def _own_offer(wanted: Wanted, *, held: bool, guarded: bool) -> AgentRemoteConfig:
    room = HELD_MESSAGE_LIMIT - _ROOM if held else INLINE_LIMIT
    found = AgentConfigMap()
    if held and len(wanted.envelope) > room:
        named = {"sha256": digest(wanted.envelope), "length": len(wanted.envelope)}
        found.config_map[BUNDLE_KEY].body = json.dumps(named).encode()
        found.config_map[BUNDLE_KEY].content_type = REFERENCE_TYPE
        room = 0
    else:
        found.config_map[BUNDLE_KEY].body = wanted.envelope
        found.config_map[BUNDLE_KEY].content_type = DSSE_TYPE
        room -= len(wanted.envelope)
    left_out = wanted.guarded if guarded else ()
    for sha256, body in wanted.blobs.items():
        if sha256 in left_out:
            continue
        cost = len(body) + len(BLOB_KEY) + len(sha256) + 32
        if cost <= room:
            found.config_map[BLOB_KEY + sha256].body = body
            room -= cost
    return AgentRemoteConfig(config=found, config_hash=bytes.fromhex(wanted.content_digest))


def _stock_offer(wanted: Wanted) -> AgentRemoteConfig:
    found = AgentConfigMap()
    for key, held in wanted.objects.items():
        found.config_map[key].body = held.body
        found.config_map[key].content_type = held.content_type
    return AgentRemoteConfig(config=found, config_hash=wanted.objects_digest or NO_OBJECTS)
