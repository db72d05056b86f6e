"""Outputs of operations: brought by agents that dial, fetched from those that are visited.

Only those that a result of the agent names are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from popham.errors import NotFoundError, WireError
from popham.model.operation import OUTPUT_LIMIT
from popham.upstream.counts import Counts
from popham.upstream.orders import Ordering
from popham.upstream.record import Record

OUTPUTS_PATH = "/v1/outputs/"


class Outputs:
    """Hands outputs on to whoever keeps operations."""

    def __init__(self, ordering: Ordering | None, counts: Counts) -> None:
        """Hand on to ``ordering``; None if nothing is ordered here."""
        self._ordering = ordering
        self._counts = counts

    def lacks(self, record: Record) -> Sequence[str]:
        """Return the digests of outputs of this agent that are to be had, and are not here."""
        return () if self._ordering is None else self._ordering.lacks_outputs(record)

    async def take(self, record: Record, sha256: str, body: bytes) -> None:
        """Keep an output of this agent.

        Raises:
            WireError: ``wire.too_large``: it is over the limit.
            NotFoundError: ``not_found.output``: no result of this agent names it.
            TrustError: ``trust.blob``: it is not what the result named.
        """
        if len(body) > OUTPUT_LIMIT:
            raise WireError("too_large", f"An output has at most {OUTPUT_LIMIT} bytes")
        if self._ordering is None:
            raise no_output()
        await self._ordering.take_output(record, sha256, body)
        self._counts.outputs += 1


@dataclass(frozen=True, slots=True)
class AgentOutputs:
    """Those of one agent.

    Attributes:
        outputs: Hands them on.
        record: The agent.
        taken: Digests of what was taken.
    """

    outputs: Outputs
    record: Record
    taken: set[str] = field(default_factory=set)

    def lacks(self) -> Sequence[str]:
        """Return digests, as :meth:`Outputs.lacks`."""
        return self.outputs.lacks(self.record)

    async def take(self, sha256: str, body: bytes) -> None:
        """Keep one, as :meth:`Outputs.take`."""
        await self.outputs.take(self.record, sha256, body)
        self.taken.add(sha256)


def no_output() -> NotFoundError:
    """Return the error for an output that nobody asked for."""
    problem = "no result of this agent names such an output"
    return NotFoundError("output", problem, "Wait until it is asked for")
