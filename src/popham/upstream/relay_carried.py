"""Frames of agents that a Proxy Manager carries: verified and kept as if the agent had brought them itself."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from popham.errors import GrantError, LinkError, NotFoundError, StreamError
from popham.model.fleet import Admission
from popham.net.seam import Refusal
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.streams.frame import OFFSET_LIMIT, Stream
from popham.streams.standing import Standing
from popham.upstream.checking import Verifier, divide
from popham.upstream.intake import Sent
from popham.upstream.record import Record
from popham.upstream.standings import to_wire
from popham.upstream.streams import RETRY, Streams, held_back

_log = logging.getLogger(__name__)


class RelayedStreams:
    """Hands frames to the hub's streams."""

    def __init__(self, streams: Streams) -> None:
        """Hand them to ``streams``."""
        self._streams = streams
        self._verifier = Verifier()

    async def append(self, record: Record, carried: wire.Carried) -> Sequence[wire.Stood]:
        """Keep frames; return how far the stream is then, with the time to wait where there is no room.

        Raises:
            GrantError: The agent was not accepted yet.
            NotFoundError: There is no such stream.
            StateError: They could not be written.
        """
        stream = find_stream(carried.stream)
        require_accepted(record)
        refusal = self._streams.refusal(record, stream)
        if refusal is None:
            try:
                async with self._streams.turn(record, stream):
                    found = await self._streams.take(record, stream, carried.frames, _sent(carried))
                return [_stood(record, found)]
            except LinkError as error:
                wait = RETRY if error.retry_after is None else error.retry_after
                refusal = Refusal(status=503, retry_after=wait)
            except StreamError as error:
                # Whoever carries them cannot help it; they are not asked for at once again.
                _log.warning("%s of %s that a proxy carried are not taken: %s", stream, record.name, error)
                refusal = Refusal(status=400, retry_after=RETRY)
        return [_stood(record, held_back(await self._streams.standing(record, stream), refusal))]

    async def fill(self, record: Record, carried: wire.Carried, error: GrantError) -> Sequence[wire.Stood]:
        """Keep frames of an agent that was taken from the proxy which carries them, where the agent itself left room.

        It had given them to that proxy and goes on elsewhere; what it brought since lies beyond them.  So they are what it
        left out, each signed by it, and whoever carries them adds nothing of its own.

        Raises:
            GrantError: As ``error``: one of them is beyond what the agent has brought, or not signed by it.
            PophamError: As :meth:`append`.
        """
        stream = find_stream(carried.stream)
        require_accepted(record)
        try:
            found = divide(carried.frames, record.key, stream)
            if not found:
                raise error
            epoch = found[0][0].epoch
            known = await self._streams.standing(record, stream, epoch)
            end = max((one.end for one in known.ranges), default=known.next) if known.epoch == epoch else 0
            if found[-1][0].end > end:
                raise error
            for head, frame in found:
                self._verifier.verify(head, frame, (record.public_key, record.former_key))
        except (StreamError, LinkError):
            raise error from None
        return await self.append(record, carried)

    async def standing(self, record: Record, stream: str, epoch: int) -> bytes:
        """Return how far a stream is, as it travels. Raises NotFoundError, GrantError."""
        require_accepted(record)
        return to_wire(await self._streams.standing(record, find_stream(stream), epoch)).SerializeToString()


def find_stream(name: str) -> Stream:
    """Return the stream of a name. Raises NotFoundError ``not_found.stream``."""
    try:
        return Stream(name)
    except ValueError:
        raise NotFoundError(
            "stream", f"there is no stream of this name here, but {', '.join(Stream)}"
        ) from None


def require_accepted(record: Record) -> None:
    """Return if an agent may bring something. Raises GrantError ``grant.not_permitted``."""
    if record.admission is not Admission.ACCEPTED:
        raise GrantError("not_permitted", "this agent was not accepted yet", "Wait until it is")


def _stood(record: Record, standing: Standing) -> wire.Stood:
    return wire.Stood(key=record.key, standing=to_wire(standing))


def _sent(carried: wire.Carried) -> Sent:
    now = carried.now if math.isfinite(carried.now) and carried.now > 0 else None
    waiting = min(carried.waiting, OFFSET_LIMIT) if carried.HasField("waiting") else None
    return Sent(now, waiting)
