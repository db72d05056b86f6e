"""Heads of rounds that llhttp has read before, so that the same bytes are not read again.

Most agents of a fleet send the same head but for their uid, on a new connection each time.

Rules:

1. Only a whole request is looked up: one head and its body, nothing behind.
2. A head counts as known if every byte is the same, or all but a uid that is a
   UUID in its usual form, which can end no line; so llhttp would find the same again.
3. What a head says is believed no more than before: its sender is admitted anew each time.
4. How many are kept is bounded, and how long each may be; only heads of those who were admitted are.
"""

from __future__ import annotations

import re
import uuid

from popham.net.hot.head import Round

KEPT = 256
"""Heads; the oldest goes first."""
LONGEST = 2048
"""Bytes of a head that is kept."""
_END = b"\r\n\r\n"
_NAMES = (b"\r\nOpAMP-Instance-UID: ", b"\r\nOpamp-Instance-Uid: ")
"""As the standard writes it, and as Go does."""
_UID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\r\n", re.IGNORECASE)
_SIZE = 36

Key = bytes | tuple[bytes, bytes]
"""A head, or what stands before and behind the uid in it."""


class Heads:
    """Known heads of one listener."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[Key, Round] = {}

    def __len__(self) -> int:
        """Return how many are known."""
        return len(self._known)

    def find(self, data: bytes) -> Round | None:
        """Return what the request ``data`` asks, if its head is known; None if llhttp has to read it."""
        size = data.find(_END) + len(_END)
        if not len(_END) <= size <= LONGEST:
            return None
        head = data[:size]
        key, uid = _split(head)
        known = self._known.get(key)
        if known is None or known.length != len(data) - size:
            return None
        return known.again(head, uuid.UUID(uid.decode()).bytes) if uid else known

    def keep(self, known: Round) -> None:
        """Keep a round's head, if it is one that others may send too."""
        if not 0 < len(known.raw) <= LONGEST:
            return
        key, uid = _split(known.raw)
        if bool(uid) != bool(known.uid) or key in self._known:
            return
        if len(self._known) >= KEPT:
            del self._known[next(iter(self._known))]
        self._known[key] = known


def _split(head: bytes) -> tuple[Key, bytes]:
    """Return what a head is known by, and the uid in it; empty if there is none, or in no usual form."""
    for name in _NAMES:
        at = head.find(name)
        if at >= 0:
            at += len(name)
            if _UID.match(head, at):
                return (head[:at], head[at + _SIZE :]), head[at : at + _SIZE]
            break
    return head, b""
