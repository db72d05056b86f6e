"""A candidate that this machine holds and does not use: fetched, checked, and ready to be brought into force.

Rules:

1. Nothing of it changes the machine, nor what is reported of the bundle in force.
2. It is held once its bodies are here for every location, and what would hold here was checked.
3. One that fails its check is reported with the reason, and tried again when somebody asks for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from popham.agent.bodies import Bodies, Fetch
from popham.agent.in_force import InForce
from popham.agent.planning import Applied
from popham.errors import PolicyError, StateError, TrustError
from popham.model.bundle import PolicyRef

_log = logging.getLogger(__name__)


class Checks(Protocol):
    """What checks policies; an applier is one."""

    async def check(self, policies: Sequence[Applied]) -> None:
        """Raise PolicyError if ``policies`` could not be applied; change nothing."""
        ...


class Candidate:
    """Fetches and checks candidates, and knows the one that was checked last."""

    def __init__(self, applier: Checks, bodies: Bodies, changed: Callable[[], None]) -> None:
        """Check by ``applier`` what ``bodies`` finds; ``changed`` is called when there is something to report."""
        self._applier = applier
        self._bodies = bodies
        self._changed = changed
        self._looked_at = self._resolved = self._error = ""
        self._done = False

    def resolved_of(self, held: InForce | None) -> str:
        """Return the digest of the resolved policy of a candidate, if it is whole and checked; else empty."""
        found = held.held.resolved_digest if held else ""
        return found if found == self._resolved else ""

    def error_of(self, held: InForce | None) -> str:
        """Return why a candidate cannot be held, in a sentence; empty if it can, or is not known yet."""
        return self._error if held and held.held.resolved_digest == self._looked_at else ""

    def lacking(self, held: InForce | None) -> list[PolicyRef]:
        """Return its policies whose bodies are still to be fetched."""
        if held is None or self._is_done(held):
            return []
        return [ref for ref in self._bodies.everywhere(held) if self._bodies.lacks([ref])]

    def look_again(self) -> None:
        """Have one that failed its check checked again."""
        if self._error:
            self._done = False

    async def hold(self, held: InForce | None, fetch: Fetch, applying: asyncio.Lock) -> None:
        """Fetch and check a candidate, unless that was done.

        Args:
            held: The bundle as it would be with it, where the machine is; None if there is none to hold.
            fetch: Fetches a body.
            applying: Held by whoever brings a set into force.

        Raises:
            LinkError: A body could not be fetched; the next call goes on.
        """
        if held is None or self._is_done(held):
            return
        try:
            if not await self._bodies.get_ahead(self._bodies.everywhere(held), fetch):
                return
            async with applying:
                await self._applier.check(self._bodies.recall(held))
        except (PolicyError, TrustError) as error:
            self._note(held, str(error))
        except StateError as error:
            # The disk may take it later.
            self._note(held, str(error), done=False)
        else:
            self._note(held, "")

    def _is_done(self, held: InForce) -> bool:
        return self._done and held.held.resolved_digest == self._looked_at

    def _note(self, held: InForce, error: str, *, done: bool = True) -> None:
        if error:
            _log.warning("the candidate of serial %d cannot be held: %s", held.serial, error)
        else:
            _log.info("the candidate of serial %d is held", held.serial)
        before = self._looked_at, self._error
        self._looked_at, self._error, self._done = held.held.resolved_digest, error, done
        self._resolved = "" if error else self._looked_at
        if before != (self._looked_at, self._error):
            self._changed()
