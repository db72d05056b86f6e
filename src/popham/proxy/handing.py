"""Calls of lower proxies on their way up: each is asked once above, with the proxies that it came by."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from google.protobuf.message import DecodeError

from popham.errors import LinkError, PophamError, WireError
from popham.net.seam import Refused
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.calls import Calls
from popham.proxy.carrying import ProxyIntake
from popham.streams.frame import Stream
from popham.upstream.record import Record
from popham.upstream.relay_calls import agent_in
from popham.upstream.relay_placed import HOPS_MAX
from popham.upstream.relaying import Answer
from popham.upstream.standings import to_wire

_log = logging.getLogger(__name__)
ASKED_MAX: Final = 512
"""Agents that are asked for at once, since a lower proxy speaks of them and nobody here knows them."""
_SHORT: Final = 30.0
_SECONDS: Final[Mapping[str, float]] = MappingProxyType(
    {"meet": 600.0, "enroll": 3600.0, "renew": 3600.0, "claim": 600.0, "found": 3600.0}
)
"""Seconds that a call is asked on, by its kind: as whoever began it does."""
_TELL: Final = 3600.0
_ADDRESS: Final = 64


class Handing:
    """Hands calls on.

    Attributes:
        tell: Takes what was told of an agent that was asked for. Raises WireError.
        known: Told a lower proxy and such an agent, once something was told of it, or that it is none.
    """

    def __init__(self, calls: Calls, carrying: ProxyIntake) -> None:
        """Ask by ``calls``; ``carrying`` knows how far streams are here."""
        self.tell: Callable[[wire.AgentTold], object] = lambda _told: None
        self.known: Callable[[Record, bytes], None] = lambda _proxy, _key: None
        self._calls, self._carrying = calls, carrying
        self._asking: set[bytes] = set()

    def stands(self, key: bytes) -> bool:
        """Return whether it is known here how far the streams of an agent are above."""
        return self._carrying.knows(key)

    def hand_on(
        self, proxy: Record, call: wire.RelayCall, done: Answer, take: Callable[[wire.AgentTold], None]
    ) -> None:
        """Ask what a lower proxy asks.

        Args:
            proxy: Who asks.
            call: What.
            done: Told the answer, or why there is none.
            take: Takes what the answer tells of an agent, before it is told; raises PophamError if it may not be.
        """
        via = (proxy.key, *call.via)
        if len(via) >= HOPS_MAX or len(set(via)) != len(via):
            done(WireError("relay", "a call came by too many proxies, or by one of them twice"))
            return

        def answered(said: bytes | Exception) -> None:
            try:
                done(self._take(call, said, take) if isinstance(said, bytes) else said)
            except (PophamError, Refused) as error:
                done(error)

        self._calls.post(
            call.kind,
            call.key,
            call.body,
            answered,
            address=call.address[:_ADDRESS],
            via=via,
            seconds=_SECONDS.get(call.kind, _SHORT),
        )

    def _take(self, call: wire.RelayCall, said: bytes, take: Callable[[wire.AgentTold], None]) -> bytes:
        """Take note of an answer; return it as it is told. Raises PophamError."""
        if call.kind == "standing":
            return self._stand(call, said)
        told = agent_in(call.kind, wire.RelayReply(body=said))
        if told.ByteSize() and not told.gone:
            if told.key and told.key != call.key:
                raise WireError("relay", "the answer to a call is about another agent")
            take(told)
        return said

    def _stand(self, call: wire.RelayCall, said: bytes) -> bytes:
        """Return how far a stream is, with what is held of it here."""
        try:
            word, asked = wire.Standing.FromString(said), wire.StandingCall.FromString(call.body)
            stream = Stream(asked.stream)
        except (DecodeError, ValueError) as error:
            raise WireError("relay", "how far a stream is was said in a malformed way") from error
        self._carrying.stood(wire.Stood(key=call.key, standing=word))
        return to_wire(self._carrying.told(call.key, stream, asked.epoch)).SerializeToString()

    def ask(self, proxy: Record, key: bytes) -> None:
        """Ask what is to be known of an agent that is at a lower proxy, and of which nothing was told here."""
        if key in self._asking or len(self._asking) >= ASKED_MAX:
            return

        def answered(said: bytes | Exception) -> None:
            self._asking.discard(key)
            if isinstance(said, LinkError):
                return  # it is asked again when somebody speaks of it
            try:
                told = wire.AgentTold.FromString(said) if isinstance(said, bytes) else wire.AgentTold()
                if told.key == key and not told.gone:
                    self.tell(told)
            except (DecodeError, WireError) as error:
                _log.warning("what was told of %s is not taken: %s", key.hex(), error)
            self.known(proxy, key)

        self._asking.add(key)
        self._calls.post("tell", key, b"", answered, via=(proxy.key,), seconds=_TELL)
