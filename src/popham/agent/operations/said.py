"""Results of operations as they are said: sealed by the agent's key, and said again until they are heard."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from popham.agent.operations.ledger import Entry
from popham.agent.state import AgentState
from popham.model.operation import DOCUMENTS, Result
from popham.trust.operation import seal_result

ROOM: Final = 3 * 1024
"""Bytes of the results of one report, which has to fit into 8 KiB."""


class Said:
    """Seals results; each once, since what is signed anew would be news.

    Attributes:
        left_out: Whether the last report had no room for all that was to be said.
    """

    def __init__(self, state: AgentState) -> None:
        """Seal by the key that ``state`` has in use."""
        self._state = state
        self.left_out = False
        self._sealed: dict[str, tuple[int, str, bytes]] = {}

    def seal(self, entries: Iterable[Entry]) -> list[bytes]:
        """Return the results that were not heard, the oldest first: what has room in one report."""
        found: list[bytes] = []
        unheard = [one for one in entries if one.heard < one.revision]
        self._sealed = {one.nonce: self._sealed[one.nonce] for one in unheard if one.nonce in self._sealed}
        room = ROOM
        for entry in unheard[:DOCUMENTS]:
            envelope = self._seal(entry)
            room -= len(envelope)
            if room < 0 and found:
                break
            found.append(envelope)
        self.left_out = len(found) < len(unheard)
        return found

    def _seal(self, entry: Entry) -> bytes:
        key = self._state.identity_key()
        held = self._sealed.get(entry.nonce)
        if held is None or held[:2] != (entry.revision, key.keyid):
            held = self._sealed[entry.nonce] = entry.revision, key.keyid, self._make(entry)
        return held[2]

    def _make(self, entry: Entry) -> bytes:
        result = Result(
            uid=self._state.uid,
            operation=entry.operation,
            nonce=entry.nonce,
            state=entry.state,
            revision=entry.revision,
            code=entry.code,
            text=entry.text,
            began=entry.began,
            ended=entry.ended,
            output=entry.output,
        )
        return seal_result(result, self._state.identity_key())
