"""Rounds, and held links: what is said and heard over a connection, whichever end opened it.

Rules:

1. A held link is a round that does not end: what is sent on it at once is what
   the next heartbeat would have brought.
2. One link speaks.  A newer one takes its place with its first answer, never before; the older one
   then ends without a word.
3. A change of server is make before break: over a link the first message has
   to be answered by the new one before the old one is let go.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from popham.errors import LinkError, PophamError
from popham.link.backoff import Backoff
from popham.link.end import End
from popham.link.pace import Pace
from popham.link.visits import Visits
from popham.link.waits import Waits
from popham.link.ways import Ways
from popham.model.communication import CommunicationSettings, Mode
from popham.model.communication import Dialer as Who
from popham.net.seam import Dialer, HeldConnection
from popham.opamp.codec import decode_frame, encode_frame
from popham.opamp.wire import HELD_MESSAGE_LIMIT

_Found = TypeVar("_Found")
MAX_EXCHANGES = 8
"""Exchanges of one round; what is left waits for the next."""
MOVE_AGAIN = 60.0
"""Seconds until a way that did not work is tried again, while a link is held by the old one."""
ANSWER_TIME = 15.0
"""Seconds in which whoever is changed to has to answer the first message on a held link."""
SETTLED = 2.0
"""Seconds after a message before a link is opened beside: upstream counts the one on which it heard last."""


class Talk:
    """Makes rounds and keeps links, for the driver, which decides when."""

    def __init__(
        self,
        end: End,
        ways: Ways,
        *,
        draw: Callable[[], float],
        said: Callable[[str, float | None], None],
        rounded: Callable[[], None],
    ) -> None:
        """Keep what is needed; arguments as those of :class:`popham.link.driver.Driver`."""
        self._end = end
        self._ways = ways
        self._backoff = Backoff(draw)
        self._pace = Pace(end.uid, draw)
        self._said = said
        self._rounded = rounded
        self._visits = Visits()
        self._moved_by_round = False
        self._tried: CommunicationSettings | None = None
        self._again = 0.0
        self._spoke = -math.inf  # time of the loop: the last message on the held link
        self._contact = -math.inf  # time of the loop: upstream answered
        self._heard = False
        self._speaker: HeldConnection | None = None
        self._served: HeldConnection | None = None  # the link that upstream opened
        self._waiting, self._pausing = Waits(), Waits(once=True)
        self._stopping = asyncio.Event()
        self._look_again = asyncio.Event()
        self._decided = asyncio.Event()  # unset while a link of upstream's may be about to take over
        self._decided.set()

    @property
    def dials(self) -> bool:
        """Whether this end dials now, by its settings, or because it is not visited."""
        now, serving = asyncio.get_running_loop().time(), self._end.serving
        return self._visits.left(self._end.settings, now, serving=serving) <= 0

    @property
    def contact(self) -> float:
        """Time of the loop at which upstream answered last; minus infinity before the first time."""
        return self._contact

    @property
    def held(self) -> bool:
        """Whether a link is held, whichever end opened it."""
        return self._speaker is not None

    @property
    def is_served(self) -> bool:
        """Whether upstream opened the link that is held."""
        return self._speaker is not None and self._speaker is self._served

    async def say(self, message: bytes) -> None:
        """Say something beside the reports, over the link that is held. Raises LinkError if none is."""
        if self._speaker is None:
            raise LinkError("closed", "no link is held")
        await self._speaker.send(encode_frame(message))

    def _note_unvisited(self) -> None:
        now, serving = asyncio.get_running_loop().time(), self._end.serving
        self._end.note_unvisited(self._visits.why(self._end.settings, now, serving=serving))

    def _note_dialled(self) -> None:
        """Take note that this end's own way worked."""
        if self._visits.dialled():
            self._end.news.set()
        self._note_unvisited()

    def _let_go(self) -> None:
        """Let go of the link that upstream opened, where this end is to dial, and that works."""
        if self.is_served and self._end.settings.dialer is not Who.MANAGER:
            self._speaker = None
            self._end.news.set()

    def _worked(self) -> None:
        """Take note that upstream answered."""
        self._contact = asyncio.get_running_loop().time()
        self._backoff.succeeded()
        self._pausing.renew()

    def _wait_after_round(self) -> float:
        stirred = self._end.stirred()
        return self._pace.after_round(self._end.settings, self._end.stretch, stirred=stirred)

    async def _round(self) -> None:
        """Make a round by a way that is preferred, if it is time to try one; else by the one in use."""

        async def talk(better: Dialer) -> bool:
            await self._talk(better.exchange, lambda: self._ways.tried(works=True))
            return True

        if not await self._try_better(talk):
            await self._talk(self._ways.dial().exchange, self._ways.succeeded)

    async def _try_better(self, attempt: Callable[[Dialer], Awaitable[_Found]]) -> _Found | None:
        """Return what ``attempt`` returns by a way that is preferred; None if there is none, or it fails."""
        while (better := self._ways.better()) is not None:
            try:
                found = await attempt(better)
            except PophamError as error:
                self._end.lost()
                self._ways.tried(works=False)
                self._said(f"the server in use stays, because another one failed: {error}", None)
            else:
                self._ways.tried(works=True)
                return found
        return None

    async def _talk(self, exchange: Callable[[bytes], Awaitable[bytes]], worked: Callable[[], None]) -> None:
        """Report, hear, and say what came of it; at most :data:`MAX_EXCHANGES` times."""
        self._note_unvisited()
        message = self._end.report(force=True)
        for number in range(MAX_EXCHANGES):
            if message is None:
                break
            await self._end.receive(await exchange(message))
            if number == 0:
                worked()
            if self._end.take_change():
                exchange = self._ways.dial().exchange  # a connection of the former key is of no use any more
            self._note_dialled()
            await self._end.rest()
            message = self._end.report(force=False)
        if message is None and not self._stopping.is_set():
            self._end.news.clear()  # what came up on the way was said
        self._let_go()
        self._worked()
        self._rounded()

    async def _leave(self, send: Callable[[bytes], Awaitable[object]]) -> None:
        try:
            async with asyncio.timeout(2.0):
                await send(self._end.goodbye())
        except (LinkError, TimeoutError):
            self._said("left without goodbye", None)

    # A held link.

    async def _keep(self, link: HeldConnection, *, greeted: bool = False) -> HeldConnection | None:
        """Speak and listen until the link ends, or is no longer wanted; return the one that takes its place."""
        held = self._end.settings
        self._speaker = link
        if not greeted:
            await self._send(link, self._end.report(force=True))
        listening = asyncio.ensure_future(self._listen(link))
        try:
            while not listening.done():
                if self._speaker is not link:
                    return None
                if self._stopping.is_set():
                    await self._leave(lambda data: self._send(link, data))
                    return None
                if link is not self._served and (not self.dials or await self._moved(held)):
                    return None
                if self._end.take_change():
                    # What is said over it from now on is not believed any more.
                    return None if link is self._served else await self._open_beside(self._ways.dial())
                other = await self._change_over()
                if other is not None:
                    return other
                await self._speak(link, listening)
            await listening
        finally:
            if self._speaker is link:
                self._speaker = None
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        return None

    async def _greet(self, link: HeldConnection) -> None:
        """Report over a link beside another one, and wait until that is answered."""
        try:
            # The old link is still listened to; what it brings is obeyed, and said over the new one.
            self._end.opened()
            await self._send(link, self._end.report(force=True))
            async with asyncio.timeout(ANSWER_TIME):
                await self._end.receive(decode_frame(await anext(aiter(link))))
        except BaseException as error:
            self._end.opened()
            await link.close()
            if isinstance(error, TimeoutError):
                raise LinkError("timeout", f"no answer on the new link within {ANSWER_TIME:g} s") from error
            if isinstance(error, StopAsyncIteration):
                raise LinkError("closed", "the new link was closed before it was answered on") from error
            raise

    async def _change_over(self) -> HeldConnection | None:
        """Return a link to a server that is preferred, once it answered on it; None if there is none."""
        return None if self._until_change_over() > 0 else await self._try_better(self._open_beside)

    async def _open_beside(self, better: Dialer) -> HeldConnection:
        link = await better.hold()
        await self._greet(link)
        self._note_dialled()
        self._let_go()
        return link

    def _until_change_over(self) -> float:
        if self._speaker is self._served:
            return math.inf
        settled = self._spoke + min(SETTLED, self._end.settings.heartbeat / 4)
        return max(self._ways.until_better, settled - asyncio.get_running_loop().time())

    async def _moved(self, held: CommunicationSettings) -> bool:
        """Return whether the link's time is over: the settings ask for another way, and that works."""
        settings, now = self._end.settings, asyncio.get_running_loop().time()
        if settings.mode is held.mode or (settings == self._tried and now < self._again):
            return False
        if settings.mode is Mode.PULL:
            try:
                await self._round()
                self._moved_by_round = True
            except LinkError as error:
                self._end.lost()  # what that round said is said again, over the link
                self._tried, self._again = settings, now + MOVE_AGAIN
                self._said(f"the held link stays, because a round by heartbeat failed: {error}", None)
                return False
        return True

    async def _speak(self, link: HeldConnection, listening: asyncio.Future[None]) -> None:
        """Say what is new, else wait for news or the heartbeat, whichever is first."""
        self._end.news.clear()
        self._note_unvisited()
        message = self._end.report(force=False)
        if message is not None:
            await self._send(link, message)
            return
        now = asyncio.get_running_loop().time()
        beat = self._spoke + self._pace.heartbeat(self._end.settings, self._end.stretch) - now
        again = self._again - now if self._end.settings == self._tried else math.inf
        wait = min(beat, self._until_change_over(), max(again, 0.0))
        self._said("", beat)
        news: asyncio.Future[Any] = asyncio.ensure_future(self._end.news.wait())
        ends: set[asyncio.Future[Any]] = {news, listening}
        try:
            done, _ = await asyncio.wait(ends, timeout=max(wait, 0.0), return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            await asyncio.gather(news, return_exceptions=True)
        if not done and wait >= beat and self._speaker is link:
            self._pace.passed()
            await self._send(link, self._end.report(force=True))

    async def _listen(self, link: HeldConnection) -> None:
        async for data in link:
            await self._end.receive(decode_frame(data))
            if link is self._served:
                self._visits.note(asyncio.get_running_loop().time())
                self._look_again.set()
            else:
                if self._speaker is link:
                    self._note_dialled()
                if not self._heard:
                    self._heard = True
                    self._ways.succeeded()
            self._worked()
        raise LinkError("closed", "the link was closed by the other end")

    async def _send(self, link: HeldConnection, message: bytes | None) -> None:
        """Send on the link; what is too large for it goes as a request of this end, where it dials."""
        if message is None:
            return
        self._spoke = asyncio.get_running_loop().time()
        if len(message) >= HELD_MESSAGE_LIMIT and link is not self._served:
            await self._end.receive(await self._ways.dial().exchange(message))
            return
        await link.send(encode_frame(message))
