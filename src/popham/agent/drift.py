"""Sees what somebody changed of what the policies placed, reports it, and puts it back.

Rules:

1. Drift is what is not as it was placed; what the agent itself wrote is none.  The look and the
   applying exclude each other.
2. The kernel tells of changes; where it does not, every file's signature is looked at twice a minute.
   Every content is read at the start and once an hour.
3. What drifted is noted before it is put back, and counted once it was.  What else was done to it
   meanwhile is not kept; the log says which path it was.
4. A path that is changed again and again is put back less and less often, and stays reported meanwhile.
   So is one that cannot be put back, with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from popham.agent.apply import in_thread
from popham.agent.file_events import FileEvents
from popham.agent.inspection import Seen
from popham.agent.programs import Offload
from popham.agent.records import Drift
from popham.clock import Clock
from popham.errors import PolicyError, StateError

_log = logging.getLogger(__name__)
INTERVAL: Final = 30.0
"""Seconds between looks where the kernel does not tell."""
HOUR: Final = 3600.0
"""Seconds between looks at every content; and of quiet after which a path counts as calm again."""
DEBOUNCE: Final = 0.2
"""Seconds from a change to the look."""
CALM: Final = 5.0
"""Seconds to which that grows where look after look finds nothing."""
MINUTE: Final = 60.0
TIMES: Final = 3
"""Put-backs of one path within a minute, after which the next one has to wait."""
FIRST_WAIT: Final = 10.0
LONGEST_WAIT: Final = 300.0
_UNKNOWN: Final = 2.0
"""Seconds to the next look while it is not known what could be put back."""
_DAY: Final = 86_400
_NAMED: Final = 64
"""Paths that are kept and named; the look finds the others again."""


class Inspects(Protocol):
    """What looks; :class:`popham.agent.apply.Applier` does."""

    async def inspect(self, *, whole: bool) -> Seen:
        """Look at everything; raise PolicyError, StateError or OSError if that is not possible."""
        ...


class Restores(Protocol):
    """What puts back; :class:`popham.agent.enforcer.Enforcer` does.

    Attributes:
        drift: What was noted last.
    """

    drift: Drift

    async def restore(self) -> bool:
        """Bring what is in force there again; return whether that is known, raise PolicyError or StateError."""
        ...

    def note_drift(self, drift: Drift) -> None:
        """Keep and report what was found."""
        ...


class Hears(Protocol):
    """What hears of changes; :class:`popham.agent.file_events.FileEvents` does.

    Attributes:
        stale: Whether it has to be told anew where to listen.
    """

    stale: bool

    def watch(self, places: Mapping[Path, frozenset[str]]) -> bool:
        """Listen there; return whether each change will be heard."""
        ...

    def close(self) -> None:
        """Hear no more."""
        ...


class DriftWatch:
    """Keeps what was placed as it was placed; :meth:`run` is its one task.

    Attributes:
        complete: Whether each change is heard of; if not, it is looked for.
    """

    def __init__(
        self,
        enforcer: Restores,
        applier: Inspects,
        clock: Clock,
        *,
        listen: Callable[[Callable[[], None]], Hears | None] = FileEvents.open,
        offload: Offload = in_thread,
    ) -> None:
        """Begin; nothing is looked at before :meth:`begin` or :meth:`run`.

        Args:
            enforcer: Puts back, keeps and reports.
            applier: Looks.
            clock: For the time at which something was found.
            listen: Returns what calls a function at each change; None where nothing does.
            offload: Runs what may wait for the disk.
        """
        self._enforcer = enforcer
        self._applier = applier
        self._clock = clock
        self._listen = listen
        self._offload = offload
        self._wake = asyncio.Event()
        self._patience = Patience()
        self._differing = frozenset(enforcer.drift.paths)
        self._change: str | None = None
        self._places: Mapping[Path, frozenset[str]] = {}
        self.complete = False
        self._whole_at = 0.0
        self._pause, self._looked = DEBOUNCE, 0.0
        self._said = ""

    def wake(self) -> None:
        """Look soon: something may have changed, or something else may be in force."""
        self._wake.set()

    async def begin(self) -> None:
        """Note what was changed while no agent ran, before anything is applied that hides it.

        What the last process left in the middle is brought to an end before that; where it cannot be, it is tried
        again with each look and each set, and the agent runs nevertheless.
        """
        try:
            self._note(await self._applier.inspect(whole=True))
            self._whole_at = asyncio.get_running_loop().time() + HOUR
        except (PolicyError, StateError, OSError) as error:
            self._say(f"what is in force cannot be looked at: {error}")

    async def scan(self) -> None:
        """Look at everything now, whatever seems unchanged; what is to be put back is, soon."""
        await self.begin()
        self.wake()

    async def run(self) -> None:
        """Look whenever something may have changed, and put it back, until cancelled."""
        events = self._listen(self._wake.set)
        try:
            while True:
                wait = await self._turn(events)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                if self._wake.is_set():
                    await asyncio.sleep(self._pause)
                    self._wake.clear()
        finally:
            if events is not None:
                events.close()

    async def _turn(self, events: Hears | None) -> float:
        """Look, and put back what is to be; return after how many seconds to look again."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                seen = await self._look(events)
                self._note(seen)
                self._said = self._said if seen.differing else ""
                if not seen.differing:
                    return min(self._whole_at - loop.time(), HOUR if self.complete else INTERVAL)
                wait = self._patience.due(seen.differing) - loop.time()
                if wait > 0:
                    return min(wait, HOUR if self.complete else INTERVAL)
                if not await self._put_back(seen.differing):
                    return _UNKNOWN
        except (PolicyError, StateError, OSError) as error:
            self._say(f"what is in force cannot be looked at: {error}")
            return INTERVAL

    async def _look(self, events: Hears | None) -> Seen:
        """Look; where to listen is settled first, so that nothing happens between the two."""
        now = asyncio.get_running_loop().time()
        whole = now >= self._whole_at
        seen = await self._applier.inspect(whole=whole)
        if events is not None and (events.stale or not self.complete or seen.places != self._places):
            self.complete = await self._offload(functools.partial(events.watch, seen.places))
            self._places = seen.places
            seen = await self._applier.inspect(whole=False)
            if seen.places != self._places:
                self.wake()
        if whole:
            self._whole_at = now + HOUR
        often = self._differing == set(seen.differing) and now - self._looked < 2 * CALM
        self._pause, self._looked = min(CALM, 2 * self._pause) if often else DEBOUNCE, now
        self._patience.forget(now)
        return seen

    def _note(self, seen: Seen) -> None:
        """Keep and report what was found, and count what was put back since the last look."""
        held, now = self._enforcer.drift, self._clock.now()
        done = bool(self._differing) and self._change not in {None, seen.change}
        fresh = [path for path in seen.differing if done or path not in self._differing]
        if done:
            _log.warning("put back: %s", _names(sorted(self._differing)))
        error = held.error if seen.differing else ""
        noted = replace(held, paths=seen.differing[:_NAMED], put_back=held.put_back + done, error=error)
        if fresh:
            _log.warning("not as it was placed: %s", _names(fresh))
            put_back = noted.put_back if held.at // _DAY == now // _DAY else 0
            noted = replace(noted, path=fresh[0], at=now, put_back=put_back)
        self._change, self._differing = seen.change, frozenset(seen.differing)
        self._enforcer.note_drift(noted)

    async def _put_back(self, paths: Sequence[str]) -> bool:
        """Put back what is to be; return whether anybody knows what that is."""
        now = asyncio.get_running_loop().time
        try:
            if not await self._enforcer.restore():
                return False
        except (PolicyError, StateError) as error:
            self._patience.failed(paths, now())
            self._say(f"what drifted is not put back: {error}")
            self._enforcer.note_drift(replace(self._enforcer.drift, error=str(error)))
        else:
            self._patience.done(paths, now())
            self._enforcer.note_drift(replace(self._enforcer.drift, error=""))
        return True

    def _say(self, text: str) -> None:
        """Log a sentence, but not again and again."""
        if text != self._said:
            _log.warning("%s", text)
        self._said = text


@dataclass(slots=True, kw_only=True)
class _Trouble:
    """What one path has done lately: loop times of put-backs, and when the next may be."""

    times: tuple[float, ...] = ()
    wait: float = 0.0
    until: float = 0.0
    last: float = 0.0


class Patience:
    """How often each path may be put back; times are those of one clock, in seconds."""

    def __init__(self) -> None:
        self._troubles: dict[str, _Trouble] = {}

    def due(self, paths: Collection[str]) -> float:
        """Return when the first of ``paths`` may be put back."""
        return min(self._troubles[path].until if path in self._troubles else 0.0 for path in paths)

    def done(self, paths: Collection[str], now: float) -> None:
        """Take note that ``paths`` were put back."""
        for path in paths:
            trouble = self._troubles.setdefault(path, _Trouble())
            trouble.times = (*trouble.times, now)[-TIMES:]
            often = len(trouble.times) == TIMES and now - trouble.times[0] <= MINUTE
            if often or trouble.wait:
                self._wait(trouble, now)
            trouble.last = now

    def failed(self, paths: Collection[str], now: float) -> None:
        """Take note that ``paths`` could not be put back."""
        for path in paths:
            self._wait(self._troubles.setdefault(path, _Trouble()), now)

    def forget(self, now: float) -> None:
        """Forget what was an hour ago."""
        for path in [path for path, trouble in self._troubles.items() if now - trouble.last >= HOUR]:
            del self._troubles[path]

    @staticmethod
    def _wait(trouble: _Trouble, now: float) -> None:
        trouble.wait = min(LONGEST_WAIT, max(FIRST_WAIT, 2 * trouble.wait))
        trouble.until, trouble.last = now + trouble.wait, now


def _names(paths: Sequence[str]) -> str:
    more = f", and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(paths[:_NAMED]) + more
