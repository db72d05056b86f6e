"""Tells Proxy Managers how far the streams of agents are that are new to them, before anybody asks.

A proxy that is visited each ten minutes could not ask while an agent waits; told so, it takes the agent's data at once.
"""

from __future__ import annotations

import logging
from typing import Final

from google.protobuf.message import DecodeError

from popham.errors import PophamError
from popham.model.fleet import Admission, AgentKind
from popham.net.seam import Refused
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.streams.frame import Stream
from popham.streams.standing import CREDIT
from popham.upstream.relay_below import Below
from popham.upstream.relaying import Desk

_log = logging.getLogger(__name__)
_LET_IN: Final = {Admission.ACCEPTED, Admission.NEW}
_CALLS: Final = tuple(
    (stream, wire.StandingCall(stream=stream, epoch=0).SerializeToString()) for stream in Stream
)


class RelayStreams:
    """Marks standings that are to be told."""

    def __init__(self, desk: Desk) -> None:
        """Say what ``desk`` says to the call of a proxy that asks."""
        self._desk = desk

    async def tell(self, below: Below, told: wire.AgentTold) -> None:
        """Have a proxy told how far each stream of an agent is, unless it is to be told that already."""
        if told.gone or told.kind == AgentKind.STOCK or told.admission not in _LET_IN:
            return
        for stream, body in _CALLS:
            at = (told.key, str(stream))
            if at in below.stood:
                continue
            # Who was not accepted yet may not have brought anything.
            standing = wire.Standing(stream=stream, credit=CREDIT)
            if told.admission == Admission.ACCEPTED:
                call = wire.RelayCall(kind="standing", key=told.key, body=body)
                try:
                    standing = wire.Standing.FromString(await self._desk.call(below.proxy, call))
                except (PophamError, Refused, DecodeError) as error:
                    # It asks by itself, once that matters.
                    _log.info("%s is not told how far %s is: %s", below.proxy.name, told.name, error)
                    return
            # Frames may have been taken meanwhile, and what was said of them is newer.
            if at not in below.stood:
                below.stood[at] = wire.Stood(key=told.key, standing=standing)
                below.standings.mark([at])
