"""What is ordered of one agent, as its upstream offers it: operations, and what was heard of them.

Rules:

1. An order is offered in every answer until the agent says that it began, or what came of it: losing one
   costs time, and the agent obeys its nonce once.
2. A result is named as heard only once it is durable; the agent repeats it until then.
3. OpAMP's own command has no answer, so it is said once.
4. An agent of whom nothing is ordered costs nothing here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from popham.model.operation import DOCUMENTS

if TYPE_CHECKING:
    from popham.upstream.record import Record

HEARD = 32
"""Results that one directive names as heard."""
KEPT = 4 * HEARD
"""Results that are to be named, at most: an agent repeats what is not named."""


@dataclass(slots=True)
class Order:
    """One document for one agent.

    Attributes:
        nonce: Its own.
        seal: Makes the signed document, when it is first offered.
        envelope: That, once it was made.
    """

    nonce: str
    seal: Callable[[], bytes]
    envelope: bytes = b""

    def sealed(self) -> bytes:
        """Return the signed document."""
        if not self.envelope:
            self.envelope = self.seal()
        return self.envelope


@dataclass(frozen=True, slots=True)
class Said:
    """What a directive says of operations.

    Attributes:
        operations: Documents.
        heard: ``nonce:revision`` of results that are durable.
        want_outputs: Digests of outputs that are to be brought.
        nonces: Of the documents.
    """

    operations: tuple[bytes, ...] = ()
    heard: tuple[str, ...] = ()
    want_outputs: tuple[str, ...] = ()
    nonces: tuple[str, ...] = ()


@dataclass(slots=True)
class Orders:
    """What is to be said to one agent of operations.

    Attributes:
        open: Nonce → document that is still to be heard of, the oldest first.
        heard: Results that are durable and were not named yet, the newest.
        want_outputs: Outputs that its results name, and that are not here.
        restart: Nonce of an operation that OpAMP's own command says, for a stock agent; empty for none, and once
            it was said.
        followed: Whether ``reported`` is called at each contact, not only where something is new.
        described: Whether it described itself since somebody last looked; a stock agent does that as it starts.
    """

    open: dict[str, Order] = field(default_factory=dict)
    heard: deque[str] = field(default_factory=partial(deque, maxlen=KEPT))
    want_outputs: dict[str, None] = field(default_factory=dict)
    restart: str = ""
    followed: bool = False
    described: bool = False

    @property
    def waiting(self) -> bool:
        """Whether there is something to say to an agent of ours."""
        return bool(self.open or self.heard or self.want_outputs)

    @property
    def empty(self) -> bool:
        """Whether nothing at all is left."""
        return not (self.waiting or self.restart or self.followed)

    def waits(self, *, visited: bool) -> bool:
        """Return whether there is something to say; the outputs of who is visited are fetched, not asked for."""
        return bool(self.open or self.heard or (self.want_outputs and not visited))

    def say(self, room: int, *, visited: bool = False) -> Said:
        """Return what is said now, in at most about ``room`` bytes; what was heard is named once per result."""
        heard = tuple(self.heard.popleft() for _ in range(min(HEARD, len(self.heard))))
        wants = () if visited else tuple(self.want_outputs)[:DOCUMENTS]
        room -= sum(map(len, heard)) + sum(map(len, wants))
        documents, nonces = [], []
        for nonce, order in list(self.open.items())[:DOCUMENTS]:
            envelope = order.sealed()
            if len(envelope) > room:
                break
            room -= len(envelope)
            documents.append(envelope)
            nonces.append(nonce)
        return Said(tuple(documents), heard, wants, tuple(nonces))


class Ordering(Protocol):
    """Whoever keeps operations: the Manager's database, a Proxy Manager's cache."""

    def told(self, record: Record, nonces: Sequence[str]) -> None:
        """Take note that these documents are on their way to an agent."""
        ...

    def hear(self, record: Record, results: Sequence[bytes]) -> Awaitable[None] | None:
        """Take note of results; the awaitable ends once they are durable. None if nothing of it is new.

        Those that are durable already are named as heard once more: the answer that did was lost.

        Raises:
            TrustError: One is not signed by this agent, or too large; then nothing was taken note of.
        """
        ...

    def reported(self, record: Record) -> None:
        """Take note that something changed that an agent said of itself, or that one that is followed was in contact.

        Must not wait.
        """
        ...

    def lacks_outputs(self, record: Record) -> Sequence[str]:
        """Return digests of outputs that this agent's results name, and that are not here."""
        ...

    async def take_output(self, record: Record, sha256: str, body: bytes) -> None:
        """Keep an output that a result of this agent names.

        Raises:
            NotFoundError: ``not_found.output``: none does.
            TrustError: ``trust.blob``: it is not what the result named.
        """
        ...
