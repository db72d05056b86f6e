"""Makes the messages that a Proxy Manager is told: what it does not know yet, as far as one message has room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from popham.opamp.relay import AGENTS_MAX, BYTES_MAX, Outbox
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.relay_below import BODIES_MAX, Below, digest_told
from popham.upstream.relaying import Desk

KEY = 16
"""Bytes of an instance_uid."""
CHUNK = 512 * 1024
"""Bytes of a body in one message, and of all bodies."""
SMALL = 16 * 1024
"""Bytes of a body that is said unasked with the group that needs it, which saves an exchange; larger ones are asked for."""
UNASKED = 128 * 1024
"""Bytes of all such bodies in one message."""
K = TypeVar("K", bytes, str, int, tuple[bytes, str])


@dataclass(slots=True)
class _Room:
    """Bytes that a message still has room for; the last thing may be larger."""

    left: int = BYTES_MAX

    def take(self, size: int) -> None:
        self.left -= size


class RelayTelling:
    """Says to proxies what they are to know."""

    def __init__(self, desk: Desk) -> None:
        """Say what ``desk`` says."""
        self._desk = desk
        self._asked: dict[bytes, int] = {}

    def ask(self, key: bytes, number: int) -> None:
        """Have an agent asked for a round; ``number`` counts, and rises by one at least."""
        self._asked[key] = max(self._asked.get(key, 0) + 1, number)

    def agent(self, below: Below, key: bytes) -> wire.AgentTold | None:
        """Return what a proxy is to know of an agent now; None while nobody here knows."""
        told = self._desk.told(below.proxy, key)
        if told is None:
            return None
        if told.gone:
            self._asked.pop(key, None)
        elif key in self._asked:
            told.check_ins = max(told.check_ins, self._asked[key])
        return told

    def say(self, below: Below) -> bytes:
        """Return the next message to a proxy."""
        if below.outstanding:
            # Whether that arrived nobody will say any more.
            below.lost()
        down, room = wire.RelayDown(), _Room()
        self._say_kept(below, down)
        for call in _take(below.replies, room):
            reply = below.answered[call]
            down.replies.append(reply)
            room.take(len(reply.body) + len(reply.problem) + 32)
        for at in _take(below.standings, room):
            down.standings.append(below.stood[at])
            room.take(below.stood[at].ByteSize())
        if below.listed:
            self._say_places(below, down, room)
            self._say_agents(below, down, room)
            self._say_groups(below, down, room)
        self._say_bodies(below, down)
        below.outstanding = True
        down.head.CopyFrom(below.exchange.head(more=not below.listed or below.waits))
        return down.SerializeToString()

    def _say_kept(self, below: Below, down: wire.RelayDown) -> None:
        """Say what is said only when it changes."""
        proxy, desk = below.proxy, self._desk
        values = (("nonce", desk.nonce(proxy)), ("visitor", desk.visitor(proxy)), ("orders", below.orders))
        for name, value in values:
            if value and below.kept.get(name) != value:
                setattr(down, name, value)
                below.told.kept[name] = value

    def _say_places(self, below: Below, down: wire.RelayDown, room: _Room) -> None:
        """Say all places that are other than they were; they are few, so they go as one.

        Who is at one is told of, too: nobody else may dial such an agent, so the proxy has no certificate to ask by.
        """
        if not below.stale:
            return
        below.stale = False
        places = self._desk.places(below.proxy)
        if places is None:
            return
        down.all_places = below.told.placed = not below.placed
        found = {place.name: place for place in places}
        for name in below.places_known.keys() - found.keys():
            down.places.append(wire.PlaceTold(name=name, gone=True))
            below.told.places[name] = None
        for name, place in found.items():
            data = place.SerializeToString()
            if below.places_known.get(name) != digest_told(data):
                down.places.append(place)
                below.told.places[name] = digest_told(data)
                room.take(len(data))
            if len(place.key) == KEY and place.key not in below.known:
                told = self.agent(below, place.key)
                if told is not None and not told.gone:
                    below.mark_agents([place.key])

    def _say_agents(self, below: Below, down: wire.RelayDown, room: _Room) -> None:
        for key in _take(below.agents, room):
            told = self.agent(below, key)
            if told is None:
                continue
            data = told.SerializeToString()
            if not (told.gone or told.want_state) and below.known.get(key) == digest_told(data):
                continue
            # A state that is wanted still is asked for again: the proxy was content with one that came too late here.
            down.agents.append(told)
            below.told.agents[key] = None if told.gone else digest_told(data)
            if not told.gone:
                # It may just have been forgotten there; what changes from now on is told, too.
                below.known.setdefault(key, b"")
            if told.heard:
                below.told.heard[key] = tuple(told.heard)
            if not told.gone and told.group not in below.groups_of:
                below.mark_groups([told.group])
            room.take(len(data))

    def _say_groups(self, below: Below, down: wire.RelayDown, room: _Room) -> None:
        for name in _take(below.groups, room):
            told = self._desk.group_told(below.proxy, name)
            if told is None:
                continue
            data = told.SerializeToString()
            if not told.gone and below.groups_known.get(name) == digest_told(data):
                continue
            down.groups.append(told)
            below.told.groups[name] = None if told.gone else digest_told(data)
            room.take(len(data))
            self._say_small(below, told.blobs, down, room)

    def _say_small(self, below: Below, needed: Sequence[str], down: wire.RelayDown, room: _Room) -> None:
        """Say the small bodies of a group that were not said before; a proxy asks for those that it lacks still."""
        for sha256 in needed:
            if sha256 in below.bodies:
                continue
            body = self._desk.body(below.proxy, sha256)
            said = sum(len(one.data) for one in down.bodies)
            if body is None or len(body) > min(SMALL, room.left) or said + len(body) > UNASKED:
                continue
            below.bodies.add(sha256)
            down.bodies.add(sha256=sha256, length=len(body), data=body)
            room.take(len(body))
        if len(below.bodies) > BODIES_MAX:
            below.bodies.clear()

    async def fetch(self, below: Below) -> None:
        """Have those bodies in memory that the next message says: nobody is to wait for a disk while it is made."""
        left = CHUNK
        for lack in below.lacks:
            if left <= 0:
                return
            left -= max(0, await self._desk.fetch(below.proxy, lack.sha256) - lack.offset)

    def _say_bodies(self, below: Below, down: wire.RelayDown) -> None:
        left = CHUNK
        lacks, below.lacks = below.lacks, []
        for lack in lacks:
            if left <= 0:
                return
            body = self._desk.body(below.proxy, lack.sha256)
            if body is None or lack.offset > len(body):
                down.bodies.add(sha256=lack.sha256, absent=True)
                continue
            data = body[lack.offset : lack.offset + left]
            down.bodies.add(sha256=lack.sha256, offset=lack.offset, length=len(body), data=data)
            left -= len(data)


def _take(outbox: Outbox[K], room: _Room) -> Iterator[K]:
    """Yield what is to be said while there is room; the rest waits on."""
    keys: Sequence[K] = outbox.take(AGENTS_MAX)
    for number, key in enumerate(keys):
        if room.left <= 0:
            outbox.put_back(keys[number:])
            return
        yield key
