"""What a proxy says of its agents: the newest that each said, with all that is known of it, and when it was heard of."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from popham.clock import Clock
from popham.model.fleet import AgentKind
from popham.opamp.codec import custom
from popham.opamp.relay import AGENTS_MAX, Outbox
from popham.opamp.schema.opamp.v1.opamp_pb2 import (
    AgentDescription,
    AgentToServer,
    AnyValue,
    CustomCapabilities,
    KeyValue,
    RemoteConfigStatus,
    RemoteConfigStatuses,
)
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.ordering import ProxyOrdering
from popham.upstream.presence import UNKNOWN, encode_age
from popham.upstream.record import Record, RemoteStatus

_STATUSES: Final = (
    RemoteConfigStatuses.RemoteConfigStatuses_UNSET,
    RemoteConfigStatuses.RemoteConfigStatuses_APPLIED,
    RemoteConfigStatuses.RemoteConfigStatuses_APPLYING,
    RemoteConfigStatuses.RemoteConfigStatuses_FAILED,
)
_NO_REMOTE: Final = RemoteStatus()
PROMISE_DRIFT: Final = 1.25
"""Factor by which a promise differs from what was said of it, at which it is said again."""


@dataclass(slots=True)
class _Place:
    """An agent's place in the presence, and what was said of it.

    Attributes:
        index: The place.
        promise: What its byte counts in.
        heard, saying: The description that is known above, and the one that is being said.
    """

    index: int
    promise: float
    heard: str = ""
    saying: str = ""


class Saying:
    """Agents of which something is to be said, and the places of all that were heard of since this process began."""

    def __init__(
        self,
        find: Callable[[bytes], Record | None],
        ordering: ProxyOrdering,
        clock: Clock,
        *,
        token_of: Callable[[bytes], str] = lambda _key: "",
        unvisited: Callable[[Record], str] = lambda _record: "",
    ) -> None:
        """Have nothing to say.

        Args:
            find: Returns the record of an agent.
            ordering: Has the results of operations.
            clock: Says how long ago something was.
            token_of: Returns the id of the token that let a stock agent in.
            unvisited: Returns why an agent cannot be visited from here: code and sentence; empty if it can.
        """
        self._find, self._ordering, self._clock = find, ordering, clock
        self._token_of, self._unvisited = token_of, unvisited
        self._outbox: Outbox[bytes] = Outbox()
        self._said: dict[bytes, None] = {}
        self._left: Outbox[bytes] = Outbox()
        self._places: dict[bytes, _Place] = {}
        self._free: list[int] = []
        self._next = 0

    @property
    def waits(self) -> bool:
        """Whether something is still to be said."""
        return bool(len(self._outbox) or len(self._left))

    def has(self, record: Record) -> bool:
        """Return whether an agent has a place: something was said of it, or is to be."""
        return record.key in self._places

    def mark(self, record: Record) -> None:
        """Have an agent said, as it is by then."""
        if record.key not in self._places:
            index = self._free.pop() if self._free else self._next
            self._next = max(self._next, index + 1)
            self._places[record.key] = _Place(index, record.promise)
        self._outbox.mark([record.key])

    def mark_again(self, record: Record) -> None:
        """Have an agent said with all that was said of it: nobody above took it then."""
        self.mark(record)
        self._places[record.key].heard = ""

    def forget(self, key: bytes) -> None:
        """Say nothing of an agent any more; its place is free."""
        place = self._places.pop(key, None)
        if place is not None:
            self._free.append(place.index)
        self._outbox.drop(key)
        self._said.pop(key, None)

    def left(self, keys: Iterable[bytes]) -> None:
        """Have said that agents went elsewhere."""
        for key in keys:
            self.forget(key)
            self._left.mark([key])

    # The exchange.

    def take(self, room: int) -> list[wire.AgentSaid]:
        """Return what is said of agents now, in about ``room`` bytes; a single one may be larger."""
        found: list[wire.AgentSaid] = []
        now = self._clock.now()
        taken = self._outbox.take(AGENTS_MAX)
        for at, key in enumerate(taken):
            record, place = self._find(key), self._places.get(key)
            if record is None or place is None:
                self._outbox.drop(key)
                continue
            if found and room <= 0:
                self._outbox.put_back(taken[at:])
                break
            place.promise = record.promise
            said = self._say(record, place, now)
            room -= said.ByteSize()
            self._said[key] = None
            found.append(said)
        return found

    def take_left(self) -> list[bytes]:
        """Return the uids of those that went elsewhere."""
        return self._left.take(AGENTS_MAX)

    def heard(self) -> None:
        """Take note that what was said has arrived."""
        self._outbox.heard()
        self._left.heard()
        for key in self._said:
            place = self._places.get(key)
            if place is not None and place.saying:
                place.heard, place.saying = place.saying, ""
            if self._ordering.heard(key):
                self._outbox.mark([key])
        self._said = {}

    def lost(self) -> None:
        """Take note that it may not have."""
        self._outbox.lost()
        self._left.lost()
        for key in self._said:
            self._ordering.lost(key)
        self._said = {}

    def again(self) -> None:
        """Say everything again: the other end knows nothing."""
        self._outbox.clear()
        self._left.clear()
        self._said = {}
        for key, place in self._places.items():
            place.heard = ""
            self._ordering.again(key)
        self._outbox.mark(self._places)

    def presence(self) -> bytes:
        """Return when each agent was heard of, as :mod:`popham.upstream.presence` has it.

        One whose promise is another by now is said anew, since its byte counts in what was said.
        """
        now, find = self._clock.now(), self._find
        text = bytearray([UNKNOWN]) * self._next
        for key, place in self._places.items():
            record = find(key)
            if record is None or record.last_contact is None:
                continue
            age = now - record.last_contact
            text[place.index] = encode_age(age, place.promise, held=record.is_linked)
            if not place.promise / PROMISE_DRIFT <= record.promise <= place.promise * PROMISE_DRIFT:
                self._outbox.mark([key])
        return bytes(text.rstrip(bytes([UNKNOWN])))

    def _say(self, record: Record, place: _Place, now: float) -> wire.AgentSaid:
        results, offered = self._ordering.say(record)
        # That a stock agent describes itself says above that it began anew.
        fresh = place.heard != record.described or self._ordering.began(record.key)
        describes = record.kind is not AgentKind.STOCK or fresh
        place.saying = record.described if describes else ""
        return wire.AgentSaid(
            key=record.key,
            index=place.index,
            via=[uuid.UUID(uid).bytes for uid in record.via],
            message=full_message(record, results, describes=describes).SerializeToString(),
            address=record.address,
            age=max(0.0, now - record.last_contact) if record.last_contact is not None else 0.0,
            promise=place.promise,
            held=record.is_linked,
            token=self._token_of(record.key) if record.kind is AgentKind.STOCK else "",
            offered=offered,
            unvisited=self._unvisited(record),
        )


def full_message(record: Record, results: Iterable[bytes] = (), *, describes: bool = True) -> AgentToServer:
    """Return the message by which an agent would say all that is known of it.

    Args:
        record: The agent.
        results: Of operations, which are to be said beside it.
        describes: Whether its description is in it.

    Of an agent that has a key nothing is believed above but what that has signed, so nothing else is said of it.
    """
    message = AgentToServer(instance_uid=record.key)
    if not record.public_key:
        _say_unsigned(record, message, describes=describes)
    state = record.state
    if state is not None or results:
        report = wire.Report(
            generation=state.generation if state is not None else 0, state=record.envelope, results=results
        )
        message.custom_message.CopyFrom(custom(report))
    return message


def _say_unsigned(record: Record, message: AgentToServer, *, describes: bool) -> None:
    """Say what a stock agent said of itself."""
    message.capabilities = record.ear.capabilities
    message.sequence_num = max(0, record.ear.sequence)
    if record.ear.custom is not None:
        message.custom_capabilities.CopyFrom(CustomCapabilities(capabilities=sorted(record.ear.custom)))
    if record.ear.described and describes:
        message.agent_description.CopyFrom(_described(record))
    if record.remote != _NO_REMOTE:
        said = record.remote
        message.remote_config_status.CopyFrom(
            RemoteConfigStatus(
                last_remote_config_hash=said.digest,
                status=_STATUSES[said.status] if said.status < len(_STATUSES) else _STATUSES[0],
                error_message=said.error,
            )
        )


def _described(record: Record) -> AgentDescription:
    """Return the description as it is kept: as texts, of which no order is known."""
    pairs = [KeyValue(key=key, value=AnyValue(string_value=text)) for key, text in record.description.items()]
    return AgentDescription(identifying_attributes=pairs)
