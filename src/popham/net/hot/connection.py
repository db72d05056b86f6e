"""One accepted socket on the hot path: HTTP/1.1 by llhttp, answered without task or scope.

Rules:

1. Nothing but a head is read before the service admitted its sender.
2. At a message's boundary the request line decides: ``/v1/opamp`` stays here, and what Proxy Managers post to
   ``/v1/relay``; anything else goes, with socket and bytes, to aiohttp, and stays there.
3. A boundary is where llhttp found one; bytes of a body never become a request.
4. A head that comes again, byte for byte but for a uid, is not parsed again; see :mod:`popham.net.hot.heads`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import cast

import httptools

from popham.errors import PophamError
from popham.net.connection import IDLE_TIME
from popham.net.hot.answers import BETWEEN, BODY, HEAD, NO_MEMORY, Answers
from popham.net.hot.door import Door
from popham.net.hot.head import Head, Round, peer_of
from popham.net.hot.link import HotLink
from popham.net.http import explain, too_large, uid_of
from popham.net.listener import ANSWER_TIME
from popham.net.route import OPAMP, PROTOBUF, RELAY
from popham.net.seam import Peer, Refusal

log = logging.getLogger(__name__)

OVERHEAD = 8
"""Bytes of chunk heads per byte of body; more says nothing and is refused."""
_LINES = (f"POST {OPAMP} ".encode(), f"GET {OPAMP} ".encode(), f"POST {RELAY} ".encode())
_LONGEST = max(map(len, _LINES))
_UPGRADE = Refusal(status=426, body="Upgrade to a WebSocket, or POST a round.")
_MALFORMED = Refusal(status=400, body="The request is malformed.")
_OFFER = ("Upgrade: websocket", "Sec-WebSocket-Version: 13")


class HotConnection(Answers, asyncio.Protocol):
    """HTTP on one socket, until it becomes a held link or is handed over.

    A parser and a head are there only while a request is being read.
    """

    __slots__ = ("_body", "_head", "_known", "_parser", "_peer", "_read", "_size", "_sniffed")

    def __init__(self, door: Door) -> None:
        """Wait for a socket."""
        super().__init__(door)
        self._parser: httptools.HttpRequestParser | None = None
        self._head: Head | None = None
        self._known: Round | None = None  # the round being read, or the last one
        self._peer: Peer | None = None
        self._body: bytes | bytearray = b""
        self._size = 0
        self._read = 0
        self._sniffed = b""

    # The socket.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a head."""
        self._transport = cast("asyncio.Transport", transport)
        self._door.entered(self, self._transport)
        self.deadline = self._door.loop.time() + self._door.limits.header_time
        self._door.wheel.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Forget everything."""
        self._leave()
        self._known = self._peer = None

    def eof_received(self) -> bool:
        """Close: the peer asks nothing more."""
        return False

    def expired(self, now: float) -> bool:
        """Give up on a head, a body or a quiet connection that took too long."""
        transport = self._transport
        if transport is None:
            return False
        if self._busy and not self._blocked:
            self.deadline = now + ANSWER_TIME
            return True
        if self._deaf or transport.get_write_buffer_size():
            transport.abort()
            return False
        if self._stage == BETWEEN and not self._sniffed and self not in self._door.fresh:
            self._hang_up(b"")
        else:
            self._refuse(Refusal(status=408, body="The request took too long."))
        return True

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self._deaf:
            return
        if self._busy or self._blocked:
            self._wait_with(data)
            return
        if self._stage == BETWEEN:
            if self._sniffed:
                data, self._sniffed = self._sniffed + data, b""
            known = self._known
            if known is None or len(data) != known.whole or not data.startswith(known.raw):
                known = self._door.heads.find(data)
            if known is not None:
                self._repeat(data, known)
                return
            if not data.startswith(_LINES):
                self._sniff(data)
                return
        self._feed(data)

    def _repeat(self, data: bytes, known: Round) -> None:
        """Take a round whose head was read before: only admission and body are news."""
        door, peer = self._door, self._peer
        if peer is None or known is not self._known:
            peer = self._know_peer(known.bearer, cast("asyncio.Transport", self._transport))
        refusal = door.refusal_of(peer, known)
        if refusal is not None:
            self._refuse(refusal)
            return
        if known is not self._known:
            door.admitted(self, peer, known.uid, held=False)
            self._known = known
        self._read = 0
        self.deadline = door.loop.time() + IDLE_TIME
        body = data[known.whole - known.length :]
        if self._queue:
            self._take(peer, body, known)
        else:
            self._answer(peer, body, known)

    def _sniff(self, data: bytes) -> None:
        """Decide whose request this is, or wait for more of its line."""
        short = data[:_LONGEST]
        if len(short) < _LONGEST and any(line.startswith(short) for line in _LINES):
            if self._read == 0:
                self._read = 1
                self.deadline = self._door.loop.time() + self._door.limits.header_time
                self._door.wheel.hasten(self)
            self._sniffed = data
            return
        self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        """Hand socket and bytes to aiohttp."""
        transport = self._transport
        if transport is None:
            return
        admitted = self not in self._door.fresh
        self._leave()
        other = self._door.hand_over()
        transport.set_protocol(other)
        other.connection_made(transport)
        if admitted and hasattr(other, "admitted"):
            other.admitted()
        other.data_received(data)

    def _leave(self) -> None:
        """Have nothing to do with the socket any more."""
        self._ended = self._deaf = True
        self._door.left(self)
        self._door.wheel.discard(self)
        self._transport = self._parser = self._head = self._queue = None
        self._body = self._sniffed = self._backlog = b""

    # What llhttp finds.

    def _feed(self, data: bytes) -> None:
        """Parse, and do what follows from what was found."""
        parser, begins = self._parser, self._stage == BETWEEN
        if parser is None:
            parser = self._parser = httptools.HttpRequestParser(self)
        self._read += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._deaf and self._head is not None:
                self._leave_http(data, upgrade.args[0], self._head, begins=begins)
            return
        except httptools.HttpParserError as error:
            self._refuse(_refusal_for(error))
            return
        if not self._deaf:
            self._look_around()
            if begins and self._stage == BETWEEN and self._known is not None:
                self._known.remember(data)
                self._door.heads.keep(self._known)

    def _leave_http(self, data: bytes, end: int, head: Head, *, begins: bool) -> None:
        """Go where a head leads that asks for, or offers, another protocol; it ended ``end`` bytes into ``data``.

        A round may offer HTTP/2, as some libraries do unasked.  The parser does not read the body behind
        such a head; aiohttp does.
        """
        if not head.offers:
            self._upgrade(data[end:], head)
        elif (
            begins and data.find(b"\r\n\r\n") + 4 == end and not (self._busy or self._blocked or self._queue)
        ):
            self._pass_on(data)
        else:
            self._refuse(Refusal(status=400, body="An offer of another protocol has to come alone."))

    def _look_around(self) -> None:
        """Bound what comes next, in bytes and in time."""
        if self._stage == BETWEEN:
            self._parser = self._head = None
            self._read = 0
            if not self._blocked:
                self.deadline = self._door.loop.time() + IDLE_TIME
        elif not self._is_excessive() and not self.deadline:
            self._renew()

    def _is_excessive(self) -> bool:
        """Return whether the head, or what stands between the parts of a body, is too much; then refuse it."""
        header = self._door.limits.header
        if self._stage == HEAD and self._read > header:
            self._refuse(self._too_long())
        elif self._stage == BODY and self._read - self._size > header + OVERHEAD * self._size:
            self._refuse(_MALFORMED)
        return self._deaf

    def _too_long(self) -> Refusal:
        return Refusal(status=431, body=f"The head is larger than {self._door.limits.header} bytes.")

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._head = Head()
        self._stage = HEAD
        if not self._blocked:
            self.deadline = 0.0

    def on_url(self, url: bytes) -> None:
        """Take the target, or the next part of it."""
        if self._head is not None:
            self._head.begin(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header; those behind a body mean nothing here."""
        if self._stage == HEAD and self._head is not None:
            self._head.add(name, value)

    def on_headers_complete(self) -> None:
        """Admit, before anything more is read."""
        head, parser = self._head, self._parser
        if self._deaf or head is None or parser is None:
            return
        self._stage, self._read, self._size, self._body = BODY, 0, 0, b""
        if not self._blocked:
            self.deadline = 0.0
        version = parser.get_http_version()
        if head.size > self._door.limits.header:
            self._refuse(self._too_long())
        elif not head.has_sound_frame(version):
            self._refuse(_MALFORMED)
        elif head.foreign:
            # Its bytes cannot be taken back out of the parser; whoever asked asks again.
            self._hang_up(b"")
        elif head.relays and parser.get_method() != b"POST":
            self._hang_up(b"")  # likewise
        elif not (head.is_round or head.relays):
            self._need_upgrade(head, parser)
        elif parser.should_upgrade() and parser.get_method() == b"POST":
            head.offers = True
        elif parser.get_method() != b"POST":
            self._refuse(Refusal(status=405, body="A round is a POST."), "Allow: GET, POST")
        else:
            self._admit(head, keep=version == "1.1" and parser.should_keep_alive())

    def _admit(self, head: Head, *, keep: bool) -> None:
        """Let a round in, or refuse it."""
        transport, limits = cast("asyncio.Transport", self._transport), self._door.limits
        known = Round(head, keep=keep)
        peer, door = self._know_peer(known.bearer, transport), self._door
        refusal = door.refusal_of(peer, known)
        if refusal is None and known.packed is None:
            refusal = Refusal(status=415, body="The content encoding is not known; use gzip or none.")
        if refusal is None and known.length > limits.message:
            refusal = explain(too_large(limits))
        if refusal is not None:
            self._refuse(refusal)
            return
        door.admitted(self, peer, known.uid, held=False)
        self._known = known
        if head.raw(b"expect") == b"100-continue" and not (self._busy or self._queue):
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _need_upgrade(self, head: Head, parser: httptools.HttpRequestParser) -> None:
        """Refuse what is neither a round nor an upgrade."""
        if parser.get_method() != b"GET":
            self._refuse(Refusal(status=415, body=f"A round's content type is {PROTOBUF}."))
        elif not parser.should_upgrade():
            self._refuse(_UPGRADE, *_OFFER)
        elif head.has_body:
            self._refuse(_MALFORMED)

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body, up to the limit."""
        if self._deaf:
            return
        self._size += len(body)
        if self._size > self._door.limits.message:
            self._refuse(explain(too_large(self._door.limits)))
        elif not self._body:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body

    def on_message_complete(self) -> None:
        """Answer, or put the request behind those that wait."""
        if self._deaf:
            return
        self._stage, self._read = BETWEEN, 0
        body, self._body = bytes(self._body), b""
        head = self._head
        if head is not None and (head.is_round or head.relays) and not head.offers:
            self._take(cast("Peer", self._peer), body, cast("Round", self._known))

    # Upgrades.

    def _upgrade(self, rest: bytes, head: Head) -> None:
        """Become a held link, if the request asks for one and may have it."""
        transport = self._transport
        if transport is None:
            return
        if self._busy or self._blocked or self._queue:
            self._refuse(Refusal(status=400, body="An upgrade has to wait for the answers before it."))
            return
        accept = head.accept()
        if not accept:
            self._refuse(_UPGRADE, *_OFFER)
            return
        peer = self._know_peer(head.bearer(), transport)
        uid = uid_of(head)
        refusal = self._door.refusal(peer, held=True, uid=uid)
        if refusal is not None:
            self._refuse(refusal)
            return
        transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Server: Popham\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        door = self._door
        self._leave()
        link = HotLink(door, transport, peer)
        door.open[link] = transport
        door.empty.clear()
        door.admitted(link, peer, uid, held=True)
        transport.set_protocol(link)
        link.serve(rest)

    def _know_peer(self, bearer: str, transport: asyncio.Transport) -> Peer:
        """Return the other end; the same object for the same credentials."""
        if self._peer is None:
            self._peer = peer_of(transport, bearer)
        elif bearer != self._peer.bearer:
            self._peer = Peer(address=self._peer.address, certificate=self._peer.certificate, bearer=bearer)
        return self._peer


def _refusal_for(error: Exception) -> Refusal:
    """Return what a request is answered that llhttp or one of its callbacks did not like."""
    cause = error.__context__
    if isinstance(cause, PophamError):
        return explain(cause)
    if isinstance(error, httptools.HttpParserCallbackError) and cause is not None:
        if isinstance(cause, MemoryError):
            log.error("A request could not be read: this process has no memory left")
            return NO_MEMORY
        log.error("A request could not be read", exc_info=cause)
        return Refusal(status=500, body="This end failed; its log says why.")
    return _MALFORMED
