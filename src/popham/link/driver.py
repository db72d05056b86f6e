"""Drives a session over a transport, in each of the four cells.

The driver is the only loop.  It knows when (mode) and who opens (dialer); the
end it drives knows neither.  In every cell the same three things happen: a
report is said, a directive is heard, an outcome is said if there is one.

Rules:

1. A change of mode or dialer is make before break: the way in use is let go only after a
   round by the other way succeeded.
2. Only a successful round ends a row of failures.
3. Where a held link cannot be opened although rounds work, because upstream has
   no room or something in between lets none through, the agent pulls by itself,
   says why, and asks for the link again when it was told to, or after a heartbeat.
4. Who is visited opens nothing; who is to be visited and is not dials as before (:mod:`popham.link.visits`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from popham.errors import LinkError, PophamError
from popham.link.end import End
from popham.link.holding import Talk
from popham.link.waits import wait_for_first
from popham.link.ways import Ways
from popham.model.communication import Dialer as Who
from popham.model.communication import Mode
from popham.net.seam import FULL, Dialer, HeldConnection

_ROUNDS_MAY_WORK = frozenset({"link.denied", "link.unexpected", "link.status", "link.closed"})
"""Why a held link was not opened, where it need not mean that nobody answers at all."""
_WELL = frozenset({0, 1000, 1001, 1012})
"""Close codes of an upstream that means to end the link."""


class Driver(Talk):
    """Keeps one agent in touch with its upstream, whichever end dials."""

    def __init__(
        self,
        end: End,
        ways: Ways,
        *,
        draw: Callable[[], float],
        said: Callable[[str, float | None], None] = lambda _text, _when: None,
        rounded: Callable[[], None] = lambda: None,
    ) -> None:
        """Keep what is needed; nothing starts before :meth:`run`.

        Args:
            end: The agent's end of the session.
            ways: The transports to its upstreams.
            draw: Random number in [0, 1).
            said: Told what happens, as a sentence, and in how many seconds the
                next contact is due; for the machine's own status page.
            rounded: Told when a round that this end made is over.
        """
        super().__init__(end, ways, draw=draw, said=said, rounded=rounded)
        self._asks_again = self._due = -math.inf  # times of the loop, while there is no link to be had

    def stop(self) -> None:
        """Ask :meth:`run` to say goodbye and return."""
        self._stopping.set()
        self._wake()

    def _wake(self) -> None:
        """Have every loop look whether it is still wanted."""
        self._look_again.set()
        if self._stopping.is_set() or not self.dials or self._served is not None:
            self._end.news.set()

    async def run(self) -> None:
        """Keep in touch until :meth:`stop`; no failure of a link ends it."""
        self._visits.begin(self._end.settings, asyncio.get_running_loop().time())
        while not self._stopping.is_set():
            await self._decided.wait()
            try:
                if not self.dials:
                    await self._be_visited()
                elif self._end.settings.mode is Mode.PUSH:
                    await (self._make_do() if self.link_wait > 0 else self._hold())
                else:
                    await self._pull()
            except PophamError as error:
                if not self.dials:
                    continue  # what ended was the way of before
                wait = self._after(error)
                if self._served is None:
                    self._end.lost()
                    self._said(str(error), wait)
                else:
                    self._said(f"the link that upstream opened stays, because dialling failed: {error}", None)
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
        self._backoff.window, self._backoff.heartbeat = self._end.retry_window, self._end.settings.heartbeat
        asked = error.retry_after if isinstance(error, LinkError) else None
        most = self._ways.failed(refused=asked is not None, why=str(error))
        if asked is None and most < math.inf:
            return self._backoff.elsewhere(most)
        return self._backoff.failed(asked)

    # Pull: a round per heartbeat.

    @property
    def _pulls(self) -> bool:
        return self._end.settings.mode is Mode.PULL and self.dials and not self._stopping.is_set()

    async def _pull(self) -> None:
        while self._pulls:
            if self._moved_by_round:
                self._moved_by_round = False
            else:
                self._end.news.clear()
                await self._round()
            wait = self._wait_after_round()
            self._said("", wait)
            if self._pulls:
                await self._waiting.wait(self._end.news, wait)
                self._pace.passed()
        if self._stopping.is_set():
            await self._leave(self._ways.dial().exchange)

    # Push: a held link.

    async def _hold(self) -> None:
        self._heard = opened = False
        beside = self._served is not None
        try:
            dial = self._open_beside if beside else _hold
            link: HeldConnection | None = await self._try_better(dial) or await dial(self._ways.dial())
            opened = True
            if link is not None and not (beside or self.dials):
                await link.close()  # upstream came meanwhile
                return
            self._asks_again = self._due = -math.inf
            if not beside:
                self._end.opened()
            self._tried, self._moved_by_round = None, False
            while link is not None:
                try:
                    other = await self._keep(link, greeted=beside)
                finally:
                    await link.close()
                link, beside = other, True
        except LinkError as error:
            if opened and (not self.dials or self._served is not None):
                return  # another link takes its place, or has
            if beside:
                raise
            await self._do_without(error)
            return
        if self._speaker is None:
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
        while self._end.settings.mode is Mode.PUSH and self.dials and not self._stopping.is_set():
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

    # Where upstream dials, this end only answers.

    def _note_visit(self) -> None:
        self._visits.note(asyncio.get_running_loop().time())
        self._note_unvisited()
        self._worked()
        self._wake()

    async def visited(self, body: bytes) -> bytes:
        """Answer one exchange of a visit: do what ``body`` says, then report.

        The first exchange of a visit has no body.  Bodies that this end lacks are named in the report, and
        brought by the visitor.
        """
        if not body:
            self._end.lost()  # what was said in a visit that broke off may not have arrived
        self._note_visit()
        try:
            await self._end.receive(body)
            await self._end.rest()
        finally:
            self._note_visit()  # it may be to dial now
        return self.report()

    def report(self) -> bytes:
        """Return what there is to report while an exchange is still being worked on."""
        return self._end.report(force=True) or b""

    async def serve(self, link: HeldConnection) -> None:
        """Keep a link that upstream opened, until it ends."""
        if self._visits.works and self._end.settings.dialer is not Who.MANAGER:
            await link.close(1000, "this agent dials, and that works")
            return
        self._served = link
        self._decided.clear()
        try:
            try:
                await self._greet(link)
                self._speaker = link
                self._note_visit()
            finally:
                self._decided.set()
            await self._keep(link, greeted=True)
        except PophamError as error:
            # The one that took its place, and upstream's own farewell, are no faults.
            ended = isinstance(error, LinkError) and error.code == "link.closed" and error.status in _WELL
            self._said("" if ended or self._speaker not in {None, link} else str(error), None)
        finally:
            await link.close()
            if self._served is link:
                self._served = None
            if self._speaker is None:
                self._end.lost()
            self._wake()

    async def _be_visited(self) -> None:
        """Wait, and look again whether this end has to dial: when settings change, and when visits do not come."""
        while not self.dials and not self._stopping.is_set():
            settings, now = self._end.settings, asyncio.get_running_loop().time()
            self._note_unvisited()
            self._said("", settings.heartbeat)
            left = self._visits.left(settings, now, serving=self._end.serving)
            self._look_again.clear()
            if self._served is None:
                self._end.news.clear()  # there is nobody else to whom it is news
            wait = left if left < math.inf else None
            news = () if self._served is not None else (self._end.news,)
            await wait_for_first(wait, self._look_again, *news)


async def _hold(dialer: Dialer) -> HeldConnection:
    return await dialer.hold()
