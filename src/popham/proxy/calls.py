"""What a proxy asks the other end of its uplink while somebody waits: each question is asked until it was answered.

Rules:

1. A call is asked again in each message until the other end has heard it, and anew after a new boot of that end, which
   knows it by its number.
2. Every call ends: by its answer, or when its time is over.  Nobody waits for a task: an answer is handed to callables.
3. How many wait, and how many bytes they have, is bounded; there is no room for one more then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from popham.clock import Clock
from popham.errors import (
    ContentError,
    EnrollmentError,
    GrantError,
    LinkError,
    NotFoundError,
    OperationError,
    PophamError,
    StateError,
    StreamError,
    TrustError,
    WireError,
)
from popham.net.seam import Refusal, Refused
from popham.opamp.relay import Outbox
from popham.opamp.schema.popham.v1 import popham_pb2 as wire

CALLS_MAX: Final = 1024
"""Calls that wait at once."""
BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of the bodies of all that wait."""
PATIENCE: Final = 10.0
"""Seconds that somebody waits for an answer. Source: the agents' own patience with a round is thrice that."""
_FAMILIES: Final[dict[str, type[PophamError]]] = {
    family.area: family
    for family in (
        *(ContentError, EnrollmentError, GrantError, LinkError, NotFoundError),
        *(OperationError, StateError, StreamError, TrustError, WireError),
    )
}
Done = Callable[[bytes | Exception], None]
"""Told the answer of a call, or why there is none: a PophamError, or Refused."""


@dataclass(slots=True, eq=False)
class _Waiting:
    call: wire.RelayCall
    until: float
    done: list[Done] = field(default_factory=list)


class Calls:
    """The calls of one proxy that were not answered yet.

    Attributes:
        on_news: Told that there is something to ask. Must not wait.
    """

    def __init__(self, clock: Clock) -> None:
        """Have nothing to ask."""
        self._clock = clock
        self._number = 0
        self._bytes = 0
        self._waiting: dict[int, _Waiting] = {}
        self._outbox: Outbox[int] = Outbox()
        self.on_news: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        """Return how many wait for an answer."""
        return len(self._waiting)

    @property
    def waits(self) -> bool:
        """Whether something is still to be asked."""
        return bool(len(self._outbox))

    def post(
        self,
        kind: str,
        key: bytes,
        body: bytes,
        done: Done,
        *,
        address: str = "",
        via: Sequence[bytes] = (),
        seconds: float = PATIENCE,
    ) -> int:
        """Ask something, and have ``done`` told what came of it; returns the number of the call.

        Args:
            kind: As in RelayCall.
            key: instance_uid of the agent that it is about, 16 bytes; empty for none.
            body: As its kind has it.
            done: Told once, and not before this returns, unless there is no room. Must not wait.
            address: Of the agent, as it is seen here.
            via: Proxies between this one and the agent.
            seconds: After which it is given up.
        """
        self.expire()
        if len(self._waiting) >= CALLS_MAX or self._bytes + len(body) > BYTES_MAX:
            problem = "too much is being asked of the Manager through this proxy"
            done(LinkError("busy", problem, "Nothing: it is tried again", retry_after=PATIENCE))
            return 0
        self._number += 1
        call = wire.RelayCall(id=self._number, kind=kind, key=key, address=address, body=body, via=via)
        self._waiting[call.id] = _Waiting(call, self._clock.monotonic() + seconds, [done])
        self._bytes += len(body)
        self._outbox.mark([call.id])
        self.on_news()
        return call.id

    def join(self, number: int, done: Done) -> bool:
        """Have somebody else told of a call too; False if it is over."""
        entry = self._waiting.get(number)
        if entry is not None:
            entry.done.append(done)
        return entry is not None

    async def call(
        self,
        kind: str,
        key: bytes,
        body: bytes,
        address: str = "",
        seconds: float = PATIENCE,
        *,
        via: Sequence[bytes] = (),
    ) -> bytes:
        """Return the answer to a call.

        Raises:
            LinkError: ``link.timeout``: nothing above answered in time.  ``link.busy``: too many wait.
            PophamError: What the other end refused it by.
            Refused: Likewise.
        """
        answer: asyncio.Future[bytes | Exception] = asyncio.get_running_loop().create_future()
        number = self.post(
            kind,
            key,
            body,
            lambda said: None if answer.done() else answer.set_result(said),
            address=address,
            via=via,
            seconds=seconds,
        )
        try:
            async with asyncio.timeout(seconds):
                return unwrap(await answer)
        except TimeoutError:
            raise silent(seconds) from None
        finally:
            self.abandon(number)

    def abandon(self, number: int) -> None:
        """Ask something no more: nobody waits for it."""
        entry = self._waiting.pop(number, None)
        self._outbox.drop(number)
        if entry is not None:
            self._bytes -= len(entry.call.body)

    def expire(self) -> None:
        """Give up those whose time is over."""
        now = self._clock.monotonic()
        for number in [number for number, entry in self._waiting.items() if entry.until <= now]:
            self._end(number, silent(PATIENCE))

    # The exchange.

    def take(self, room: int) -> list[wire.RelayCall]:
        """Return what is to be asked now, in about ``room`` bytes; a single one may be larger."""
        self.expire()
        found: list[wire.RelayCall] = []
        for number in self._outbox.take(len(self._outbox)):
            entry = self._waiting.get(number)
            if entry is None:
                continue
            if found and entry.call.ByteSize() > room:
                self._outbox.put_back([number])
                continue
            room -= entry.call.ByteSize()
            found.append(entry.call)
        return found

    def reply(self, replies: Iterable[wire.RelayReply]) -> None:
        """Take answers; one to a call that is over is dropped."""
        for reply in replies:
            refusal = _refusal(reply)
            self._end(reply.id, reply.body if refusal is None else refusal)

    def heard(self) -> None:
        """Take note that what was asked has arrived."""
        self._outbox.heard()

    def lost(self) -> None:
        """Take note that it may not have."""
        self._outbox.lost()

    def again(self) -> None:
        """Ask everything again: the other end knows nothing."""
        self._outbox.clear()
        self._outbox.mark(self._waiting)

    def _end(self, number: int, said: bytes | Exception) -> None:
        entry = self._waiting.get(number)
        if entry is None:
            return
        self.abandon(number)
        for done in entry.done:
            done(said)


def unwrap(said: bytes | Exception) -> bytes:
    """Return the answer of a call, or raise why there is none."""
    if isinstance(said, Exception):
        raise said
    return said


def silent(seconds: float) -> LinkError:
    """Return the error of a call that was not answered."""
    problem = f"nothing above this proxy answered within {seconds:g} s"
    return LinkError("timeout", problem, "Look at the proxy's link to its Manager", retry_after=seconds)


def _refusal(reply: wire.RelayReply) -> PophamError | Refused | None:
    """Return why a call was refused; None if it was not."""
    if not reply.code and not reply.status:
        return None
    area, _, reason = reply.code.partition(".")
    family, wait = _FAMILIES.get(area), reply.retry_after or None
    if family is None or not reason:
        return Refused(
            Refusal(status=reply.status or 403, retry_after=wait, body=reply.problem or reply.code)
        )
    error = family(reason, reply.problem, reply.hint)
    if isinstance(error, LinkError):
        error.retry_after, error.status = wait, reply.status
    return error
