"""A listening socket whose connections wait until a handshake may begin.

The loop's own servers accept whatever comes and begin its handshake; under a
storm they do nothing else.  Here a handshake begins only when
:class:`popham.net.hot.admission.LinkRate` has room for one more.

Rules:

1. Who waits costs a descriptor, and address by address has its turn, so that one that dials without end
   keeps nobody else waiting.  When all places are taken, the oldest of an address that has many gives way;
   if none has, the kernel holds who comes, and then leaves its SYN unanswered.
2. Who has given up meanwhile is closed without a handshake.
3. Handshakes that do not end are bounded in number, and for each address; see :mod:`popham.net.hot.strangers`.
4. Who failed too often of late is closed without a handshake, which is what failing costs us most; so is who
   comes from an address that may not.
5. Without a file descriptor left it waits, and never fails.

Source: docs/adr/0015-admission-before-the-handshake.md.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Sequence

from popham.net.hot.admission import LinkRate
from popham.net.hot.head import address_of
from popham.net.hot.strangers import Strangers
from popham.net.peers import Peers
from popham.net.quota import Failures

log = logging.getLogger(__name__)
FULL_PAUSE = 0.5
"""Seconds without accepting, after the process ran out of descriptors or memory."""
SHORTEST_PAUSE = 0.002
"""Seconds: looking more often than this for a token costs more than it brings."""
WAITING = 512
"""Accepted connections that wait for their handshake; of one address half of them."""
CROWD = 64
"""Waiting connections of one address that are many, when all places are taken."""
TAKEN = 16
"""Connections accepted in one turn of the loop: some 0.2 ms."""
_FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_GONE = {7, 8}
"""TCP_CLOSE and TCP_CLOSE_WAIT: the peer has closed. Source: Linux, net/tcp_states.h."""


class Entrance:
    """Accepts at a rate; stands for an :class:`asyncio.Server` of one host.

    Attributes:
        sockets: Those it listens on.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        protocol: Callable[[], asyncio.Protocol],
        *,
        context: ssl.SSLContext,
        rate: LinkRate,
        failures: Failures,
        peers: Peers,
        handshakes: int,
        per_address: int,
        handshake_time: float,
        goodbye_time: float,
    ) -> None:
        """Begin to accept.

        Args:
            sockets: Listening, non-blocking; closed at the end.
            protocol: Makes the protocol of one more connection.
            context: TLS.
            rate: How many are let in.
            failures: Who fails too often.
            peers: Which addresses may connect.
            handshakes: How many may be under way at once.
            per_address: How many of them with one address.
            handshake_time: Seconds of one.
            goodbye_time: Seconds of the end of a TLS connection.
        """
        self.sockets = tuple(sockets)
        self._protocol = protocol
        self._context = context
        self._rate = rate
        self._failures = failures
        self._peers = peers
        self._times = {"ssl_handshake_timeout": handshake_time, "ssl_shutdown_timeout": goodbye_time}
        self._loop = asyncio.get_running_loop()
        self._handshakes: Strangers[asyncio.Future[object], asyncio.Future[object]] = Strangers(
            handshakes, per_address
        )
        self._addresses: dict[asyncio.Future[object], str] = {}
        self._line: Strangers[socket.socket, tuple[socket.socket, str]] = Strangers(WAITING, WAITING // 2)
        self._paused: asyncio.TimerHandle | None = None
        self._next: asyncio.TimerHandle | None = None
        self._closed = False
        self._resume()

    @property
    def handshakes(self) -> int:
        """Return how many handshakes are under way."""
        return len(self._handshakes)

    def close(self) -> None:
        """Accept no more; whoever waits in the kernel is refused by it."""
        if self._closed:
            return
        self._closed = True
        self._pause()
        if self._next is not None:
            self._next.cancel()
        for listening in self.sockets:
            listening.close()
        while (waiting := self._line.drop()) is not None:
            waiting[0].close()

    async def wait_closed(self) -> None:
        """End the handshakes that are under way."""
        pending = list(self._addresses)
        for handshake in pending:
            handshake.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def _pause(self, seconds: float = 0.0) -> None:
        """Accept nothing, for so long; 0 for ever."""
        for listening in self.sockets:
            self._loop.remove_reader(listening)
        if self._paused is not None:
            self._paused.cancel()
        self._paused = self._loop.call_later(seconds, self._resume) if seconds else None

    def _resume(self) -> None:
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
        if not self._closed:
            for listening in self.sockets:
                self._loop.add_reader(listening, self._look, listening)

    def _look(self, listening: socket.socket) -> None:
        """Take some in; the loop looks again as long as somebody waits and there is room."""
        if self._paused is not None or self._closed:
            return
        for _ in range(TAKEN):
            if self._is_full() or not self._take_in(listening):
                break
        self._serve()
        if self._is_full():
            self._pause()

    def _is_full(self) -> bool:
        return len(self._line) >= WAITING and self._line.most <= CROWD

    def _take_in(self, listening: socket.socket) -> bool:
        """Accept one and put it into the line; False if there is none."""
        try:
            accepted, name = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            if error.errno not in _FULL:
                raise
            log.warning("No more connections are accepted for now: %s", error.strerror)
            self._pause(FULL_PAUSE)
            return False
        address, now = address_of(name), self._loop.time()
        if not self._peers.admits(address, now) or self._failures.blocks(address, now):
            accepted.close()
            return True
        accepted.settimeout(0.0)
        too_many = self._line.add(accepted, (accepted, address), address)
        if too_many is not None:
            too_many[0].close()
        return True

    def _serve(self) -> None:
        """Begin as many handshakes as there are tokens for; then go on when there is the next."""
        if self._next is not None:
            return
        while len(self._line):
            wait = self._rate.take()
            if wait:
                self._next = self._loop.call_later(max(wait, SHORTEST_PAUSE), self._serve_on)
                break
            waiting = self._line.take_turn()
            if waiting is None or _has_left(waiting[0]):
                self._rate.put_back()
                if waiting is not None:
                    waiting[0].close()
            else:
                self._begin(*waiting)

    def _serve_on(self) -> None:
        self._next = None
        if self._closed:
            return
        full = self._is_full()
        self._serve()
        if full and not self._is_full() and self._paused is None:
            self._resume()

    def _begin(self, accepted: socket.socket, address: str) -> None:
        opening = self._loop.connect_accepted_socket(
            self._protocol, accepted, ssl=self._context, **self._times
        )
        handshake: asyncio.Future[object] = asyncio.ensure_future(opening, loop=self._loop)
        self._addresses[handshake] = address
        handshake.add_done_callback(self._ended)
        crowded_out = self._handshakes.add(handshake, handshake, address)
        if crowded_out is not None:
            crowded_out.cancel()

    def _ended(self, handshake: asyncio.Future[object]) -> None:
        """Count a handshake that ended well; one that failed is the peer's matter."""
        self._handshakes.pop(handshake)
        address = self._addresses.pop(handshake)
        if handshake.cancelled():
            return
        error = handshake.exception()
        if error is None:
            self._rate.completed += 1
        elif isinstance(error, OSError):
            if isinstance(error, ssl.SSLError):
                self._failures.note(address, self._loop.time())
            log.debug("a handshake failed: %s", error)
        else:
            log.error("A handshake failed here", exc_info=error)


async def bind(host: str, port: int, *, backlog: int) -> list[socket.socket]:
    """Return sockets that listen on ``host``, all on one port; port 0 takes a free one.

    Raises:
        OSError: An address cannot be used.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            made = socket.socket(family, kind, protocol)
            bound.append(made)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((address[0], port, *address[2:]))
            made.listen(backlog)
            made.settimeout(0.0)
            port = made.getsockname()[1]
    except OSError:
        for made in bound:
            made.close()
        raise
    return bound


def _has_left(accepted: socket.socket) -> bool:
    """Return whether the peer has closed already; False where the system does not say."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return False
    try:
        return accepted.getsockopt(socket.IPPROTO_TCP, option, 1)[0] in _GONE
    except OSError:
        return False
