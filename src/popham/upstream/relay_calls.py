"""Calls of Proxy Managers: answered here, or handed on to what stands above, without anybody waiting for that.

Rules:

1. A call is answered in the exchange that brought it where this upstream can; what has to be asked above is told by a
   later one, and the proxy is woken for it.
2. A call that is being asked above is not asked there twice, however often the proxy says it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError

from popham.errors import LinkError, PophamError
from popham.net.seam import Refused
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.relay_below import Below, digest_told
from popham.upstream.relay_streams import RelayStreams
from popham.upstream.relay_telling import RelayTelling
from popham.upstream.relaying import Desk

RETRY: Final = 30.0
"""Seconds after which a call may be made again that failed here."""
_KEY: Final = 16


class RelayCalls:
    """Answers the calls of the proxies of one upstream."""

    def __init__(
        self, desk: Desk, telling: RelayTelling, streams: RelayStreams, *, news: Callable[[Below], object]
    ) -> None:
        """Keep what is needed.

        Args:
            desk: Answers, or hands on.
            telling: Says what holds of an agent by now.
            streams: Says how far the streams of an agent are that is new.
            news: Told a proxy for which there is an answer that it does not expect in this exchange.
        """
        self._desk, self._telling, self._streams, self._news = desk, telling, streams, news

    async def take(self, below: Below, call: wire.RelayCall) -> None:
        """Answer a call, or have it asked above."""
        if call.id in below.asking or self._hands_on(below, call):
            return
        try:
            said: bytes | Exception = await self._desk.call(below.proxy, call)
        except (PophamError, Refused) as error:
            said = error
        told = self._answer(below, call, said)
        if told is not None:
            await self._streams.tell(below, told)

    async def settle(self, below: Below) -> None:
        """Say how far the streams of those are of whom an answer came from above since the last message."""
        fresh, below.met = below.met, []
        for told in fresh:
            await self._streams.tell(below, told)

    def _hands_on(self, below: Below, call: wire.RelayCall) -> bool:
        boot = below.exchange.other

        def done(said: bytes | Exception) -> None:
            below.asking.discard(call.id)
            if below.exchange.other != boot:
                return  # the numbers of its calls are others by now
            told = self._answer(below, call, said)
            if told is not None:
                below.met.append(told)
            self._news(below)

        below.asking.add(call.id)
        handed = self._desk.hand_on(below.proxy, call, done)
        if not handed:
            below.asking.discard(call.id)
        return handed

    def _answer(self, below: Below, call: wire.RelayCall, said: bytes | Exception) -> wire.AgentTold | None:
        """Have an answer told; return the agent of which it tells, if there is one."""
        reply = below.answered[call.id] = reply_of(call.id, said)
        below.replies.mark([call.id])
        told = agent_in(call.kind, reply)
        if told.group and told.group not in below.groups_of:
            below.mark_groups([told.group])
        if len(told.key) != _KEY or told.gone:
            return None
        # From now on the proxy hears of what changes in it, and has what its group is to have.
        below.known.setdefault(told.key, b"")
        now = self._telling.agent(below, told.key)
        if now is not None and now.HasField("proxy") and not told.HasField("proxy"):
            below.known[told.key] = digest_told(told.SerializeToString())
            below.mark_agents([told.key])
        return told


def reply_of(number: int, said: bytes | Exception) -> wire.RelayReply:
    """Return how an answer travels, or why there is none."""
    if isinstance(said, bytes):
        return wire.RelayReply(id=number, body=said)
    if isinstance(said, Refused):
        refusal = said.refusal
        wait = refusal.retry_after or 0.0
        return wire.RelayReply(id=number, problem=refusal.body, status=refusal.status, retry_after=wait)
    if not isinstance(said, PophamError):
        raise said
    wait = RETRY if said.retryable else 0.0
    if isinstance(said, LinkError) and said.retry_after is not None:
        wait = said.retry_after
    return wire.RelayReply(id=number, code=said.code, problem=said.problem, hint=said.hint, retry_after=wait)


def agent_in(kind: str, reply: wire.RelayReply) -> wire.AgentTold:
    """Return what a reply tells of an agent; nothing if it tells of none."""
    try:
        if kind == "meet":
            return wire.AgentTold.FromString(reply.body)
        if kind in {"enroll", "renew"}:
            return wire.Admitted.FromString(reply.body).agent
    except DecodeError:
        # Handed on as it came; whoever asked finds that out, too.
        return wire.AgentTold()
    return wire.AgentTold()
