"""What is moved beside the links that an upstream opened: what agents lack, outputs of operations, streams, relays.

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
    """Moves one kind of things by requests beside held links, in one task for each agent."""

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
            within: Seconds that it may take, each time.
        """
        self._bring = bring
        self._brought = brought
        self._own = own
        self._within = within
        self._under_way: set[str] = set()
        self._again: set[str] = set()

    def begin(self, seen: Seen | None) -> bool:
        """Move what there is to move, if a link is held to this agent; False if none is.

        What came up while it is being moved is looked at once more.
        """
        if seen is None or seen.link is None:
            return False
        uid = seen.target.uid
        if uid in self._under_way:
            self._again.add(uid)
        else:
            self._under_way.add(uid)
            self._own(asyncio.ensure_future(self._move(seen)))
        return True

    async def _move(self, seen: Seen) -> None:
        uid, more = seen.target.uid, True
        try:
            while more or uid in self._again:
                self._again.discard(uid)
                async with asyncio.timeout(self._within):
                    more = await self._bring(seen)
        except (PophamError, TimeoutError) as error:
            _log.info("what is to be moved beside the link to %s was not: %s", seen.target.name, error)
        else:
            self._brought(uid)
        finally:
            self._under_way.discard(uid)
            self._again.discard(uid)
