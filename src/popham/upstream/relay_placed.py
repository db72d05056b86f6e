"""At which Proxy Manager agents are: the newest word of an agent decides, whether it came by a proxy or by itself.

Rules:

1. What a proxy says of an agent counts from when the proxy heard the agent, not from when it says so.
2. An agent that is elsewhere, and was heard there within its promise, is moved by what it signed and by nothing else: a
   state record that is new here.  A proxy that has none yet is told to have the agent sign one; nothing changes until then.
3. A proxy that an agent has left is told so, and forgets it; if the agent comes back, the proxy says it anew.
4. After a start nobody is anywhere, until proxies have said what they know.
"""

from __future__ import annotations

import json
import math
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from itertools import islice
from typing import Any, Final

from popham.clock import Clock
from popham.errors import WireError
from popham.model.status import OVERDUE
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.callers import shut_out
from popham.upstream.record import Record
from popham.upstream.relay_status import plain_status
from popham.upstream.relayed import Relayed, Roll

SLACK: Final = 2.0
"""Seconds by which the words of two ends may differ that heard an agent at once."""
BEFORE: Final = 60.0
"""Likewise, where the one word was written down before this process: then by way of a proxy, perhaps, and a slow link."""
HOPS_MAX: Final = 8
"""Proxies on one way."""
LOOKED: Final = 512
"""Agents of a proxy that are claimed without proof, of which one message has looked at whether they still are elsewhere."""
_ADDRESS: Final = 64
_STATUS: Final = 256 * 1024
_KEY: Final = 16


class Claim(Enum):
    """What comes of what a proxy says: that an agent is at it."""

    TAKEN = auto()
    """It is."""
    LEFT = auto()
    """It has left this proxy."""
    UNPROVEN = auto()
    """It is elsewhere until it has signed something new at this proxy, or is not heard of there any more."""


class Placed:
    """Keeps where agents are; what people ask of it is :class:`popham.manager.links.Relayed`.

    Attributes:
        moved: Told the uid of an agent that is somewhere else than a proxy was told.
    """

    def __init__(self, find: Callable[[str], Record | None], clock: Clock) -> None:
        """Know nobody's place; ``find`` returns the record of a uid."""
        self.moved: Callable[[str], None] = lambda _uid: None
        self._find = find
        self._clock = clock
        self._began = clock.now()
        self._rolls: dict[str, Roll] = {}
        self._gone: set[tuple[str, bytes]] = set()
        self._counts: Counter[str] = Counter()
        self._behind: dict[str, Record] = {}
        self._claimed: dict[
            str, dict[bytes, bool]
        ] = {}  # by proxies, without proof; whether nobody has it by now
        self._nowhere: dict[bytes, float | None] = {}  # left where they were: when they were heard of there
        self._statuses: dict[str, dict[str, Any]] = {}

    # What others ask.

    def via(self, uid: str) -> tuple[str, ...]:
        """Return the uids of the proxies between an agent and this upstream, the one next to it first."""
        record = self._find(uid)
        return record.via if record is not None else ()

    def count(self, uid: str) -> int:
        """Return how many agents are at a proxy, or at those below it."""
        return self._counts[uid]

    def own_promise(self, uid: str) -> float | None:
        """Return the seconds from one contact of an agent with its own upstream to the next; None if it is not known."""
        record = self._find(uid)
        return record.own_promise if record is not None else None

    def promise(self, uid: str) -> float | None:
        """Return the seconds from one word of an agent here to the next; None if it is not known."""
        record = self._find(uid)
        return record.promise if record is not None else None

    def unvisited(self, uid: str) -> str:
        """Return why an agent cannot be visited by the proxy that it is at: code and sentence; empty if it can."""
        record = self._find(uid)
        relay = record.relay if record is not None else None
        return relay.unvisited if relay is not None else ""

    def status(self, uid: str) -> Mapping[str, Any]:
        """Return how a proxy says that it stands, as it was heard last; empty before that."""
        return self._statuses.get(uid, {})

    def is_gone(self, proxy: str, key: bytes) -> bool:
        """Return whether an agent left a proxy that may not know it yet."""
        return (proxy, key) in self._gone

    # What proxies say.

    def note_status(self, proxy: str, status: bytes) -> None:
        """Take note of how a proxy says that it stands; what is no JSON object is left out."""
        try:
            found = json.loads(status[:_STATUS].decode())
        except (ValueError, RecursionError):
            return
        if isinstance(found, dict):
            self.keep_status(proxy, found)

    def keep_status(self, proxy: str, status: dict[str, Any]) -> None:
        """Keep how a proxy says that it stands; one that is behind another says it by that."""
        self._statuses[proxy] = plain_status(status)

    def note_presence(self, proxy: Record, boot: int, text: bytes) -> Roll:
        """Take note of when the agents of a proxy were heard of; return what that is kept in."""
        roll = self._rolls.get(proxy.uid)
        if roll is None or roll.boot != boot:
            # Places in the presence of its former process mean nothing any more.
            roll = self._rolls[proxy.uid] = Roll(proxy, boot, now=self._clock.now)
        roll.proxy = proxy
        if text:
            roll.text, roll.at = text, self._clock.now()
        return roll

    @staticmethod
    def check_way(proxy: Record, record: Record, via: Sequence[bytes]) -> None:
        """Return if a way from a proxy to an agent may be: nobody is on it twice, and it is not too long.

        Raises:
            WireError: ``wire.relay``: it may not.
        """
        way = (*proxy.via, proxy.uid, *(str(uuid.UUID(bytes=one)) for one in via if len(one) == _KEY))
        if record.uid in way or len(set(way)) != len(way) or len(way) > HOPS_MAX:
            problem = (
                f"{proxy.name} says that {record.name} is behind {len(via)} proxies: in a circle, or too far"
            )
            raise WireError(
                "relay", problem, f"Let each agent be behind at most {HOPS_MAX} proxies, none twice"
            )

    def claim(self, proxy: Record, record: Record, said: wire.AgentSaid, proves: Callable[[], bool]) -> Claim:
        """Return whether an agent is at a proxy by what this says of it; if it has left it, the proxy is to be told.

        Args:
            proxy: Who says it.
            record: The agent.
            said: What is said.
            proves: Asked whether the agent has signed, at this proxy, what is new here; what it raises goes on.
        """
        if record.via[:1] == (proxy.uid,):
            self._gone.discard((proxy.uid, record.key))
            self._settle(proxy.uid, record.key)
            return Claim.TAKEN
        heard = self.heard_at(said)
        last = record.last_contact if record.via else record.contacted
        slack = SLACK if last is not None and last > self._began else BEFORE
        # Nobody was heard of in times to come: the clock was set back.
        left = last is not None and heard + slack < last <= self._clock.now() + SLACK
        held = self.is_held(proxy, record)
        # What it signed outweighs any word, also that it was heard elsewhere later: what it signed there would be newer.
        if (left or held) and not proves():
            self._settle(proxy.uid, record.key)
            if left:
                self._gone.add((proxy.uid, record.key))
                return Claim.LEFT
            self._claimed.setdefault(proxy.uid, {})[record.key] = False
            self._gone.discard((proxy.uid, record.key))
            return Claim.UNPROVEN
        self._gone.discard((proxy.uid, record.key))
        self._settle(proxy.uid, record.key)
        return Claim.TAKEN

    def is_held(self, proxy: Record, record: Record) -> bool:
        """Return whether an agent is elsewhere, so that a proxy has to prove that it came: it was heard there lately."""
        if record.via[:1] == (proxy.uid,):
            return False
        last, now = record.last_contact if record.via else record.contacted, self._clock.now()
        if last is None or (not record.via and self._nowhere.get(record.key, -1.0) == last):
            return False
        return self._began < last <= now + SLACK and now - last <= OVERDUE * record.promise

    def is_claimed(self, proxy: Record, record: Record) -> bool:
        """Return whether a proxy said, without proof, that an agent came to it."""
        return record.key in self._claimed.get(proxy.uid, ())

    def released(self, proxy: Record) -> list[str]:
        """Return the uids of agents that a proxy claims, and that are not heard of elsewhere any more; of many, some.

        Each is returned once until it is claimed again.
        """
        claimed = self._claimed.get(proxy.uid, {})
        found: list[str] = []
        for key in list(islice(claimed, LOOKED)):
            known, record = claimed.pop(key), self._find(str(uuid.UUID(bytes=key)))
            if record is None:
                continue
            free = not self.is_held(proxy, record)
            claimed[key] = free  # behind all others
            if free and not known:
                found.append(record.uid)
        return found

    def _settle(self, proxy: str, key: bytes) -> None:
        """Take note that nothing is claimed of an agent any more."""
        claimed = self._claimed.get(proxy)
        if claimed is not None:
            claimed.pop(key, None)
            if not claimed:
                del self._claimed[proxy]

    def heard_at(self, said: wire.AgentSaid) -> float:
        """Return when a proxy heard an agent last, in unix seconds, as it says."""
        age = said.age if math.isfinite(said.age) and said.age > 0 and not said.held else 0.0
        return max(0.0, self._clock.now() - age)

    def place(self, proxy: Record, record: Record, said: wire.AgentSaid) -> Relayed:
        """Have an agent be at a proxy, and return its place there."""
        below = tuple(str(uuid.UUID(bytes=one)) for one in said.via[:HOPS_MAX] if len(one) == _KEY)
        self._leave(record, (proxy.uid, *below))
        if record.link is not None:
            record.link.close(1000, "the agent is at a Proxy Manager by now")
        roll = self._rolls.get(proxy.uid) or self.note_presence(proxy, 0, b"")
        relay = record.relay
        if relay is None or relay.roll is not roll:
            former, relay = relay, Relayed(roll, said.index, record.own_promise)
            if former is not None:
                relay.want_state, relay.want_bundle = former.want_state, former.want_bundle
        relay.index, relay.said, relay.held = said.index, self.heard_at(said), said.held
        record.relay, record.address = relay, said.address[:_ADDRESS]
        return relay

    def came(self, record: Record) -> None:
        """Take note that an agent came by itself."""
        self._leave(record, ())

    def met(self, proxy: Record, record: Record) -> None:
        """Take note that an agent has shown itself to a proxy, which may speak of it from now on."""
        self._gone.discard((proxy.uid, record.key))

    def left(self, proxy: Record, records: Iterable[Record]) -> None:
        """Take note that agents are not at a proxy any more."""
        for record in records:
            self._gone.discard((proxy.uid, record.key))
            self._settle(proxy.uid, record.key)
            if record.via[:1] == (proxy.uid,):
                self._depart(record)

    def look(self, uid: str) -> None:
        """Take note that an agent was removed, or shut out, if it was: then it is nowhere."""
        record, known = self._behind.get(uid), self._find(uid)
        if record is not None and (known is not record or shut_out(record) is not None):
            former, key = record.via, record.key
            self._leave(record, ())
            # Who is removed, or shut out, is told as what it is.
            self._gone.discard((former[0], key))
        if known is None:
            key = uuid.UUID(uid).bytes
            self._nowhere.pop(key, None)
            for proxy in list(self._rolls):
                self._gone.discard((proxy, key))
                self._settle(proxy, key)

    def _depart(self, record: Record) -> None:
        """Have an agent be nowhere: where it was it is not any more."""
        self._leave(record, ())
        self._nowhere[record.key] = record.contacted

    def _leave(self, record: Record, via: tuple[str, ...]) -> None:
        """Have an agent be on another way; the proxy that it was at is told."""
        former = record.via
        if former == via:
            return
        self._counts.subtract(former)
        self._counts.update(via)
        for one in former:
            if not self._counts[one]:
                del self._counts[one]  # whoever named it may name others without end
        record.via = via
        self._nowhere.pop(record.key, None)
        if via:
            self._behind[record.uid] = record
        else:
            self._behind.pop(record.uid, None)
        if former[:1] == via[:1]:
            return
        if former:
            self._gone.add((former[0], record.key))
        if record.relay is not None:
            record.contacted = record.last_contact
        if not via:
            record.relay = None
        if former:
            self.moved(record.uid)

    def keep(self, proxies: set[str], records: Iterable[Record]) -> None:
        """Forget what those said that are no proxies any more; their agents are where they come next.

        Args:
            proxies: uids of those that are.
            records: All agents; looked through only where somebody is none any more.
        """
        lost = self._rolls.keys() - proxies
        if not lost:
            return
        for gone in lost:
            del self._rolls[gone]
            self._statuses.pop(gone, None)
            self._claimed.pop(gone, None)
        for record in records:
            if record.via and record.via[0] in lost:
                self._depart(record)
        self._gone = {one for one in self._gone if one[0] not in lost}
