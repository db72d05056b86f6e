"""How far an upstream is with streams, as it tells agents: in answers to requests, and over held links."""

from __future__ import annotations

from collections.abc import Sequence

from popham.opamp.codec import custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import ServerToAgent
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.opamp.wire import REPORT_FULL_STATE
from popham.streams.standing import Standing
from popham.upstream.record import Record
from popham.upstream.telling import head


def to_wire(standing: Standing) -> wire.Standing:
    """Return a standing as it travels."""
    return wire.Standing(
        stream=standing.stream,
        epoch=standing.epoch,
        newest=standing.newest,
        next=standing.next,
        last=standing.last,
        ranges=[wire.StreamRange(first=one.first, end=one.end, last=one.last) for one in standing.ranges],
        boots=[wire.StreamBoot(boot=one.boot, first=one.first) for one in standing.boots],
        credit=standing.credit,
        retry_after_seconds=standing.retry_after,
        refused=standing.refused,
        lent=standing.above is not None,
        above=standing.above or 0,
    )


def encode(standing: Standing) -> bytes:
    """Return a standing as the bytes of an answer, or of a question."""
    return to_wire(standing).SerializeToString()


def render_standings(record: Record, standings: Sequence[Standing], *, full: bool = False) -> bytes:
    """Return the ServerToAgent that says them to an agent; below 8 KiB for one of each stream.

    Args:
        record: To whom.
        standings: One of each stream at most; without any it only answers.
        full: Whether it is asked for its full state beside.
    """
    said = ServerToAgent(flags=REPORT_FULL_STATE if full else 0)
    if standings:
        said.custom_message.CopyFrom(custom(wire.Standings(standings=map(to_wire, standings))))
    return head(record) + said.SerializeToString()
