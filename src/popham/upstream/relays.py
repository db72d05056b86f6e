"""The exchange with every Proxy Manager below an upstream: what comes is handed to a desk, what a proxy lacks is told.

Rules:

1. One message of a proxy is worked on at a time; what is in it is durable before it is named as heard.
2. A proxy is told of agents and groups that it spoke of or was told of, once they are other than it was told last.
3. Whoever may speak for whom is the desk's to say.  What it refuses is not taken, and the proxy is told what holds.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections.abc import Callable, Iterable

from google.protobuf.message import DecodeError

from popham.clock import Clock
from popham.errors import GrantError, PophamError, StateError, WireError
from popham.model.generation import GENERATION, check_relay
from popham.model.names import NAME, show
from popham.net.seam import Answer
from popham.opamp.relay import AGENTS_MAX, RELAY_LIMIT, Exchange, News
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.record import Record
from popham.upstream.relay_below import DIGEST, Below, digest_told
from popham.upstream.relay_calls import RelayCalls
from popham.upstream.relay_farewell import Farewells
from popham.upstream.relay_streams import RelayStreams
from popham.upstream.relay_telling import RelayTelling
from popham.upstream.relay_told import orders_of
from popham.upstream.relaying import Desk

_log = logging.getLogger(__name__)
SLICE = 32
"""Agents that are looked at in one turn of the loop: each may cost a signature."""
CALLS_MAX = 256
"""Calls of one message that are answered; the others are asked again."""
ANSWERED_MAX = 4096
"""Replies that are kept until the proxy heard them; what it asks beyond that is answered after."""
SPOKEN_MAX = 2 * AGENTS_MAX
"""Agents of one message that are spoken of, or have left: more are not looked at, since each costs a task."""
GROUPS_MAX = 16_384
"""Groups that a proxy may know."""
STREAMS_MAX = 8192
"""Streams of which one message carries frames: as many as there are frames in :data:`BYTES_MAX`, and more."""
LACKS_MAX = 256
"""Bodies of one message that are looked for; the others are asked for again."""
_KEY = 16


class Relays:
    """Serves the proxies of one upstream; those ``leaving`` are to hear that they are none any more."""

    def __init__(self, desk: Desk, clock: Clock, boot: int, *, wake: Callable[[Record], bool]) -> None:
        """Keep what is needed.

        Args:
            desk: Answers for the fleet.
            clock: For the numbers of check-ins, and how long ago a proxy was heard.
            boot: Of this process: 64 bits, not 0.
            wake: Tells a proxy, if a link is held, that there is something for it; False if none is.
        """
        self._desk = desk
        self._clock = clock
        self._boot = boot
        self._wake = wake
        self._telling = RelayTelling(desk)
        self._streams = RelayStreams(desk)
        self._calls = RelayCalls(desk, self._telling, self._streams, news=self._news)
        self._below: dict[str, Below] = {}
        self.leaving = Farewells()

    # Exchanges.

    def serves(self, record: Record) -> bool:
        """Return whether an agent is a Proxy Manager that may relay here, or is to hear that it is none any more."""
        return self._desk.scope(record) is not None or record.uid in self.leaving

    async def answer(self, proxy: Record, body: bytes) -> bytes:
        """Answer one message of a proxy that dials; raises as :meth:`take`."""
        answer = self.take(proxy, body)
        return answer if isinstance(answer, bytes) else await answer

    def take(self, proxy: Record, body: bytes) -> Answer:
        """Answer one message of a proxy that dials, at once if nothing in it has to be waited for.

        Raises:
            GrantError: ``grant.proxy``: it is no proxy, or not any more.
            WireError: The message is malformed, or of a generation that cannot relay.
            StateError: What is in it could not be written: it is said again.
        """
        up, below = _read(body), self._find(proxy)
        if below.turns or below.turn.locked() or not _is_quiet(below, up):
            return self._answer(below, up)
        try:
            self._begin(below, up)
            self._look(below)
            self._lists(below, up)
            self._note_here(below, up)
        except BaseException:
            below.exchange.unheard()
            raise
        return self._telling.say(below)

    async def _answer(self, below: Below, up: wire.RelayUp) -> bytes:
        below.turns += 1
        try:
            async with below.turn:
                await self._hear(below, up)
                return self._telling.say(below)
        finally:
            below.turns -= 1

    def begin(self, proxy: Record) -> bytes:
        """Return the first message to a proxy that is dialled. Raises GrantError as :meth:`answer`."""
        if self._has_left(proxy):
            return self.leaving.say(proxy.uid)
        return self._telling.say(self._find(proxy))

    def _has_left(self, proxy: Record) -> bool:
        return proxy.uid in self.leaving and self._desk.scope(proxy) is None

    async def heard(self, proxy: Record, up: bytes) -> bytes | None:
        """Take a proxy's answer; return the next message, None if there is nothing to be said at once.

        Raises:
            PophamError: As :meth:`answer`.
        """
        if self._has_left(proxy):
            self.leaving.heard(proxy.uid)
            return None
        message, below = _read(up), self._find(proxy)
        async with below.turn:
            await self._hear(below, message)
            more = message.head.more or not below.listed or below.waits
            return self._telling.say(below) if more else None

    def waits(self, proxy: Record) -> bool:
        """Return whether there is something for a proxy; also if it was not heard yet."""
        below = self._below.get(proxy.uid)
        return below is None or not below.listed or below.waits or below.outstanding

    def silent(self, proxy: Record) -> float:
        """Return the seconds since a proxy was heard; infinite if it never was."""
        below = self._below.get(proxy.uid)
        if below is None or below.at is None:
            return math.inf
        return self._clock.monotonic() - below.at

    # News.

    def agent_changed(self, uid: str) -> None:
        """Take note that what is to be known of an agent may be other: proxies that know it are told."""
        key = uuid.UUID(uid).bytes
        for below in self._below.values():
            if key in below.known:
                below.mark_agents([key])
                self._news(below)

    def groups_changed(self, names: Iterable[str]) -> None:
        """Take note that groups are to have something else: proxies that have agents of them are told."""
        changed = set(names)
        for below in self._below.values():
            found = changed & below.groups_of
            if found:
                below.mark_groups(sorted(found))
                self._news(below)

    def places_changed(self) -> None:
        """Take note that who is a proxy, what it was given, or whom it visits, may be other."""
        for uid, below in list(self._below.items()):
            if self._desk.scope(below.proxy) is None:
                self.leaving.add(self._below.pop(uid))
                self._wake(below.proxy)  # it hears at once that nobody listens to it any more
                continue
            below.stale = True
            self._look(below)
            self._news(below)

    def check_in(self, uid: str) -> bool:
        """Have an agent asked for a round by the proxy that it is at; False if no link is held to any that knows it."""
        key, found = uuid.UUID(uid).bytes, False
        for below in self._below.values():
            if key in below.known:
                self._telling.ask(key, int(self._clock.now() * 1000))
                below.mark_agents([key])
                found |= self._news(below)
        return found

    def stands(self, uid: str, stood: wire.Stood) -> None:
        """Have a proxy told how far a stream of an agent is by now, if it knows that agent."""
        below = self._below.get(uid)
        if below is not None and stood.key in below.known:
            at = (stood.key, stood.standing.stream)
            below.stood[at] = stood
            below.standings.mark([at])
            self._news(below)

    def _news(self, below: Below) -> bool:
        if not below.woken or below.woken_over is not below.proxy.link:
            below.woken, below.woken_over = self._wake(below.proxy), below.proxy.link
        return below.woken

    # One message.

    def _find(self, proxy: Record) -> Below:
        if self._desk.scope(proxy) is None:
            self._below.pop(proxy.uid, None)
            problem = f"the agent {proxy.name} is no Proxy Manager here, or not any more"
            raise GrantError(
                "proxy", problem, "Apply a definition of kind Proxy, and enroll it by a token for that"
            )
        below = self._below.get(proxy.uid)
        if below is None:
            below = self._below[proxy.uid] = Below(proxy, Exchange(self._boot))
        below.proxy = proxy
        self.leaving.heard(proxy.uid)
        return below

    async def _hear(self, below: Below, up: wire.RelayUp) -> None:
        """Take note of one message; all of it is durable once this returns."""
        try:
            self._begin(below, up)
            await self._note(below, up)
        except BaseException:
            # Whoever says the next message of this end, it does not say that this one was heard.
            below.exchange.unheard()
            raise

    def _begin(self, below: Below, up: wire.RelayUp) -> None:
        """Take note of a message's head: which process says it, and what that has heard."""
        check_relay(GENERATION, up.head.generation)
        news = below.exchange.hear(up.head)
        below.outstanding = below.woken = False
        below.noted = 0
        below.at = self._clock.monotonic()
        if news is News.BOOTED:
            below.reset()
        elif news is News.HEARD:
            gone = [key for key, digest in below.told.agents.items() if digest is None]
            for key, results in below.heard().items():
                self._desk.arrived(below.proxy, key, results)
            if gone:
                # It has forgotten them; their places in its presence are others' from now on.
                self._desk.left(below.proxy, gone)
        else:
            below.lost()

    async def _note(self, below: Below, up: wire.RelayUp) -> None:
        self._look(below)
        if self._lists(below, up):
            await self._list(below, up)
        self._note_here(below, up)
        await self._calls.settle(below)
        await self._take(below, up)
        below.lacks = list(up.lacks[:LACKS_MAX])
        await self._telling.fetch(below)

    def _note_here(self, below: Below, up: wire.RelayUp) -> None:
        """Take note of what nobody has to wait for."""
        self._desk.present(below.proxy, up.head.boot, up.presence)
        if up.status:
            self._desk.stood(below.proxy, up.status)
        gone = [key for key in up.left if len(key) == _KEY]
        if gone:
            self._desk.left(below.proxy, gone)
        for key in gone:
            below.drop(key)

    def _look(self, below: Below) -> None:
        """Have all looked at again that a proxy knows, if it may speak for others than before."""
        scope = self._desk.scope(below.proxy)
        if scope is below.scope or scope == below.scope:
            below.scope = scope
            return
        below.scope, below.orders = scope, orders_of(scope)
        below.mark_agents(list(below.known))
        below.mark_groups(list(below.groups_of))

    def _lists(self, below: Below, up: wire.RelayUp) -> bool:
        """Return whether a message says what a proxy knows; one that knew of this process and says nothing knows nothing."""
        known = bool(up.groups or up.agents_known)
        # Else it did not know of this process yet; its next message says what it knows.
        below.listed |= known or up.head.other == self._boot
        return known

    async def _list(self, below: Below, up: wire.RelayUp) -> None:
        """Take note of what a proxy knows, and mark what of that is other by now."""
        self._list_groups(below, up)
        for count, one in enumerate(up.agents_known, 1):
            if len(one.key) != _KEY:
                continue
            told = self._telling.agent(below, one.key)
            if told is None:
                below.known[one.key] = one.digest[:DIGEST]
            elif told.gone:
                below.mark_stranger(one.key)
            else:
                below.know(told, one.digest)
            if told is not None and not one.stands:
                await self._streams.tell(below, told)
            if count % SLICE == 0:
                await asyncio.sleep(0)

    def _list_groups(self, below: Below, up: wire.RelayUp) -> None:
        for group in up.groups:
            name = group.key.decode(errors="replace")
            if not NAME.fullmatch(name) or len(below.groups_known) >= GROUPS_MAX:
                continue
            below.groups_known[name] = group.digest
            below.groups_of.add(name)
            wanted = self._desk.group_told(below.proxy, name)
            if wanted is not None and digest_told(wanted.SerializeToString()) != group.digest:
                below.groups.mark([name])

    async def _take(self, below: Below, up: wire.RelayUp) -> None:
        failed: list[StateError] = []
        async with asyncio.TaskGroup() as tasks:
            for count, said in enumerate(up.agents, 1):
                tasks.create_task(self._said(below, said, failed))
                if count % SLICE == 0:
                    await asyncio.sleep(0)
            for carried in up.streams:
                tasks.create_task(self._append(below, carried, failed))
            for call in up.calls[:CALLS_MAX]:
                if call.id in below.answered:
                    below.replies.mark([call.id])
                elif len(below.answered) < ANSWERED_MAX:
                    tasks.create_task(self._calls.take(below, call))
        if failed:
            raise failed[0]

    async def _said(self, below: Below, said: wire.AgentSaid, failed: list[StateError]) -> None:
        if len(said.key) != _KEY:
            return
        fresh = said.key not in below.known
        try:
            fresh |= await self._desk.said(below.proxy, said)
        except StateError as error:
            failed.append(error)
            return
        except PophamError as error:
            below.note("what %s says of %s is not taken: %s", below.proxy.name, said.key.hex(), error)
            fresh = True
        if fresh and self._mark(below, said.key):
            told = self._telling.agent(below, said.key)
            if told is not None:
                await self._streams.tell(below, told)

    def _mark(self, below: Below, key: bytes) -> bool:
        """Have a proxy told of an agent of which it spoke; return whether it is its, and was not known to it."""
        told = self._telling.agent(below, key) if key not in below.known else None
        if told is not None and told.gone:
            below.mark_stranger(key)
            return False
        new = key not in below.known
        below.mark_agents([key])
        return new

    async def _append(self, below: Below, carried: wire.Carried, failed: list[StateError]) -> None:
        try:
            standings = await self._desk.append(below.proxy, carried)
        except StateError as error:
            failed.append(error)
            return
        except PophamError as error:
            below.note("%s of %s are not taken: %s", show(carried.stream), carried.key[:_KEY].hex(), error)
            if len(carried.key) == _KEY:
                self._mark(below, carried.key)
            return
        for stood in standings:
            at = (stood.key, stood.standing.stream)
            below.stood[at] = stood
            below.standings.mark([at])


def _is_quiet(below: Below, up: wire.RelayUp) -> bool:
    """Return whether all of a message can be noted at once: the rest may need a disk, a signature, or somebody above."""
    waits = up.agents or up.streams or up.calls or up.lacks or up.agents_known or up.groups
    return not (waits or below.met or below.lacks)


def _read(body: bytes) -> wire.RelayUp:
    if len(body) > RELAY_LIMIT:
        raise WireError(
            "too_large", f"a message of a relay has {len(body)} bytes, and {RELAY_LIMIT} is the limit"
        )
    try:
        up = wire.RelayUp.FromString(body)
    except DecodeError as error:
        raise WireError("malformed", f"{len(body)} bytes are no message of a relay") from error
    if max(len(up.agents), len(up.left)) > SPOKEN_MAX or len(up.streams) > STREAMS_MAX:
        problem = f"a message of a relay speaks of {len(up.agents)} agents and {len(up.streams)} streams"
        raise WireError("too_large", problem, f"Speak of at most {AGENTS_MAX} and {STREAMS_MAX}")
    return up
