"""Whose key it is: from the digest of a public key to its agent.

Asked only where an answer was signed by another agent than was meant; so the table is made at the first question,
of numbers rather than texts, and kept up to date from then on.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from popham.upstream.record import Record

_PART = 8
"""Bytes of a digest that serve as its number; the whole of it is compared afterwards."""


class KeyNames:
    """The table; empty until it is first needed."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._held: dict[int, Record] | None = None

    def add(self, record: Record) -> None:
        """Take note of an agent that is new, or has another key."""
        if self._held is not None and record.public_key:
            self._held[_number(sha256(record.public_key).digest())] = record

    def find(self, keyid: str, records: Iterable[Record]) -> Record | None:
        """Return the agent whose public key (DER) has this SHA-256 in hexadecimal; None if there is none.

        Args:
            keyid: Said by somebody, and not proven.
            records: All agents.
        """
        if self._held is None:
            self._held = {}
            for record in records:
                self.add(record)
        try:
            wanted = bytes.fromhex(keyid)
        except ValueError:
            return None
        found = self._held.get(_number(wanted))
        return found if found is not None and sha256(found.public_key).digest() == wanted else None


def _number(digest: bytes) -> int:
    return int.from_bytes(digest[:_PART], "big")
