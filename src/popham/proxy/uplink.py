"""A proxy's end of the exchange with what stands above it; sans I/O: whoever moves bytes asks for the next message.

Rules:

1. What is said is what is so by then, said again until it was heard; what is told is kept before it is heard of.
2. One thing that is malformed, or not believed, is left out and named in the status; the rest of its message holds.
3. Whether the other end dials or is dialled is not known here.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from google.protobuf.message import DecodeError

from popham.clock import Clock
from popham.errors import TrustError, WireError
from popham.model.fleet import Admission
from popham.model.generation import GENERATION, check_relay
from popham.model.names import canonical
from popham.opamp.relay import BYTES_MAX, RELAY_LIMIT, Exchange, News
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.book import ProxyBook
from popham.proxy.calls import PATIENCE
from popham.proxy.ordering import ProxyOrdering
from popham.proxy.saying import Saying
from popham.proxy.seam import Carrying, Downlink
from popham.proxy.told import known
from popham.streams.frame import Stream
from popham.upstream.record import Record

_log = logging.getLogger(__name__)
EVERY: Final = 5.0
"""Seconds between two texts of presence, and two statuses that differ."""
NONCE_MAX: Final = 64
"""Bytes of a nonce."""
_SHUT_OUT: Final = {Admission.REFUSED, Admission.REVOKED}
_CUSTODY: Final = {"hop", "end to end"}
_BODIES_AGAIN: Final = 300.0
"""Seconds after which bodies are asked for again that were not to be had."""


class Uplink:
    """This end of the exchange.

    Attributes:
        news: Set when there is something to say at once.
        nonce: The newest that those above gave; empty before the first.
        orders: What is ordered of this proxy.
        saying: What is said of agents.
        hub: Tells agents below what was told; None while there is none.
        on_places: Told where agents are to be visited, and whether that is all there is. Must not wait.
        on_orders: Told what is ordered of this proxy. Must not wait.
        on_visitor: Told the newest statement that lets this proxy visit. Must not wait.
        on_check_in: Told the uid of an agent that holds no link and is asked for a round. Must not wait.
        on_gone: Told the uid of an agent that is not at this proxy any more. Must not wait.
        on_record: Told a record that was written, and what was told of it. Must not wait.
        on_forgotten: Told the record of such an agent. Must not wait.
        status: Returns what else is said of this proxy: JSON.
    """

    def __init__(
        self,
        book: ProxyBook,
        ordering: ProxyOrdering,
        carrying: Carrying,
        clock: Clock,
        boot: int,
        *,
        unvisited: Callable[[Record], str] = lambda _record: "",
    ) -> None:
        """Wire the parts.

        Args:
            book: What was told.
            ordering: Orders and results.
            carrying: Frames on their way up.
            clock: Times.
            boot: Of this process: 64 bits, not 0.
            unvisited: Returns why an agent cannot be visited from here: code and sentence; empty if it can.
        """
        self._book, self._ordering, self._carrying, self._clock = book, ordering, carrying, clock
        self._boot = boot
        self._exchange = Exchange(boot)
        self._number = 0
        self._unanswered = False
        self._list = True  # what is known is to be said in the next message
        self._listed = False  # it was, in the last one
        self._checking: dict[bytes, None] = {}  # agents that are to be asked for a round
        self._status = b""
        self._said_status = b""
        self._said_held = False  # records waited when the status was said last
        self._presented = self._asked = -float("inf")
        self.saying = Saying(book.find, ordering, clock, token_of=book.token_of, unvisited=unvisited)
        self.news = asyncio.Event()
        self.nonce = b""
        self.orders: dict[str, Any] = {}
        self.hub: Downlink | None = None
        self.on_places: Callable[[Sequence[wire.PlaceTold], bool], None] = lambda _places, _all: None
        self.on_orders: Callable[[Mapping[str, Any]], None] = lambda _orders: None
        self.on_visitor: Callable[[bytes], None] = lambda _envelope: None
        self.on_check_in: Callable[[str], None] = lambda _uid: None
        self.on_gone: Callable[[str], None] = lambda _uid: None
        self.on_record: Callable[[Record, wire.AgentTold], None] = lambda _record, _told: None
        self.on_forgotten: Callable[[Record], None] = lambda _record: None
        self.status: Callable[[], Mapping[str, Any]] = dict
        book.calls.on_news = self.news.set
        book.on_said = ordering.on_said = self.mark
        book.on_contact = self._heard_of
        book.on_told, book.on_gone = self._told, self._gone
        carrying.on_news = self.news.set

    def load(self) -> None:
        """Take what the book had of orders before this start."""
        kept = self._book.kept.get("notes", {}).get("orders", b"")
        if kept:
            self._obey(kept)

    def discard(self) -> None:
        """Have nothing carried of agents that are let in no more: the process may have ended before that was done."""
        for record in self._book.records():
            if record.admission in _SHUT_OUT:
                self._carrying.discard(record.key, str(record.admission))

    @property
    def calling(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(len(self._book.calls))

    async def call(
        self, kind: str, key: bytes, body: bytes, address: str = "", seconds: float = PATIENCE
    ) -> bytes:
        """Return what those above answer; raises as :meth:`popham.proxy.calls.Calls.call`."""
        return await self._book.calls.call(kind, key, body, address, seconds)

    def unvisited_changed(self, record: Record) -> None:
        """Take note that an agent can be visited from here now, or cannot any more."""
        self.mark(record)

    # The exchange.

    def up(self) -> bytes:
        """Return the next RelayUp."""
        if self._unanswered:
            # Nobody will say any more whether the last one arrived.
            self.lost()
        message = wire.RelayUp()
        self._say_all(message)
        room = BYTES_MAX - message.ByteSize()
        if room > 0:
            message.calls.extend(self._book.calls.take(room))
            room -= sum(call.ByteSize() for call in message.calls)
        if room > 0:
            message.agents.extend(self.saying.take(room))
            room -= sum(said.ByteSize() for said in message.agents)
        if room > 0:
            message.streams.extend(self._carrying.next_frames(room))
        head = self._exchange.head(more=bool(message.lacks) or self._waits)
        message.head.CopyFrom(head)
        self._number, self._unanswered = head.number, True
        return message.SerializeToString()

    async def hear(self, down: bytes) -> bool:
        """Take a RelayDown; return whether there is more to exchange at once.

        Raises:
            WireError: It is malformed, or of a generation that cannot relay.
        """
        message = _read(down)
        check_relay(message.head.generation, GENERATION)
        self._unanswered = False
        try:
            self._settle(message.head)
            return self._take(message)
        except BaseException:
            self._exchange.unheard()  # what is in it is said once more
            raise

    def _take(self, message: wire.RelayDown) -> bool:
        """Take note of all that a message says; return whether there is more to exchange at once."""
        self._book.calls.reply(message.replies)
        for stood in message.standings:
            self._stood(stood)
        self._take_kept(message)
        check_ins = [told.key for told in message.agents if self._tell(told)]
        changed = [told.name for told in message.groups if self._tell_group(told)]
        changed += self._book.groups.retry(known)
        for body in message.bodies:
            changed += self._book.groups.bring(body)
        if message.places or message.all_places:
            self.on_places(message.places, message.all_places)
        if self.hub is not None and changed:
            self.hub.changed(dict.fromkeys(changed))
        self._checking.update(dict.fromkeys(check_ins))
        self._check_in()
        waits = self._waits
        if message.bodies or message.groups:
            waits = waits or any(True for _ in self._book.groups.lacks())
        return bool(message.head.more or waits)

    def lost(self) -> None:
        """Take note that what was said last may not have arrived."""
        self._unanswered = False
        self.saying.lost()
        self._book.calls.lost()
        self._carrying.lost()
        self._list = self._list or self._listed
        self._listed = False
        self._said_status, self._presented = b"", -float("inf")

    @property
    def _waits(self) -> bool:
        """Whether there is more to say at once."""
        return self._carrying.waits or self.saying.waits or self._book.calls.waits or self._drained

    @property
    def _drained(self) -> bool:
        """Whether those above were told that records wait, and none does any more."""
        return self._said_held and not self._carrying.held

    def _settle(self, head: wire.RelayHead) -> None:
        """Take note of what of this end's last message has arrived."""
        first = not self._exchange.other
        news = self._exchange.hear(head)
        arrived = head.other == self._boot and head.heard == self._number and self._number > 0
        if news is News.BOOTED and first and arrived:
            # It began with this end's first message, which says everything.
            news = News.HEARD
        if news is News.HEARD:
            self.saying.heard()
            self._book.calls.heard()
            self._listed = False
        elif news is News.LOST:
            self.lost()
        else:
            self.lost()
            self._list = True
            self.saying.again()
            self._book.calls.again()

    def _say_all(self, message: wire.RelayUp) -> None:
        """Say what is not of one agent alone."""
        now = self._clock.monotonic()
        if self._list:
            self._list, self._listed = False, True
            message.groups.extend(self._book.groups.known())
            for one in self._book.known():
                one.stands = self._carrying.knows(one.key)
                message.agents_known.append(one)
        if self._drained or now - self._presented >= EVERY:
            self._presented, self._said_held = now, self._carrying.held > 0
            message.presence = self.saying.presence()
            status = self._describe()
            if status != self._said_status:
                message.status = self._said_status = status
        message.left.extend(self.saying.take_left())
        if now - self._asked >= _BODIES_AGAIN:
            self._asked = now
            self._book.groups.ask_again()
        for sha256, offset in self._book.groups.lacks():
            message.lacks.add(sha256=sha256, offset=offset)

    def _describe(self) -> bytes:
        groups = self._book.groups
        records = list(self._book.records())
        said = {
            "generation": GENERATION,
            "agents": len(records),
            "linked": sum(record.is_linked for record in records),
            "groups": groups.names(),
            "coming": groups.coming,
            "refused": groups.refused,
            "cache": asdict(self._book.view()),
            "spool": self._carrying.depth(),
            "calls": len(self._book.calls),
        }
        return canonical(said | dict(self.status()))

    # What was told.

    def _take_kept(self, message: wire.RelayDown) -> None:
        if message.nonce:
            self.nonce = message.nonce[:NONCE_MAX]
        if message.orders:
            self._obey(message.orders)
            self._book.keep_note("orders", message.orders)
        if message.visitor:
            self.on_visitor(message.visitor)

    def _obey(self, orders: bytes) -> None:
        """Obey what is ordered of this proxy; what of it is not known is left."""
        try:
            found = json.loads(orders)
            said = {str(name): how for name, how in found["custody"].items() if how in _CUSTODY}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _log.warning("what is ordered of this proxy cannot be read: %s", error)
            return
        self.orders = found
        self._carrying.custody = {stream: said[stream] for stream in Stream if stream in said}
        self.on_orders(found)

    def _tell(self, told: wire.AgentTold) -> bool:
        """Take what was told of an agent; return whether it is asked for a round."""
        try:
            return self._book.tell(told)
        except WireError as error:
            _log.warning("what was told of %s is not taken: %s", told.key.hex(), error)
            return False

    def _stood(self, stood: wire.Stood) -> None:
        try:
            self._carrying.stood(stood)
        except WireError as error:
            _log.warning("how far a stream of %s is above is not taken: %s", stood.key.hex(), error)

    def _tell_group(self, told: wire.GroupTold) -> bool:
        try:
            return self._book.groups.tell(told, known(told.name.encode(), told.SerializeToString()))
        except TrustError as error:
            _log.warning("what was told of group %.64r is not taken: %s", told.name, error)
            return False

    def _told(self, record: Record, told: wire.AgentTold, new: bool) -> None:  # the callable's form
        """Have an agent told what was told of it."""
        ordered = self._ordering.note(record, told)
        record.want_state = told.want_state
        self.on_record(record, told)
        if told.say and not new:
            self.saying.mark_again(record)
            self.news.set()
            self._carrying.lost()
        if told.want_bundle:
            self._book.show(record)
        shut_out = record.admission in _SHUT_OUT
        if shut_out:
            self._carrying.discard(record.key, str(record.admission))
        if self.hub is None or new:
            return
        if shut_out:
            self.hub.drop(record.uid, f"this agent is {record.admission} (enrollment.{record.admission})")
            return
        self.hub.tell(record.uid)
        if ordered:
            self.hub.tell_orders([record.uid])

    def _gone(self, record: Record) -> None:
        self._ordering.forget(record.key)
        self.saying.forget(record.key)
        self._carrying.forget(record.key)
        self.on_gone(record.uid)
        self.on_forgotten(record)
        if record.link is not None:
            record.link.close(1012, "this agent is to be managed elsewhere: connect again")

    def _check_in(self) -> None:
        """Ask agents for a round; whose group is to have something else by now, once that is here."""
        groups = self._book.groups
        coming = set(groups.coming) if any(True for _ in groups.lacks()) else set()
        for key in tuple(self._checking):
            record = self._book.find(key)
            if record is not None and record.group in coming:
                continue
            del self._checking[key]
            if record is None:
                continue
            if self.hub is None or not self.hub.check_in(record.uid):
                self.on_check_in(record.uid)

    def _heard_of(self, record: Record) -> None:
        if not self.saying.has(record):
            self.mark(record)

    def mark(self, record: Record) -> None:
        """Have an agent said, as it is by then."""
        self.saying.mark(record)
        self.news.set()

    def left(self, keys: Iterable[bytes]) -> None:
        """Have said that agents are not at this proxy any more, nor below it."""
        found = list(keys)
        if found:
            self.saying.left(found)
            self.news.set()


def _read(down: bytes) -> wire.RelayDown:
    if len(down) > RELAY_LIMIT:
        problem = f"a message of a relay has {len(down)} bytes, and {RELAY_LIMIT} is the limit"
        raise WireError("too_large", problem)
    try:
        return wire.RelayDown.FromString(down)
    except DecodeError as error:
        raise WireError("malformed", f"{len(down)} bytes are no message of a relay") from error
