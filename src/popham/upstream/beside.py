"""What is moved beside the links that an upstream opened: what agents lack, and what their operations put out.

One task per agent, and only while there is something to move.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from popham.errors import PophamError
from popham.upstream.sighting import Seen

_log = logging.getLogger(__name__)


class Beside:
    """Moves bodies by requests beside held links, for one agent at a time each."""

    def __init__(
        self,
        bring: Callable[[Seen], Awaitable[bool]],
        brought: Callable[[str], None],
        own: Callable[[asyncio.Task[None]], None],
        within: float,
    ) -> None:
        """Keep what is needed.

        Args:
            bring: Moves what there is to move; returns whether there is more by now.
            brought: Told the uid of an agent once that was done.
            own: Takes the task that does it.
            within: Seconds that it may take.
        """
        self._bring = bring
        self._brought = brought
        self._own = own
        self._within = within

    def begin(self, seen: Seen) -> None:
        """Move what there is to move, if a link is held and nobody does so already."""
        if seen.link is not None and not seen.bringing:
            seen.bringing = True
            self._own(asyncio.ensure_future(self._move(seen)))

    async def _move(self, seen: Seen) -> None:
        try:
            async with asyncio.timeout(self._within):
                while await self._bring(seen):
                    pass
        except (PophamError, TimeoutError) as error:
            _log.info(
                "%s was not brought what it lacks, or asked for its outputs: %s", seen.target.name, error
            )
        else:
            self._brought(seen.target.uid)
        finally:
            seen.bringing = False
