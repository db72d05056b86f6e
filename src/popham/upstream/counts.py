"""How many messages an upstream has seen, by direction and transport, and what of operations was in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Messages since the start; plain numbers, because they rise on the hot path.

    Attributes:
        rounds: That came by HTTP; each is answered.
        heard: That came over held links; each is answered.
        told: That were sent over held links without a question.
        operations: Documents of operations in them, and commands to stock agents.
        results: Results of operations in them.
        outputs: Outputs of operations that were taken.
    """

    rounds: int = 0
    heard: int = 0
    told: int = 0
    operations: int = 0
    results: int = 0
    outputs: int = 0

    def by_way(self) -> Mapping[tuple[str, str], int]:
        """Return (direction, transport) → messages."""
        return {
            ("up", "http"): self.rounds,
            ("down", "http"): self.rounds,
            ("up", "websocket"): self.heard,
            ("down", "websocket"): self.heard + self.told,
        }
