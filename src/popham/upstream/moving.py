"""From a link that an upstream opened to visits: make before break."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from popham.errors import PophamError
from popham.model.communication import Mode
from popham.upstream.dialled import DialledLink
from popham.upstream.sighting import Seen

_log = logging.getLogger(__name__)
STEADY = 60.0
"""Seconds that a held link has to last, before the next loss of it is a first one."""


async def let_go(
    seen: Seen, link: DialledLink, visit: Callable[[Seen], Awaitable[None]], *, within: float
) -> bool:
    """Let a link go, once a visit succeeded that takes so many seconds at most; return whether one did."""
    while seen.link is link and seen.target.mode is Mode.PULL:
        try:
            async with asyncio.timeout(within):
                await visit(seen)
        except (PophamError, TimeoutError) as error:
            _log.info("the link to %s stays, because a visit failed: %s", seen.target.name, error)
            await asyncio.sleep(min(STEADY, seen.target.interval))
        else:
            link.close(1000, "this agent is visited from now on")
            return True
    return False
