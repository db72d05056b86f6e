"""The agent's ways to its upstreams: which server is dialled, and with what.

The list comes signed in the bundle; while it is empty, or nobody of it answers, the addresses of
the join string are dialled.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from popham.errors import LinkError, PophamError
from popham.model.communication import CommunicationSettings, show_duration
from popham.model.communication import Dialer as Dials
from popham.model.servers import Server, order_servers
from popham.net.seam import Dialer
from popham.net.servers import Servers

_log = logging.getLogger(__name__)
PROBE = "/livez"
"""What is asked of a server to see whether it is there."""
_PROBE_LIMIT = 64 * 1024
_STALE = 1
"""Dialers kept that are no longer dialled with: a link may still be held by one."""
_TRIES = 2.0
"""Waits between servers are so short that every one of them is dialled within a heartbeat, divided by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """That another server is in use than before, for people.

    Attributes:
        at: Wall time, in unix seconds.
        left: URL of the server that answered before.
        taken: URL of the one that answers now.
        why: What the reason was.
    """

    at: float
    left: str
    taken: str
    why: str


class UpstreamWays:
    """Implements :class:`popham.link.ways.Ways` over the server list.

    Attributes:
        moved: The last change of the server in use, since the process began; None before the first.
    """

    def __init__(
        self,
        make: Callable[[str], Dialer],
        *,
        uid: bytes,
        join: Sequence[str],
        ordered: Callable[[], CommunicationSettings],
        draw: Callable[[], float],
        dialled: Callable[[str, bool], None] = lambda _url, _stray: None,
        now: Callable[[], float] = lambda: 0.0,
        location: Callable[[], str] = lambda: "",
    ) -> None:
        """Begin with the first server of the list; nothing is opened yet. Called in a running loop.

        Args:
            make: Returns the transport to a URL, showing the certificate there is now.
            uid: The agent's instance_uid, 16 bytes; decides its order among equals.
            join: URLs of the join string.
            ordered: Returns the settings in force.
            draw: Random number in [0, 1).
            dialled: Told which server answers, and whether it is none of the list, for reports.
            now: Wall time, for people.
            location: Returns where this machine is, for people.

        Raises:
            ConfigError: The join string has no URL.
        """
        self._make = make
        self._uid = uid
        self._ordered = ordered
        self._dialled = dialled
        self._now = now
        self._location = location
        self.moved: Moved | None = None
        self._answered = ""  # the server that answered last
        self._why = ""  # why that one was left; empty while it was not
        self._listed_by = ""  # why another list holds than the server in use was taken by; empty if none does
        self._listed_at = location()
        self._servers = Servers(join, now=asyncio.get_running_loop().time, draw=draw)
        self._listed: tuple[Server, ...] | None = None
        self._dialer: Dialer | None = None
        self._trying: tuple[str, Dialer] | None = None
        self._stale: list[Dialer] = []
        self._closing: set[asyncio.Future[None]] = set()
        self._refresh()

    @property
    def current(self) -> str:
        """URL of the server in use."""
        return self._servers.current

    @property
    def urls(self) -> tuple[str, ...]:
        """All servers, in the order in which they are dialled; those of the join string last."""
        return self._servers.urls

    def dial(self) -> Dialer:
        """Return the way in use; made anew after a renewal or a failure."""
        self._refresh()
        if self._dialer is None:
            self._dialer = self._make(self._servers.current)
        return self._dialer

    def better(self) -> Dialer | None:
        """Return a way that comes before the one in use, if it is time to try it."""
        self._refresh()
        url = self._servers.candidate()
        if url is None:
            return None
        self._give_up_trying()
        self._trying = url, self._make(url)
        return self._trying[1]

    @property
    def until_better(self) -> float:
        """Seconds until :meth:`better` may return one; infinity if the first server is in use."""
        self._refresh()
        return self._servers.until_candidate

    def tried(self, *, works: bool) -> None:
        """Take note of what came of a try; once it worked, there is nothing more to be said of it."""
        if self._trying is None:
            return
        url, dialer = self._trying
        if works:
            self._trying = None
            self.renewed()
            self._dialer = dialer
        else:
            self._give_up_trying()
        self._servers.tried(url, works=works)
        if works:
            held = show_duration(self._ordered().hold)
            self._arrived(
                self._listed_by or f"it comes first in the list, and answers again ('hold' is {held})"
            )
        self._tell()

    def failed(self, *, refused: bool, why: str = "") -> float:
        """Take note that the way in use failed; return how long to wait for a server that did not fail yet."""
        before = self._servers.current
        untried = self._servers.failed(refused=refused)
        if before == self._answered != self._servers.current:
            self._why = why or "it failed"
        # A new dialer also shows what certificate there is now, or none once that has expired.
        self.renewed()
        while self._stale:
            self._close_later(self._stale.pop())
        if not untried:
            return math.inf
        # Source: features, F.C8: failover within two heartbeats; the first passes until the failure is seen.
        return self._ordered().heartbeat / (_TRIES * len(self._servers.urls))

    def succeeded(self) -> None:
        """Take note that the way in use works."""
        self._servers.succeeded()
        self._arrived(self._why or "the former one was left")
        self._tell()

    def renewed(self) -> None:
        """Use a new transport, with the new certificate, from the next connection on; a held link stays."""
        if self._dialer is not None:
            self._stale.append(self._dialer)
            self._dialer = None
        while len(self._stale) > _STALE:
            self._close_later(self._stale.pop(0))

    async def reach(self, seconds: float) -> bool:
        """Return whether any server answers anything within so many seconds, over a new connection.

        Where the Manager dials, nobody here can say, and the answer is yes.
        """
        self._refresh()
        if self._ordered().dialer is Dials.MANAGER:
            return True
        asked = [asyncio.ensure_future(self._answers(url, seconds)) for url in self.urls]
        try:
            for answer in asyncio.as_completed(asked):
                if await answer:
                    return True
            return False
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _answers(self, url: str, seconds: float) -> bool:
        try:
            dialer = self._make(url)
        except (PophamError, OSError) as error:
            _log.warning("%s cannot be asked: %s", url, error)
            return False
        try:
            async with asyncio.timeout(seconds):
                await dialer.fetch(PROBE, limit=_PROBE_LIMIT)
        except LinkError as error:
            return error.status > 0
        except TimeoutError:
            return False
        finally:
            await dialer.aclose()
        return True

    async def aclose(self) -> None:
        """Close everything that is open."""
        self.renewed()
        self._give_up_trying()
        for dialer in self._stale:
            await dialer.aclose()
        self._stale.clear()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _refresh(self) -> None:
        """Take the list of the settings in force, if it is another one."""
        settings = self._ordered()
        first = self._listed is None
        if first or settings.servers != self._listed:
            self._listed = settings.servers
            urls = [url for level in order_servers(settings.servers, self._uid) for url in level]
            self._servers.use(urls, hold=settings.hold, window=settings.window, first=first)
            where = self._location()
            if not first:
                at = (
                    f"the location is {where} now"
                    if where != self._listed_at
                    else "the group's servers were changed"
                )
                self._listed_by = at
                self._tell()
            self._listed_at = where
        else:
            self._listed_at = self._location()
            self._servers.hold = settings.hold

    def _arrived(self, why: str) -> None:
        """Take note that the server in use answers; say once, and why, if it is another one than before."""
        left, self._answered = self._answered, self._servers.current
        self._why = ""
        if left != self._answered or self._answered == self.urls[0]:
            self._listed_by = ""
        if left in {"", self._answered}:
            return
        self.moved = Moved(at=self._now(), left=left, taken=self._answered, why=why)
        _log.warning("the server in use is %s now, and was %s: %s", self._answered, left, why)

    def _tell(self) -> None:
        self._dialled(self._servers.current, self._servers.stray)

    def _give_up_trying(self) -> None:
        if self._trying is not None:
            self._close_later(self._trying[1])
            self._trying = None

    def _close_later(self, dialer: Dialer) -> None:
        task = asyncio.ensure_future(dialer.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
