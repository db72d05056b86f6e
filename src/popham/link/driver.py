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
4. Where upstream has no room for a held link the agent pulls by itself, and
   asks for the link again when it was told to.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from popham.errors import LinkError, PophamError
from popham.link.backoff import Backoff
from popham.link.cadence import phase_of, wait_until_next
from popham.model.communication import CommunicationSettings, Mode, Preset
from popham.model.communication import Dialer as Dials
from popham.net.seam import FULL, Dialer, HeldConnection
from popham.opamp.codec import decode_frame, encode_frame
from popham.opamp.wire import HELD_MESSAGE_LIMIT

MAX_EXCHANGES = 8
"""Exchanges of one round; what is left waits for the next."""


class End(Protocol):
    """The downstream end that a driver drives; all messages are bare protobuf.

    Attributes:
        news: Set by the end when it has something to say, or wants a round now.
    """

    news: asyncio.Event

    @property
    def uid(self) -> bytes:
        """instance_uid, 16 bytes."""
        ...

    @property
    def settings(self) -> CommunicationSettings:
        """The communication settings in force."""
        ...

    @property
    def retry_window(self) -> float:
        """Seconds from which upstream wants the first retry drawn; 0 while it has named none."""
        ...

    @property
    def stretch(self) -> float:
        """Seconds by which upstream wants the next round later, within bounds."""
        ...

    def opened(self) -> None:
        """Take note of a new held link."""
        ...

    def fall_back(self, code: str) -> None:
        """Take note that this end pulls instead of holding a link, and why; empty if it does not."""
        ...

    def lost(self) -> None:
        """Take note that nothing said and unanswered may have arrived."""
        ...

    def report(self, *, force: bool) -> bytes | None:
        """Return the next message; None if there is nothing new and ``force`` is False."""
        ...

    async def receive(self, data: bytes) -> None:
        """Take one message from upstream, and do what it says.

        Raises:
            PophamError: It is malformed or cannot be believed; the link is then of no use.
            LinkError: What it names could not be fetched, or it asks to stay away.
        """
        ...

    def goodbye(self) -> bytes:
        """Return the last message of all."""
        ...


class Driver:
    """Keeps one agent in touch with its upstream, where the agent dials."""

    def __init__(
        self,
        end: End,
        dialer: Callable[[], Dialer],
        *,
        draw: Callable[[], float],
        said: Callable[[str, float | None], None] = lambda _text, _when: None,
    ) -> None:
        """Keep what is needed; nothing starts before :meth:`run`.

        Args:
            end: The agent's end of the session.
            dialer: Returns the transport to the upstream of choice; called before
                each attempt, and told of failures by its own exceptions.
            draw: Random number in [0, 1).
            said: Told what happens, as a sentence, and in how many seconds the
                next contact is due; for the machine's own status page.
        """
        self._end = end
        self._dialer = dialer
        self._backoff = Backoff(draw)
        self._phase = phase_of(end.uid)
        self._said = said
        self._rounds = 0
        self._paced: CommunicationSettings | None = None
        self._asks_again = self._due = -math.inf  # times of the loop, while there is no room for a link
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
                await self._pause(wait)

    def _after(self, error: PophamError) -> float:
        self._backoff.window = self._end.retry_window
        return self._backoff.failed(error.retry_after if isinstance(error, LinkError) else None)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless told to stop; news waits too, or a broken link would be dialled in a loop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _next_wait(self) -> float:
        settings = self._end.settings
        if settings != self._paced:
            self._paced, self._rounds = settings, 0
        rounds = self._rounds + 1
        wait = wait_until_next(settings.heartbeat, settings.window, rounds=rounds, phase=self._phase)
        return wait + self._end.stretch

    # Pull: a round per heartbeat.

    async def _pull(self) -> None:
        while self._end.settings.preset is Preset.PULL_BY_HEARTBEAT and not self._stopping.is_set():
            self._end.news.clear()
            await self._round()
            wait = self._next_wait()
            self._said("", wait)
            if self._end.settings.preset is Preset.PULL_BY_HEARTBEAT:
                await self._wait_for_news(wait)
                self._rounds += 1
        if self._stopping.is_set():
            await self._leave(self._dialer().exchange)

    async def _round(self) -> None:
        """Report, hear, and say what came of it; at most :data:`MAX_EXCHANGES` times."""
        dialer = self._dialer()
        message = self._end.report(force=True)
        for _ in range(MAX_EXCHANGES):
            if message is None:
                break
            await self._end.receive(await dialer.exchange(message))
            message = self._end.report(force=False)
        self._backoff.succeeded()

    async def _wait_for_news(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._end.news.wait()
        except TimeoutError:
            return

    async def _leave(self, send: Callable[[bytes], Awaitable[object]]) -> None:
        try:
            async with asyncio.timeout(2.0):
                await send(self._end.goodbye())
        except (LinkError, TimeoutError):
            self._said("left without goodbye", None)

    # Push: a held link.

    async def _hold(self) -> None:
        try:
            link = await self._dialer().hold()
        except LinkError as error:
            if error.code != FULL:
                raise
            wait = self._backoff.failed(error.retry_after or self._end.settings.heartbeat)
            self._asks_again = asyncio.get_running_loop().time() + wait
            self._end.fall_back(error.code)
            return
        self._asks_again = self._due = -math.inf
        self._end.opened()
        try:
            await self._keep(link)
        finally:
            await link.close()
        self._end.lost()

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
                wait = self._next_wait()
                self._rounds += 1
                self._due = now() + wait
                self._said("", wait)
            wait = min(self._due - now(), self.link_wait)
            if self.link_wait <= 0:
                return
            await self._wait_for_news(wait)
        self._asks_again = self._due = -math.inf
        self._end.fall_back("")
        if self._stopping.is_set():
            await self._leave(self._dialer().exchange)

    async def _keep(self, link: HeldConnection) -> None:
        """Speak and listen until the link ends, or is no longer wanted."""
        held = self._end.settings
        await self._send(link, self._end.report(force=True))
        listening = asyncio.ensure_future(self._listen(link))
        try:
            while not listening.done():
                if self._stopping.is_set():
                    await self._leave(lambda data: self._send(link, data))
                    return
                if self._end.settings != held and await self._moved(held):
                    return
                await self._speak(link, listening)
            await listening
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _moved(self, held: CommunicationSettings) -> bool:
        """Return whether the link's time is over: the settings ask for another way, and that works."""
        preset = self._end.settings.preset
        if preset is held.preset:
            return False
        if preset is Preset.PULL_BY_HEARTBEAT:
            try:
                await self._round()
            except LinkError as error:
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
        wait = self._next_wait()
        self._said("", wait)
        news: asyncio.Future[Any] = asyncio.ensure_future(self._end.news.wait())
        ends: set[asyncio.Future[Any]] = {news, listening}
        try:
            done, _ = await asyncio.wait(ends, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            await asyncio.gather(news, return_exceptions=True)
        if not done:
            self._rounds += 1
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
            self._backoff.succeeded()
        raise LinkError("closed", "the link was closed by the other end")

    async def _send(self, link: HeldConnection, message: bytes | None) -> None:
        """Send on the link; what is too large for it goes as a request of this end, where it dials."""
        if message is None:
            return
        if len(message) >= HELD_MESSAGE_LIMIT and self._end.settings.dialer is Dials.AGENT:
            await self._end.receive(await self._dialer().exchange(message))
            return
        await link.send(encode_frame(message))
