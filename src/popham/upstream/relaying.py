"""What an upstream is asked for the Proxy Managers below it: the Manager has a database, a proxy what it was told.

:class:`popham.upstream.relays.Relays` keeps the exchange with each proxy; what is said in it comes from a
:class:`Desk`.  A Manager has one, and so has each proxy that other proxies stand below: that is all there is to chains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.record import Record


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a proxy may speak for.

    Attributes:
        groups: Groups that were given to it.
        agents: uids of agents that were, whatever their group is.
        custody: Stream → ``hop`` or ``end to end``.
        names: DNS names and addresses by which agents dial it.
        relays: uids of the Proxy Managers that it visits: it is the upstream of those.
    """

    groups: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    custody: dict[str, str] = field(default_factory=dict, hash=False)
    names: tuple[str, ...] = ()
    relays: frozenset[str] = frozenset()

    def has(self, record: Record) -> bool:
        """Return whether an agent was given to it."""
        return record.group in self.groups or record.uid in self.agents


Answer = Callable[[bytes | Exception], None]
"""Told the answer to a call, or why there is none: a PophamError, or Refused. Must not wait."""


class Desk(Protocol):
    """Answers for the fleet. Synchronous methods answer from memory.

    Every method that is given a proxy's record has been shown that it is one; what it may speak for is looked at here.
    """

    def scope(self, proxy: Record) -> Scope | None:
        """Return whom a proxy may speak for; None if it is no proxy, or not any more."""
        ...

    def told(self, proxy: Record, key: bytes) -> wire.AgentTold | None:
        """Return what a proxy is to know of an agent; ``gone`` if that is nothing. Changes nothing.

        None while nobody here knows: what the proxy was told before holds, and this is told once it is known.
        """
        ...

    def group_told(self, proxy: Record, name: str) -> wire.GroupTold | None:
        """Return what the agents of a group are to have; ``gone`` if the proxy was not given it; None as of :meth:`told`."""
        ...

    def places(self, proxy: Record) -> Iterable[wire.PlaceTold] | None:
        """Return where this proxy is to visit agents: all of it; None as of :meth:`told`."""
        ...

    def body(self, proxy: Record, sha256: str) -> bytes | None:
        """Return a body that a bundle of the proxy's groups names."""
        ...

    async def fetch(self, proxy: Record, sha256: str) -> int:
        """Have such a body in memory, since it is about to be asked for; return its bytes, 0 if there was no need."""
        ...

    def nonce(self, proxy: Record) -> bytes:
        """Return the newest nonce of a proxy; drawn anew when it is time."""
        ...

    def visitor(self, proxy: Record) -> bytes:
        """Return the signed statement that lets a proxy visit agents, made anew when it is time; empty for none."""
        ...

    async def said(self, proxy: Record, said: wire.AgentSaid) -> bool:
        """Take note of what an agent said; the coroutine ends once that is durable.

        Returns:
            Whether the proxy is to be told something of it (its state was not believed, or it is not the proxy's).

        Raises:
            PophamError: It is not believed, or could not be written.
        """
        ...

    def left(self, proxy: Record, keys: Iterable[bytes]) -> None:
        """Take note that agents are not at a proxy any more."""
        ...

    def arrived(self, proxy: Record, key: bytes, heard: Sequence[str]) -> None:
        """Take note that a proxy was told of results of an agent that are durable here; they need not be told again."""
        ...

    def present(self, proxy: Record, boot: int, presence: bytes) -> None:
        """Take note of when the agents of a proxy were heard of: kept as it is, and read when somebody asks.

        Args:
            proxy: The proxy.
            boot: Of its process, in which agents have their places; called before anything else of a message.
            presence: One byte for each place; empty if it says nothing of that now.
        """
        ...

    def stood(self, proxy: Record, status: bytes) -> None:
        """Take note of how a proxy says that it stands, JSON."""
        ...

    async def append(self, proxy: Record, carried: wire.Carried) -> Sequence[wire.Stood]:
        """Keep frames of an agent; returns how far its stream is, once they are durable. Raises as ``Intake.append``."""
        ...

    async def call(self, proxy: Record, call: wire.RelayCall) -> bytes:
        """Answer a call. Raises PophamError, or Refused, which the proxy hands on."""
        ...

    def hand_on(self, proxy: Record, call: wire.RelayCall, done: Answer) -> bool:
        """Ask what stands above, and have ``done`` told of the answer later; False if :meth:`call` answers this one."""
        ...
