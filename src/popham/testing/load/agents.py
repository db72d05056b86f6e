"""One lean agent on one socket: a held link, or rounds one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, cast

from popham.errors import PophamError
from popham.opamp.codec import parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import ServerToAgent
from popham.opamp.schema.popham.v1.popham_pb2 import Directive
from popham.opamp.wire import REPORT_FULL_STATE, SESSION
from popham.testing.load.messages import Speech, frame, request, upgrade

_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10


class Watcher(Protocol):
    """Who is told what happens to an agent."""

    def opened(self, agent: HeldAgent, took: float) -> None:
        """Take note of a held link whose first message was answered after ``took`` seconds."""
        ...

    def received(self, agent: HeldAgent, data: bytes) -> None:
        """Take a message that has to be read; :meth:`HeldAgent.hear` reads it, now or a little later."""
        ...

    def told(self, agent: HeldAgent, at: float, *, offer: bool) -> None:
        """Take note that something was offered, or a round asked for, in a message that came at ``at``."""
        ...

    def applied(self, agent: HeldAgent) -> None:
        """Take note that the report of what was offered was answered, so that it is durable."""
        ...

    def answered(self, took: float) -> None:
        """Take note of a heartbeat that was answered after ``took`` seconds."""
        ...

    def ended(self, agent: HeldAgent, why: str, wait: float | None) -> None:
        """Take note of the end of a link, and of the wait that the other end asked for."""
        ...


class HeldAgent(asyncio.Protocol):
    """An agent in push mode.

    Messages are handed to the watcher as they come, and read when it says so:
    thousands of agents share a machine here that real ones have for themselves.

    Attributes:
        speech: What it says.
        unread: Messages that the watcher has and that were not read yet.
        window: Seconds from which the upstream wants a first retry drawn; 0 if it never said.
    """

    __slots__ = (
        "_asked",
        "_buffer",
        "_greeted",
        "_held",
        "_host",
        "_reported",
        "_since",
        "_transport",
        "_wait",
        "_watcher",
        "_why",
        "speech",
        "unread",
        "window",
    )

    def __init__(self, speech: Speech, host: str, watcher: Watcher) -> None:
        """Speak once there is a socket."""
        self.speech = speech
        self.window = 0.0
        self.unread = 0
        self._host = host
        self._watcher = watcher
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._held = self._greeted = self._reported = False
        self._asked = self._since = 0.0
        self._why = "lost"
        self._wait: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a held link."""
        self._transport = cast("asyncio.Transport", transport)
        self._asked = self._since = time.monotonic()
        self._held = self._greeted = self._reported = False
        self._buffer = b""
        self._why, self._wait = "lost", None
        self._transport.write(upgrade(self._host, self.speech.identity.bearer))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Say why it ended."""
        self._transport = None
        self._buffer = b""
        self._watcher.ended(self, self._why, self._wait)

    def heartbeat(self) -> None:
        """Say that nothing is new."""
        if self._transport is not None and self._held:
            self._asked = time.monotonic()
            self._say(self.speech.heartbeat())

    def close(self) -> None:
        """Leave without a word, as a machine that is switched off."""
        if self._transport is not None:
            self._why = "closed here"
            self._transport.abort()

    def _say(self, message: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frame(_BINARY, b"\0" + message))

    def data_received(self, data: bytes) -> None:
        """Take the answer to the upgrade, then frames."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        if not self._held:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                self._refused(data[: end + 4])
                return
            data = data[end + 4 :]
            self._held = True
            self._say(self.speech.hello())
        at = 0
        while (found := _frame(data, at)) is not None:
            opcode, start, at = found
            self._take(opcode, data[start:at])
        self._buffer = data[at:]

    def _refused(self, head: bytes) -> None:
        self._why = f"status {head[9:12].decode('latin-1')}"
        said = head.lower().partition(b"\r\nretry-after:")[2].partition(b"\r")[0].strip()
        self._wait = float(said) if said.isdigit() else None
        self.abort()

    def abort(self) -> None:
        """End the socket."""
        if self._transport is not None:
            self._transport.abort()

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING and self._transport is not None:
            self._transport.write(frame(_PONG, payload))
        elif opcode == _CLOSE and self._transport is not None:
            reason = payload[2:].decode(errors="replace")
            self._why = f"closed {int.from_bytes(payload[:2], 'big')} {reason.partition('=')[0]}".strip()
            if reason.startswith("retry-after="):
                self._wait = float(reason.partition("=")[2])
            self._transport.write(frame(_CLOSE, payload[:2]))
            self._transport.close()
        elif opcode == _BINARY:
            if self._greeted and not self.unread and len(payload) <= _QUIET:
                self._answered()
            else:
                self._watcher.received(self, payload)

    def hear(self, payload: bytes, at: float) -> None:
        """Read a message that came at ``at``, obey it, and say so."""
        if self._transport is None or at < self._since:
            return  # it belongs to a link that is gone
        if self._greeted and len(payload) <= _QUIET:
            self._answered()
            return
        try:
            answer = parse_upstream(payload[1:])
            reply = self._obey(answer)
        except PophamError as error:
            self._why = error.code
            self.abort()
            return
        if answer.HasField("error_response"):
            self._why = answer.error_response.error_message[:80]
            self.abort()
            return
        if not self._greeted:
            self._greeted = True
            self._watcher.opened(self, at - self._asked)
        elif not reply:
            self._answered()
        else:
            self._watcher.told(self, at, offer=answer.HasField("remote_config"))
        if reply:
            self._reported = True
            self._say(reply)

    def _obey(self, answer: ServerToAgent) -> bytes:
        """Return what is said to an answer; empty if nothing is."""
        directive = _NO_DIRECTIVE
        if answer.custom_message.capability == SESSION:
            directive = Directive.FromString(answer.custom_message.data)
            self.window = directive.retry_window_seconds
            self.speech.nonce = directive.nonce.hex() or self.speech.nonce
        if reply := self.speech.obey(answer):
            return reply
        if directive.want_state:
            return self.speech.sign_anew()
        asked = directive.check_in or bool(answer.flags & REPORT_FULL_STATE)
        return self.speech.hello() if asked else b""

    def _answered(self) -> None:
        if self._reported:
            # Whoever is upstream answers a report once it is durable.
            self._reported = False
            self._watcher.applied(self)
        elif self._asked:
            self._watcher.answered(time.monotonic() - self._asked)
            self._asked = 0.0


class RoundAgent(asyncio.Protocol):
    """An agent in pull mode: asks, is answered, and asks again as long as ``again`` says so."""

    __slots__ = ("_again", "_asked", "_buffer", "_done", "_host", "_open", "_speech", "_transport")

    def __init__(
        self, speech: Speech, host: str, done: Callable[[str, float, bool], None], again: Callable[[], bool]
    ) -> None:
        """Speak once there is a socket.

        Args:
            speech: What it says.
            host: For the Host header.
            done: Told the status, or why there is none, seconds, and whether it was the last.
            again: Whether to ask once more on this connection.
        """
        self._speech = speech
        self._host = host
        self._done = done
        self._again = again
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._asked = 0.0
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def _ask(self) -> None:
        if self._transport is not None:
            self._open = True
            self._asked = time.monotonic()
            speech = self._speech
            body = speech.heartbeat() if speech.number else speech.hello()
            self._transport.write(request(body, self._host, speech.identity.bearer))

    def data_received(self, data: bytes) -> None:
        """Take an answer, whole or in parts."""
        if self._buffer:
            data = self._buffer + data
        head = data.find(b"\r\n\r\n")
        if head < 0 or len(data) < head + 4 + _length(data, head):
            self._buffer = data
            return
        self._buffer = b""
        status = data[9:12].decode("latin-1")
        keeps = status == "200" and data.find(b"Connection: close", 0, head) < 0
        # Asked once: an answer that changed between two questions would leave nobody to end this.
        more = keeps and self._again()
        self._end(status, last=not more)
        if more:
            self._ask()
        elif self._transport is not None:
            self._transport.close()

    def _end(self, what: str, *, last: bool) -> None:
        if self._open:
            self._open = False
            self._done(what, time.monotonic() - self._asked, last)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Say so, if an answer is missing."""
        self._transport = None
        self._end("lost", last=True)


_NO_DIRECTIVE = Directive()
_QUIET = 22
"""Bytes of a message with nothing but its header, instance_uid and capabilities."""


def _length(data: bytes, head: int) -> int:
    """Return what Content-Length says; 0 if it is absent."""
    at = data.find(b"ontent-Length:", 0, head)
    if at < 0:
        at = data.find(b"ontent-length:", 0, head)
    return int(data[at + 14 : data.find(b"\r\n", at)]) if at >= 0 else 0


def _frame(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Return opcode, and where the payload of the frame at ``at`` begins and ends; None until it is whole."""
    left = len(data) - at
    if left < 2:
        return None
    opcode, size, start = data[at] & 0x0F, data[at + 1] & 0x7F, at + 2
    if size >= 126:
        wide = 2 if size == 126 else 8
        if left < 2 + wide:
            return None
        size, start = int.from_bytes(data[start : start + wide], "big"), start + wide
    return (opcode, start, start + size) if len(data) - start >= size else None
