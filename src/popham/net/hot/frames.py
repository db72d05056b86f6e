"""WebSocket frames of a peer that dialled us, without I/O.

Source: RFC 6455, sections 5 and 7.4.  Extensions are never negotiated, so
reserved bits are faults.

Rules:

1. A length over the limit is refused from the frame's head, before any of it is kept.
2. A fault names the close code; after one, nothing more is read.
3. Work and memory follow the bytes that came, in however small pieces they come.
4. Whoever reads says how many frames it takes at most, so that a flood of tiny ones shares the loop.
"""

from __future__ import annotations

import sys

from websockets.speedups import apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_KNOWN = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_CONTROL = 0x8
FRAGMENTS = 1024
"""Frames one message may have; an endless row of empty ones is a fault."""
_PRIVATE = range(3000, 5000)
_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})


class FrameError(Exception):
    """The peer broke the framing.

    Attributes:
        code: WebSocket close code to answer with.
    """

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        super().__init__(reason)


class FrameReader:
    """Turns bytes into messages and control frames.

    Attributes:
        left: Frames that :meth:`next` may still take; at 0 it returns None, whatever is there.
    """

    __slots__ = ("_at", "_buffer", "_limit", "_opcode", "_parts", "_size", "left")

    def __init__(self, limit: int) -> None:
        """Refuse messages over ``limit`` bytes."""
        self._limit = limit
        self.left = sys.maxsize
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._opcode = 0
        self._parts: list[bytes] | None = None
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take bytes; :meth:`next` says what is whole."""
        if not self._buffer:
            self._buffer = data
            return
        if isinstance(self._buffer, bytearray):
            del self._buffer[: self._at]
        else:
            self._buffer = bytearray(self._buffer[self._at :])
        self._at = 0
        self._buffer += data

    def next(self) -> tuple[int, bytes] | None:
        """Return (opcode, payload) of the next message or control frame; None until one is whole, or at 0 left.

        Raises:
            FrameError: A frame is not allowed, or too large.
        """
        data, end = self._buffer, len(self._buffer)
        while self.left and end - self._at >= 2:
            head = self._head(data, self._at, end)
            if head is None:
                break
            opcode, final, start, length = head
            if end - start < length:
                break
            self.left -= 1
            payload = b""
            if length:
                payload = apply_mask(data[start : start + length], data[start - 4 : start])
            self._at = start + length
            if self._at == end:
                self._buffer, self._at = b"", 0
                data, end = b"", 0
            if opcode >= _CONTROL:
                if opcode == CLOSE:
                    check_close(payload)
                return opcode, payload
            if final and opcode and self._parts is None:
                return opcode, payload
            whole = self._fragment(opcode, payload, final=final)
            if whole is not None:
                return whole
        return None

    def _head(self, data: bytes | bytearray, at: int, end: int) -> tuple[int, bool, int, int] | None:
        """Return opcode, final, where the payload begins and its length; None if more is needed."""
        first, second = data[at], data[at + 1]
        opcode, length, start = first & 0x0F, second & 0x7F, at + 6
        if first & 0x70:
            raise FrameError(1002, "reserved bits are set")
        if opcode not in _KNOWN:
            raise FrameError(1002, f"opcode {opcode} is not defined")
        if not second & 0x80:
            raise FrameError(1002, "a frame is not masked")
        if opcode >= _CONTROL and (length > 125 or not first & 0x80):
            raise FrameError(1002, "a control frame is too long or fragmented")
        if length >= 126:
            size = 2 if length == 126 else 8
            if end - at < 2 + size:
                return None
            length, start = _extended(data[at + 2 : at + 2 + size]), at + 6 + size
        if opcode < _CONTROL and length + self._size > self._limit:
            raise FrameError(1009, "message over the limit")
        return opcode, bool(first & 0x80), start, length

    def _fragment(self, opcode: int, payload: bytes, *, final: bool) -> tuple[int, bytes] | None:
        if opcode:
            if self._parts is not None:
                raise FrameError(1002, "a message begins inside another")
            self._opcode, self._parts = opcode, []
        if self._parts is None:
            raise FrameError(1002, "a continuation continues nothing")
        if len(self._parts) >= FRAGMENTS:
            raise FrameError(1009, "a message has too many fragments")
        self._parts.append(payload)
        self._size += len(payload)
        if not final:
            return None
        whole = self._opcode, b"".join(self._parts)
        self._parts, self._size = None, 0
        return whole


def _extended(data: bytes | bytearray) -> int:
    """Return a length of 2 or 8 bytes; it must need them."""
    length = int.from_bytes(data, "big")
    if length < (126 if len(data) == 2 else 65_536) or length >> 63:
        raise FrameError(1002, "a length is not in its shortest form")
    return length


def check_close(payload: bytes) -> None:
    """Return if the payload of a close frame is one.

    Raises:
        FrameError: 1002 for its form or code, 1007 for a reason that is not UTF-8.
    """
    if not payload:
        return
    if len(payload) < 2:
        raise FrameError(1002, "a close code has one byte")
    code = int.from_bytes(payload[:2], "big")
    if code not in _CODES and code not in _PRIVATE:
        raise FrameError(1002, f"close code {code} may not be sent")
    try:
        payload[2:].decode()
    except UnicodeDecodeError as error:
        raise FrameError(1007, "a close reason is not UTF-8") from error
