"""What happens around the machine that changes how it gets in touch: another network, a resume from sleep.

Rules:

1. Another network is another gateway or address; interfaces that come and go for containers are none.
2. A resume is seen by the time that the machine slept, which only one of its two clocks counts.
3. A link is metered if this machine's configuration says so; by itself where the only way is mobile.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Callable
from typing import Final, Protocol

from popham.agent.schedule import Schedule
from popham.agent.surroundings import Host
from popham.clock import Clock
from popham.model.criteria import Needs, Surroundings

_log = logging.getLogger(__name__)
TICK: Final = 15.0
"""Seconds between looks at the clocks."""
DEBOUNCE: Final = 1.0
"""Seconds from a change of the network to the look."""
CALM: Final = 30.0
"""Seconds to which that grows where look after look finds nothing: routes of containers may change all the time."""
JUMP: Final = 1.0
"""Seconds by which a clock has to jump to count."""
_CABLES: Final = frozenset({"ethernet", "wireless"})


class Happened(Protocol):
    """Told that something happened around the machine."""

    def __call__(self, *, network: bool, since: float) -> None:
        """Take note.

        Args:
            network: Whether it is another network; else the machine slept.
            since: Time of the loop at which it began.
        """
        ...


class Circumstances:
    """Keeps a schedule and a driver told; :meth:`run` is its one task.

    Attributes:
        connected: Whether a gateway or an address was found when it last looked; True before.
    """

    def __init__(
        self,
        host: Host,
        schedule: Schedule,
        clock: Clock,
        *,
        metered: bool | None,
        happened: Happened,
        asleep: Callable[[], float] | None = None,
    ) -> None:
        """Begin; nothing is looked at before :meth:`run`.

        Args:
            host: Where to look.
            schedule: Told on what link the machine is, and when clocks were set.
            clock: Both clocks.
            metered: Whether the link is metered; None to find out.
            happened: Told of another network, and of a resume.
            asleep: Returns for how long the machine has slept, in seconds; None where that is not to be found out.
        """
        self._host = host
        self._schedule = schedule
        self._clock = clock
        self._metered = metered
        self._happened = happened
        self._asleep = asleep
        self._slept = asleep() if asleep else 0.0
        self._wall = self._offset()
        self._known: tuple[frozenset[str], frozenset[str]] | None = None
        self.connected = True
        self._wake = asyncio.Event()
        if metered is not None:
            schedule.metered = metered

    async def run(self) -> None:
        """Look whenever something may have changed, until cancelled."""
        watch = self._host.watch(self._wake.set)
        pause, looked = DEBOUNCE, 0.0
        try:
            await self._look(0.0)
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK if self._asleep else None):
                        await self._wake.wait()
                since = asyncio.get_running_loop().time()
                self.look_at_clocks(since)
                if self._wake.is_set() or watch is None:
                    pause = pause if watch is not None and since - looked < 2 * CALM else DEBOUNCE
                    await asyncio.sleep(pause)
                    self._wake.clear()
                    other = await self._look(since)
                    looked = asyncio.get_running_loop().time()
                    pause = DEBOUNCE if other else min(CALM, 2 * pause)
        finally:
            if watch is not None:
                watch.close()

    def look_at_clocks(self, since: float) -> None:
        """See, at the time ``since`` of the loop, whether the machine slept, or its wall clock was set."""
        slept, wall = self._asleep() if self._asleep else 0.0, self._offset()
        if abs(wall - self._wall) > JUMP:
            self._schedule.look_again()
        if slept - self._slept > JUMP:
            _log.info("the machine slept for %.0f s", slept - self._slept)
            self._happened(network=False, since=since)
        self._slept, self._wall = slept, wall

    def _offset(self) -> float:
        return self._clock.now() - self._clock.monotonic()

    async def _look(self, since: float) -> bool:
        """Look around; returns whether something is different."""
        around, metered = await self._host.look(Needs()), self._schedule.metered
        if self._metered is None:
            self._schedule.metered = is_mobile(around)
        found = frozenset(around.gateways), frozenset(_reach_beyond(around))
        other = self._known is not None and found != self._known
        self.connected = any(found)
        if other:
            _log.info("the network is another one")
            # A machine that travels may be in another time zone.
            self._schedule.look_again()
            self._happened(network=True, since=since)
        self._known = found
        return other or self._schedule.metered is not metered


def is_mobile(around: Surroundings) -> bool:
    """Return whether a mobile interface is up, and neither a cable nor a wireless one."""
    types = set(around.interfaces.values())
    return "mobile" in types and not types & _CABLES


def _reach_beyond(around: Surroundings) -> list[str]:
    """Return the addresses that are not good for the link alone."""
    return [one for one in around.addresses if not ipaddress.ip_address(one).is_link_local]
