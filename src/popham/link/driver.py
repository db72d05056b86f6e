"""Drives a session over a transport, in each of the four cells.

The driver is the only loop.  It knows when (mode) and who opens (dialer); the
end it drives knows neither.  In every cell the same three things happen: a
report is said, a directive is heard, an outcome is said if there is one.

Rules:

1. A held link is a round that does not end: what is sent on it at once is what
   the next heartbeat would have brought.
2. A change of mode is make before break: the held link is let go only after a
   round by the other way succeeded.
3. Only a successful round ends a row of failures.
4. Where a held link cannot be opened although rounds work, because upstream has
   no room or something in between lets none through, the agent pulls by itself,
   says why, and asks for the link again when it was told to, or after a heartbeat.
5. A change of server is make before break too: over a link the first message has
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
from popham.link.waits import Waits
from popham.link.ways import Ways
from popham.model.communication import CommunicationSettings, Mode, Preset
from popham.model.communication import Dialer as Dials
from popham.net.seam import FULL, Dialer, HeldConnection
from popham.opamp.codec import decode_frame, encode_frame
from popham.opamp.wire import HELD_MESSAGE_LIMIT

_Found = TypeVar("_Found")
MAX_EXCHANGES = 8
"""Exchanges of one round; what is left waits for the next."""
MOVE_AGAIN = 60.0
"""Seconds until a way that did not work is tried again, while a link is held by the old one."""
ANSWER_TIME = 15.0
"""Seconds in which a server that is changed to has to answer the first message on a held link."""
SETTLED = 2.0
"""Seconds after a message before a link is opened beside: upstream counts the one on which it heard last."""
_ROUNDS_MAY_WORK = frozenset({"link.denied", "link.unexpected", "link.status", "link.closed"})
"""Why a held link was not opened, where it need not mean that nobody answers at all."""


class Driver:
    """Keeps one agent in touch with its upstream, where the agent dials."""

    def __init__(
        self,
        end: End,
        ways: Ways,
        *,
        draw: Callable[[], float],
        said: Callable[[str, float | None], None] = lambda _text, _when: None,
    ) -> None:
        """Keep what is needed; nothing starts before :meth:`run`.

        Args:
            end: The agent's end of the session.
            ways: The transports to its upstreams.
            draw: Random number in [0, 1).
            said: Told what happens, as a sentence, and in how many seconds the
                next contact is due; for the machine's own status page.
        """
        self._end = end
        self._ways = ways
        self._backoff = Backoff(draw)
        self._pace = Pace(end.uid, draw)
        self._said = said
        self._moved_by_round = False
        self._tried: CommunicationSettings | None = None
        self._again = 0.0
        self._asks_again = self._due = -math.inf  # times of the loop, while there is no link to be had
        self._spoke = -math.inf  # time of the loop: the last message on the held link
        self._contact = -math.inf  # time of the loop: upstream answered
        self._heard = False
        self._waiting, self._pausing = Waits(), Waits(once=True)
        self._stopping = asyncio.Event()
        self._look_again = asyncio.Event()

    def stop(self) -> None:
        """Ask :meth:`run` to say goodbye and return."""
        self._stopping.set()
        self._look_again.set()
        self._end.news.set()

    async def run(self) -> None:
        """Keep in touch until :meth:`stop`; no failure of a link ends it."""
        while not self._stopping.is_set():
            try:
                if self._end.settings.dialer is Dials.MANAGER:
                    await self._be_visited()
                elif self._end.settings.mode is Mode.PUSH:
                    await (self._make_do() if self.link_wait > 0 else self._hold())
                else:
                    await self._pull()
            except PophamError as error:
                self._end.lost()
                wait = self._after(error)
                self._said(str(error), wait)
                asked = isinstance(error, LinkError) and error.retry_after is not None
                # News waits too, or a broken link would be dialled in a loop.
                await self._pausing.wait(self._stopping, wait, fixed=asked)

    def hurry(self, *, network: bool, since: float) -> None:
        """Have the next round of pull come sooner, because something happened around the machine.

        Args:
            network: Whether the network changed; that cuts a wait after a failure short, once,
                unless upstream asked for it.
            since: Time of the loop at which it happened; nothing is done if there was a round since.
        """
        if self._contact >= since:
            return
        settings = self._end.settings
        if network and settings.accelerated:
            self._pausing.shorten(lambda _left: self._pace.draw(settings))
        due = self._waiting.shorten(lambda left: self._pace.hasten(left, settings, self._end.stretch))
        self._due = min(self._due, due)

    def _after(self, error: PophamError) -> float:
        self._backoff.window = self._end.retry_window
        asked = error.retry_after if isinstance(error, LinkError) else None
        most = self._ways.failed(refused=asked is not None)
        if asked is None and most < math.inf:
            return self._backoff.elsewhere(most)
        return self._backoff.failed(asked)

    def _worked(self) -> None:
        """Take note that upstream answered."""
        self._contact = asyncio.get_running_loop().time()
        self._backoff.succeeded()
        self._pausing.renew()

    def _wait_after_round(self) -> float:
        stirred = self._end.stirred()
        return self._pace.after_round(self._end.settings, self._end.stretch, stirred=stirred)

    # Pull: a round per heartbeat.

    async def _pull(self) -> None:
        while self._end.settings.preset is Preset.PULL_BY_HEARTBEAT and not self._stopping.is_set():
            if self._moved_by_round:
                self._moved_by_round = False
            else:
                self._end.news.clear()
                await self._round()
            wait = self._wait_after_round()
            self._said("", wait)
            if self._end.settings.preset is Preset.PULL_BY_HEARTBEAT:
                await self._waiting.wait(self._end.news, wait)
                self._pace.passed()
        if self._stopping.is_set():
            await self._leave(self._ways.dial().exchange)

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
            except (PophamError, TimeoutError, StopAsyncIteration) as error:
                self._end.lost()
                self._ways.tried(works=False)
                self._said(f"the server in use stays, because another one failed: {error}", None)
            else:
                self._ways.tried(works=True)
                return found
        return None

    async def _talk(self, exchange: Callable[[bytes], Awaitable[bytes]], worked: Callable[[], None]) -> None:
        """Report, hear, and say what came of it; at most :data:`MAX_EXCHANGES` times."""
        message = self._end.report(force=True)
        for number in range(MAX_EXCHANGES):
            if message is None:
                break
            await self._end.receive(await exchange(message))
            if number == 0:
                worked()
            message = self._end.report(force=False)
        if message is None and not self._stopping.is_set():
            self._end.news.clear()  # what came up on the way was said
        self._worked()

    async def _leave(self, send: Callable[[bytes], Awaitable[object]]) -> None:
        try:
            async with asyncio.timeout(2.0):
                await send(self._end.goodbye())
        except (LinkError, TimeoutError):
            self._said("left without goodbye", None)

    # Push: a held link.

    async def _hold(self) -> None:
        self._heard = False
        try:
            link = await self._try_better(lambda better: better.hold())
            link = link or await self._ways.dial().hold()
            self._asks_again = self._due = -math.inf
            self._end.opened()
            self._tried, self._moved_by_round = None, False
            while link is not None:
                try:
                    other = await self._keep(link)
                finally:
                    await link.close()
                link = other
        except LinkError as error:
            await self._do_without(error)
            return
        self._end.lost()

    async def _do_without(self, error: LinkError) -> None:
        """Pull from now on, because no link can be had although rounds work; raise if they do not either."""
        if error.code != FULL and (self._heard or error.retry_after or error.code not in _ROUNDS_MAY_WORK):
            raise error
        # Who has no link already pulls, and only asked for one again.
        if error.code != FULL and self._asks_again == -math.inf:
            self._end.lost()
            self._end.fall_back(error.code)
            try:
                await self._round()
            except PophamError:
                self._end.fall_back("")
                raise
            self._due = asyncio.get_running_loop().time() + self._wait_after_round()
            self._said(f"it pulls, because it cannot hold a link: {error}", None)
        wait = self._backoff.failed(error.retry_after or self._end.settings.heartbeat)
        self._asks_again = asyncio.get_running_loop().time() + wait
        self._end.fall_back(error.code)

    @property
    def link_wait(self) -> float:
        """Seconds until a held link is asked for again, after there was no room for one; else 0 or less."""
        return self._asks_again - asyncio.get_running_loop().time()

    async def _make_do(self) -> None:
        """Pull until a held link is asked for again: a round at once, and then one per heartbeat."""
        now = asyncio.get_running_loop().time
        while self._end.settings.preset is Preset.PUSH and not self._stopping.is_set():
            if now() >= self._due or self._end.news.is_set():
                self._end.news.clear()
                await self._round()
                wait = self._wait_after_round()
                self._pace.passed()
                self._due = now() + wait
                self._said("", wait)
            if self.link_wait <= 0:
                return
            await self._waiting.wait(self._end.news, min(self._due - now(), self.link_wait))
        self._asks_again = self._due = -math.inf
        self._end.fall_back("")
        if self._stopping.is_set():
            await self._leave(self._ways.dial().exchange)

    async def _keep(self, link: HeldConnection) -> HeldConnection | None:
        """Speak and listen until the link ends, or is no longer wanted; return the one that takes its place."""
        held = self._end.settings
        await self._send(link, self._end.report(force=True))
        listening = asyncio.ensure_future(self._listen(link))
        try:
            while not listening.done():
                if self._stopping.is_set():
                    await self._leave(lambda data: self._send(link, data))
                    return None
                if self._end.settings != held and await self._moved(held):
                    return None
                other = await self._change_over()
                if other is not None:
                    return other
                await self._speak(link, listening)
            await listening
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        return None

    async def _change_over(self) -> HeldConnection | None:
        """Return a link to a server that is preferred, once it answered on it; None if there is none."""
        return None if self._until_change_over() > 0 else await self._try_better(self._open_beside)

    async def _open_beside(self, better: Dialer) -> HeldConnection:
        link = await better.hold()
        try:
            # The old link is still listened to; what it brings is obeyed, and said over the new one.
            self._end.opened()
            await self._send(link, self._end.report(force=True))
            async with asyncio.timeout(ANSWER_TIME):
                await self._end.receive(decode_frame(await anext(aiter(link))))
        except BaseException:
            self._end.opened()
            await link.close()
            raise
        return link

    def _until_change_over(self) -> float:
        if self._end.settings.dialer is Dials.MANAGER:
            return math.inf
        settled = self._spoke + min(SETTLED, self._end.settings.heartbeat / 4)
        return max(self._ways.until_better, settled - asyncio.get_running_loop().time())

    async def _moved(self, held: CommunicationSettings) -> bool:
        """Return whether the link's time is over: the settings ask for another way, and that works."""
        settings, now = self._end.settings, asyncio.get_running_loop().time()
        if settings.preset is held.preset or (settings == self._tried and now < self._again):
            return False
        if settings.preset is Preset.PULL_BY_HEARTBEAT:
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
        if not done and wait >= beat:
            self._pace.passed()
            await self._send(link, self._end.report(force=True))

    # Where the Manager dials, this end only answers.

    async def visited(self, body: bytes) -> bytes:
        """Answer one exchange of a visit: do what ``body`` says, then report."""
        await self._end.receive(body)
        self._look_again.set()
        return self._end.report(force=True) or b""

    async def serve(self, link: HeldConnection) -> None:
        """Keep a link that the Manager opened, until it ends."""
        self._end.opened()
        try:
            await self._keep(link)
        except PophamError as error:
            self._said(str(error), None)
        finally:
            await link.close()
            self._end.lost()
            self._look_again.set()

    async def _be_visited(self) -> None:
        while self._end.settings.dialer is Dials.MANAGER and not self._stopping.is_set():
            self._look_again.clear()
            await self._look_again.wait()

    async def _listen(self, link: HeldConnection) -> None:
        async for data in link:
            await self._end.receive(decode_frame(data))
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
        if len(message) >= HELD_MESSAGE_LIMIT and self._end.settings.dialer is Dials.AGENT:
            await self._end.receive(await self._ways.dial().exchange(message))
            return
        await link.send(encode_frame(message))
