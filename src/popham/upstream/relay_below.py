"""What an upstream remembers of the exchange with one Proxy Manager: what it knows, and what it is to be told."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from popham.net.seam import HeldLink
from popham.opamp.relay import Exchange, Outbox
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.record import Record
from popham.upstream.relay_told import orders_of
from popham.upstream.relaying import Scope

_log = logging.getLogger(__name__)
DIGEST = 8
"""Bytes of a digest of what was told."""
BODIES_MAX = 65_536
"""Bodies that are remembered as said; beyond that some are said again."""

STRANGERS_MAX = 4096
"""Agents that are not a proxy's, of which it is told that at once: it may name as many as it likes."""
NOTED_MAX = 8
"""Lines that are logged of what was not taken of one message."""


def digest_told(data: bytes) -> bytes:
    """Return the digest by which a proxy says what it was told."""
    return hashlib.sha256(data).digest()[:DIGEST]


@dataclass(slots=True)
class Told:
    """What was said and is not known to have arrived.

    Attributes:
        agents: Agent → digest of what was told of it, None for ``gone``.
        heard: Agent → results that were named as durable.
        groups: Group → digest, None for ``gone``.
        places: Definition → digest, None for ``gone``.
        placed: Whether the places were said to be all.
        kept: Name → value of what is said only when it changes.
    """

    agents: dict[bytes, bytes | None] = field(default_factory=dict)
    heard: dict[bytes, tuple[str, ...]] = field(default_factory=dict)
    groups: dict[str, bytes | None] = field(default_factory=dict)
    places: dict[str, bytes | None] = field(default_factory=dict)
    placed: bool = False
    kept: dict[str, bytes] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Return whether anything was said."""
        return bool(self.agents or self.groups or self.places or self.placed or self.kept or self.heard)


@dataclass(slots=True, eq=False)
class Below:
    """One proxy, from its first exchange on.

    Attributes:
        proxy: Its record.
        exchange: Counts messages.
        turn: Held while one message of it is worked on.
        turns: How many are worked on, or wait for that.
        known: Agent → digest of what it was told of it; empty where it only spoke of it.
        groups_known, places_known: Likewise, by name.
        groups_of: Groups that it is told of.
        agents, groups, standings, replies: What is to be said.
        stood: How far streams are, by agent and stream, until it has heard it.
        answered: Replies to calls, by their ids, until it has heard them.
        lacks: Bodies that it asks for in its last message.
        bodies: Digests of those that were said unasked.
        told: What its last message has not named as heard.
        kept: What it was told last of what is said only when it changes.
        strangers: Agents that are not its, of which it is to be told that.
        noted: How much of its last message was not taken.
        asking: Its calls that are asked above.
        met: Agents of whom an answer from above told it, and not yet how far their streams are.
        scope: Whom it may speak for, when that was looked at last.
        orders: What is ordered of it, by that scope.
        listed: Whether it has said what it knows.
        stale: Whether its places may be others than it was told.
        placed: Whether it was told all its places, and so which of those that it had are gone.
        outstanding: Whether the last message to it is not known to have arrived.
        woken: Whether it was told that there is something for it, and has not come since.
        woken_over: The link over which it was told.
        at: Monotonic seconds of its last message; None before the first.
    """

    proxy: Record
    exchange: Exchange
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    known: dict[bytes, bytes] = field(default_factory=dict)
    groups_known: dict[str, bytes] = field(default_factory=dict)
    places_known: dict[str, bytes] = field(default_factory=dict)
    groups_of: set[str] = field(default_factory=set)
    agents: Outbox[bytes] = field(default_factory=Outbox)
    groups: Outbox[str] = field(default_factory=Outbox)
    standings: Outbox[tuple[bytes, str]] = field(default_factory=Outbox)
    replies: Outbox[int] = field(default_factory=Outbox)
    stood: dict[tuple[bytes, str], wire.Stood] = field(default_factory=dict)
    answered: dict[int, wire.RelayReply] = field(default_factory=dict)
    lacks: list[wire.Lack] = field(default_factory=list)
    bodies: set[str] = field(default_factory=set)
    told: Told = field(default_factory=Told)
    kept: dict[str, bytes] = field(default_factory=dict)
    strangers: set[bytes] = field(default_factory=set)
    asking: set[int] = field(default_factory=set)
    met: list[wire.AgentTold] = field(default_factory=list)
    noted: int = 0
    turns: int = 0
    scope: Scope | None = None
    orders: bytes = field(default_factory=lambda: orders_of(None))
    listed: bool = False
    stale: bool = True
    placed: bool = False
    outstanding: bool = False
    woken: bool = False
    woken_over: HeldLink | None = None
    at: float | None = None

    @property
    def waits(self) -> bool:
        """Whether something is to be said at once."""
        held_back = self.agents or self.groups or self.stale
        return bool(self.standings or self.replies or self.lacks or (self.listed and held_back))

    def mark_agents(self, keys: Iterable[bytes]) -> None:
        """Have it told of agents, which it knows from now on."""
        for key in keys:
            self.known.setdefault(key, b"")
            self.agents.mark([key])

    def note(self, text: str, *parts: object) -> None:
        """Log what was not taken of its last message; of very much, the first only."""
        self.noted += 1
        if self.noted <= NOTED_MAX:
            _log.warning(text, *parts)

    def know(self, told: wire.AgentTold, digest: bytes) -> None:
        """Take note that it was told something of an agent, by its digest; if that is other now, it is told."""
        self.known[told.key] = digest[:DIGEST]
        if told.group and told.group not in self.groups_of:
            self.mark_groups([told.group])
        if digest_told(told.SerializeToString()) != digest:
            self.agents.mark([told.key])

    def mark_stranger(self, key: bytes) -> None:
        """Have it told that an agent is none of its, unless it speaks of too many that are not."""
        if key in self.strangers or len(self.strangers) < STRANGERS_MAX:
            self.strangers.add(key)
            self.mark_agents([key])

    def drop(self, key: bytes) -> None:
        """Tell it nothing more of an agent."""
        self.known.pop(key, None)
        self.agents.drop(key)
        self.strangers.discard(key)

    def mark_groups(self, names: Iterable[str]) -> None:
        """Have it told of groups, now and whenever they change."""
        for name in names:
            self.groups_of.add(name)
            self.groups.mark([name])

    def reset(self) -> None:
        """Forget what the other end has heard: it, or this end, began anew."""
        for outbox in (self.agents, self.groups, self.standings, self.replies):
            outbox.clear()
        for held in (self.known, self.groups_known, self.places_known, self.stood, self.answered, self.kept):
            held.clear()
        self.groups_of.clear()
        for kept in (self.strangers, self.asking, self.met):
            kept.clear()
        self.told = Told()
        self.listed, self.stale, self.placed = False, True, False

    def heard(self) -> dict[bytes, tuple[str, ...]]:
        """Take note that all that was said has arrived; return agent → results that were named as durable."""
        for key in self.standings.said:
            self.stood.pop(key, None)
        for call in self.replies.said:
            self.answered.pop(call, None)
        for outbox in (self.agents, self.groups, self.standings, self.replies):
            outbox.heard()
        told = self.told
        if not told:
            return {}
        self.told = Told()
        _merge(self.known, told.agents)
        self.strangers -= {key for key, digest in told.agents.items() if digest is None}
        _merge(self.groups_known, told.groups)
        _merge(self.places_known, told.places)
        self.groups_of -= {name for name, digest in told.groups.items() if digest is None}
        self.kept.update(told.kept)
        self.placed = self.placed or told.placed
        return told.heard

    def lost(self) -> None:
        """Take note that what was said may not have arrived: it is said again."""
        for outbox in (self.agents, self.groups, self.standings, self.replies):
            outbox.lost()
        # What it knows of these is not known here either, so none of them is left out as known.
        self.known.update(dict.fromkeys(self.told.agents.keys() & self.known.keys(), b""))
        self.groups_known.update(dict.fromkeys(self.told.groups, b""))
        self.places_known.update(dict.fromkeys(self.told.places, b""))
        self.stale = self.stale or bool(self.told.places) or self.told.placed
        for name in self.told.kept:
            self.kept.pop(name, None)
        self.told = Told()


def _merge(
    known: dict[bytes, bytes] | dict[str, bytes], told: dict[bytes, bytes | None] | dict[str, bytes | None]
) -> None:
    for key, digest in told.items():
        if digest is None:
            known.pop(key, None)  # type: ignore[arg-type]  # both have the same kind of keys
        else:
            known[key] = digest  # type: ignore[index]  # likewise
