"""When a Proxy Manager exchanges with what stands above it, in each of the four cells, and by which way.

The agent of the same machine decides who dials and whether a link is held; this only follows it.

Rules:

1. Where this end dials it asks by requests of its own, over the way that the agent has in use: in push at once when
   either end has something to say, and with each heartbeat; in pull after each round of the agent's, and at once, but
   not more often than each second, while somebody below waits for an answer.
2. Where it is visited it answers.  Over a link that the Manager opened it says that there is something to relay.
3. What failed is tried again after a pause that grows, or once the Manager answered the agent; one that does not know
   relaying is asked again in an hour.
4. Who is refused, and again a minute later, is no Proxy Manager any more: agents below are better off elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any, Final, Protocol

from popham.clock import Clock
from popham.errors import LinkError, PophamError
from popham.link.backoff import Backoff
from popham.link.waits import wait_for_first
from popham.model.communication import CommunicationSettings, Mode
from popham.net.seam import Dialer
from popham.opamp.codec import custom
from popham.opamp.relay import RELAY_LIMIT, RELAY_PATH
from popham.opamp.schema.opamp.v1.opamp_pb2 import CustomMessage
from popham.opamp.schema.popham.v1.popham_pb2 import Wake

_log = logging.getLogger(__name__)
GATHER: Final = 0.002
"""Seconds between two exchanges that are made only because there are news from below, so that one says more of them; an
exchange that the Manager wants waits for nothing, and while one is made more gathers anyway."""
CALLS: Final = 1.0
"""Seconds between two exchanges that are made only because somebody waits for an answer."""
WAKES: Final = 0.05
"""Seconds between two words to the Manager that there is something to relay."""
SOON: Final = 0.001
"""Seconds that are not waited for."""
UNKNOWN: Final = 3600.0
"""Seconds until a Manager that does not know relaying is asked again."""
IN_A_ROW: Final = 256
"""Exchanges of one pass; then it is looked whether this end is still to dial."""
REFUSED: Final = 60.0
"""Seconds after a refusal at which another one is believed to be meant."""
_NOT_KNOWN: Final = 404
_DENIED: Final = {401, 403}
_NO_PROXY: Final = "grant.not_permitted"
OLDER: Final = "the Manager does not know relaying: it is older than this Proxy Manager; update it"

NO_PROXY: Final = (
    "the Manager refuses what is relayed: no definition of kind Proxy is bound to this machine any more; apply one, and"
    " enroll this machine anew by 'popham token create --proxy NAME', or stop it"
)


class Relayed(Protocol):
    """This end of the exchange; :class:`popham.proxy.uplink.Uplink` is one.

    Attributes:
        news: Set when there is something to say at once.
    """

    news: asyncio.Event

    @property
    def calling(self) -> bool:
        """Whether somebody waits for an answer."""
        ...

    def up(self) -> bytes:
        """Return the next message."""
        ...

    async def hear(self, down: bytes) -> bool:
        """Take the other end's message; True if more is to be exchanged at once. Raises PophamError."""
        ...

    def lost(self) -> None:
        """Take note that what was said last may not have arrived."""
        ...


class Contact(Protocol):
    """How the agent is in touch; :class:`popham.link.driver.Driver` knows."""

    @property
    def dials(self) -> bool:
        """Whether this end dials now."""
        ...

    @property
    def contact(self) -> float:
        """Time of the loop at which the Manager answered the agent last."""
        ...

    @property
    def held(self) -> bool:
        """Whether a link is held, whichever end opened it."""
        ...

    async def say(self, message: bytes) -> None:
        """Say something over the link that is held. Raises LinkError if none is."""
        ...


class Speaks(Protocol):
    """The agent's end of its session; :class:`popham.agent.end.AgentEnd` is one."""

    fallback: str
    retry_window: float

    @property
    def settings(self) -> CommunicationSettings:
        """The communication settings in force."""
        ...

    def beside(self, message: CustomMessage) -> bytes:
        """Return a message that says this alone."""
        ...


class Driving:
    """Makes the exchanges of one Proxy Manager.

    Attributes:
        problem: Why the last exchange failed; empty if it did not.
        at: Wall time of the last one that worked, in unix seconds; None before the first.
        count: How many worked, since the start.
        on_refused: Told that those above refuse what is relayed, and mean it. Must not wait.
    """

    def __init__(
        self,
        uplink: Relayed,
        contact: Contact,
        end: Speaks,
        dial: Callable[[], Dialer],
        *,
        clock: Clock,
        draw: Callable[[], float],
    ) -> None:
        """Keep what is needed; :meth:`run` begins.

        Args:
            uplink: This end of the exchange.
            contact: Knows who dials, and whether a link is held.
            end: The agent's end of its session.
            dial: Returns the way in use.
            clock: Wall time, for people.
            draw: Random number in [0, 1), for pauses after a failure.
        """
        self._uplink = uplink
        self._contact = contact
        self._end = end
        self._dial = dial
        self._clock = clock
        self._backoff = Backoff(draw)
        self._turn = asyncio.Lock()
        self._look = asyncio.Event()
        self._stirred = False  # there are news that were not exchanged yet
        self._asked = (
            True  # an exchange is wanted now: at the start, after a round, and when the Manager says so
        )
        self._last = -math.inf  # time of the loop: the last exchange, whatever came of it
        self._woke = -math.inf  # likewise: the last word that there is something to relay
        self._after = -math.inf  # time of the loop before which none is made
        self._firm = False  # whether a round changes nothing about that
        self._refused = math.inf  # time of the loop: the first refusal since an exchange worked
        self.on_refused: Callable[[], None] = lambda: None
        self.problem = ""
        self.at: float | None = None
        self.count = 0

    def rounded(self) -> None:
        """Take note that the agent made a round that worked: its way works, too."""
        if not self._firm:
            self._after = -math.inf
        self.woken()

    def woken(self) -> None:
        """Take note that the Manager has something to relay."""
        self._asked = True
        self._look.set()

    async def relay(self, body: bytes) -> bytes:
        """Answer what a visitor relays. Raises PophamError for what cannot be read."""
        async with self._turn:
            self._uplink.news.clear()
            self._stirred = self._asked = False
            try:
                await self._uplink.hear(body)
            except BaseException:
                self._uplink.lost()
                raise
            answer = self._uplink.up()
            self._last = asyncio.get_running_loop().time()
            self._worked()
            return answer

    async def run(self) -> None:
        """Exchange whenever it is time, until cancelled."""
        while True:
            await self._wait()
            if self._contact.dials:
                if not self._asked:
                    # News that come after a while of nothing wait for what came with them, and not longer.
                    now = asyncio.get_running_loop().time()
                    await asyncio.sleep(max(0.0, self._last + GATHER - now))
                await self._pass()
            else:
                await self._wake()

    def describe(self) -> dict[str, Any]:
        """Return how the exchange stands; times are unix seconds."""
        return {"last_exchange": self.at, "exchanges": self.count, "problem": self.problem}

    # When.

    async def _wait(self) -> None:
        """Return when there is an exchange to be made, or to be asked for."""
        news = self._uplink.news
        while True:
            self._look.clear()
            if news.is_set():
                news.clear()
                self._stirred = True
            wait = self._due() - asyncio.get_running_loop().time()
            if wait <= SOON:
                return
            # Who dials may change without a word; a heartbeat is often enough to look.
            least = CALLS if self.problem else self._end.settings.heartbeat
            await wait_for_first(min(wait, least), self._look, news)

    def _due(self) -> float:
        """Return the time of the loop at which something is to be done; infinity if nothing is."""
        if not self._contact.dials:
            return self._woke + WAKES if self._stirred and self._contact.held else math.inf
        if self._asked:
            # Whoever answers the agent may answer this, too.
            answers = not self._firm and self._contact.contact > self._last
            return min(self._after, self._last + CALLS) if answers else self._after
        settings = self._end.settings
        if settings.mode is Mode.PUSH and not self._end.fallback:
            due = -math.inf if self._stirred else self._last + settings.heartbeat
        else:
            due = math.inf
        if self._uplink.calling:
            due = min(due, self._last + CALLS)
        return max(due, self._after)

    # What.

    async def _wake(self) -> None:
        """Say over the link that there is something to relay."""
        self._woke = asyncio.get_running_loop().time()
        self._stirred = False
        try:
            await self._contact.say(self._end.beside(custom(Wake())))
        except LinkError as error:
            # Whoever comes next hears it without that word.
            _log.debug("the Manager was not told that there is something to relay: %s", error)

    async def _pass(self) -> None:
        """Exchange until neither end has more to say."""
        self._asked = self._stirred = False
        for _ in range(IN_A_ROW):
            try:
                more = await self._exchange()
            except PophamError as error:
                self._failed(error)
                return
            self._worked()
            if not more:
                return
        self._asked = True

    async def _exchange(self) -> bool:
        async with self._turn:
            self._uplink.news.clear()
            try:
                down = await self._dial().upload(RELAY_PATH, self._uplink.up(), limit=RELAY_LIMIT)
                return await self._uplink.hear(down)
            except BaseException:
                self._uplink.lost()
                raise
            finally:
                self._last = asyncio.get_running_loop().time()

    def _worked(self) -> None:
        self.problem, self.at = "", self._clock.now()
        self.count += 1
        self._firm, self._after, self._refused = False, -math.inf, math.inf
        self._backoff.succeeded()

    def _failed(self, error: PophamError) -> None:
        """Stay away for a while; say why, once for each reason."""
        status, now = error.status if isinstance(error, LinkError) else 0, asyncio.get_running_loop().time()
        unknown = status == _NOT_KNOWN
        said = OLDER if unknown else NO_PROXY if _NO_PROXY in str(error) else str(error)
        if said != self.problem:
            _log.warning("nothing could be relayed: %s", said)
        self.problem = said
        self._asked = True
        self._backoff.window, self._backoff.heartbeat = self._end.retry_window, self._end.settings.heartbeat
        asked = error.retry_after if isinstance(error, LinkError) else None
        wait = UNKNOWN if unknown else self._backoff.failed(asked)
        self._firm = unknown or asked is not None
        self._after = now + wait
        if status in _DENIED:
            self._refused = min(self._refused, now)
            if now - self._refused >= REFUSED:
                self.on_refused()
