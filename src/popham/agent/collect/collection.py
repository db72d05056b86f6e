"""Whether anything is collected here: what a policy of type ``collect`` wants, whichever set brought it into force.

An idle agent has a budget of memory: what collects is loaded when the first policy wants it.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from popham.agent.apply import Applier
from popham.agent.collect.appends import Appends
from popham.agent.collect.wanted import WantedCollect
from popham.agent.facts import find_facts
from popham.agent.planning import Applied
from popham.agent.settings import AgentSettings
from popham.agent.state import AgentState
from popham.clock import Clock
from popham.errors import StateError, StreamError
from popham.link.cadence import phase_of
from popham.streams.frame import Stream

if TYPE_CHECKING:
    from popham.agent.collect.collector import Collector
    from popham.agent.collect.watching import Watching


_log = logging.getLogger(__name__)
FILE: Final = "thresholds.json"
"""What was a warning or an error at the last change; it is there while something is."""
FILE_MAX: Final = 4 * 1024**2
"""Bytes of the file; more than all states need."""


@dataclass(frozen=True, slots=True)
class Premises:
    """What collecting needs of an agent.

    Attributes:
        settings: What this machine permits.
        source: The file that came from.
        state: What the agent keeps.
        applier: Brings policies into force, and runs the commands of the machine.
        clock: Wall time.
    """

    settings: AgentSettings
    source: Path
    state: AgentState
    applier: Applier
    clock: Clock


class Sends(Protocol):
    """Sends what is in the streams; :class:`popham.agent.streams.sending.Sending` does.

    Attributes:
        withheld: Streams of which nothing is sent.
        bandwidth: Bytes a second, at most; 0 for any number.
    """

    withheld: frozenset[Stream]
    bandwidth: float


class Pausing(Protocol):
    """Knows whether collection is paused; :class:`popham.agent.operations.runner.Operations` does."""

    @property
    def paused_at(self) -> float:
        """Since when, in unix seconds; 0 while it is not."""
        ...


class Collection:
    """Collects as the policy in force says.

    Attributes:
        wanted: What that policy wants; None for nothing.
    """

    def __init__(self, premises: Premises, appends: Appends, sends: Sends, pausing: Pausing) -> None:
        """Collect nothing before :meth:`configure`.

        Args:
            premises: What is needed of the agent.
            appends: Takes what is found.
            sends: Sends it.
            pausing: Knows whether collection is paused.
        """
        self.wanted: WantedCollect | None = None
        self._premises = premises
        self._appends = appends
        self._sends = sends
        self._pausing = pausing
        self._news = asyncio.Event()
        self._collector: Collector | None = None
        self._watching: Watching | None = None

    def configure(self, wanted: WantedCollect | None) -> None:
        """Collect this from now on; None for nothing."""
        if wanted == self.wanted:
            return
        self.wanted = wanted
        self._sends.withheld = frozenset(
            stream for stream in Stream if wanted is not None and not wanted.sends(stream)
        )
        self._sends.bandwidth = float((wanted.bandwidth if wanted is not None else None) or 0)
        if self._collector is not None:
            self._collector.configure(wanted)
        self._news.set()

    def look_again(self) -> None:
        """Take note that collection was paused, or goes on."""
        if self._collector is not None:
            self._collector.look_again()

    async def look_now(self) -> None:
        """Look at everything once; returns when all of it is in the streams."""
        if self._collector is not None:
            await self._collector.look_now()

    async def run(self) -> None:
        """Collect until cancelled."""
        if self._has_states():
            # What was withdrawn just before the end has recovered.
            self._news.set()
        async with asyncio.TaskGroup() as group:
            while True:
                await self._news.wait()
                self._news.clear()
                await self._bound()
                await self._watch()
                if self._collector is None and self.wanted is not None:
                    self._collector = self._make()
                    self._collector.configure(self.wanted)
                    group.create_task(self._collector.run(), name="collector")

    async def _bound(self) -> None:
        """Have the streams keep as much as the policy says."""
        from popham.streams.limits import Limits

        limits: dict[Stream, Limits] = {}
        if self.wanted is not None:
            held = self.wanted.limits
            limits = dict.fromkeys(Stream, Limits(records=held.records, bytes=held.bytes, age=held.age))
        try:
            await self._appends.set_limits(limits)
        except StreamError as error:
            _log.warning("what is kept until it is sent cannot be bounded yet: %s", error)

    async def _watch(self) -> None:
        """Hold the thresholds that the policy has, and none that it has no more."""
        thresholds = self.wanted.thresholds if self.wanted is not None else ()
        premises = self._premises
        if self._watching is None and (self.wanted is not None or self._has_states()):
            from popham.agent.collect.encoding import Encoder
            from popham.agent.collect.watching import Watching

            self._watching = Watching(
                self._appends,
                storage=premises.state.room,
                clock=premises.clock,
                encoder=Encoder(self._resource()),
            )
        if self._watching is not None:
            await self._watching.configure(thresholds)

    def _has_states(self) -> bool:
        """Return whether the file is there; one that cannot be read is for whoever reads it."""
        try:
            return self._premises.state.room.read(FILE, FILE_MAX) is not None
        except (StateError, OSError):
            return True

    def _resource(self) -> dict[str, str]:
        """Return the attributes of OpenTelemetry that say who measured."""
        return {
            "host.name": find_facts()["host.name"],
            "service.name": "popham-agent",
            "service.instance.id": self._premises.state.uid,
        }

    def _make(self) -> Collector:
        from popham.agent.collect.collector import Collector
        from popham.agent.collect.encoding import Encoder
        from popham.agent.collect.host import Host
        from popham.agent.collect.log_stream import LogStream, permit
        from popham.agent.collect.probes import Prober
        from popham.net.lookups import Lookups

        premises, asks = self._premises, Lookups()
        resource = self._resource()
        settings = premises.settings
        may_read = permit(
            settings.collect.logs, (settings.state, str(premises.source), f"{premises.source}.d")
        )
        collector = Collector(
            self._appends,
            host=Host(premises.clock.now),
            prober=Prober(asks, premises.clock),
            programs=premises.applier.programs,
            asks=asks,
            lines=lambda lost: LogStream(
                self._appends,
                storage=premises.state.room,
                clock=premises.clock,
                resource=resource,
                lost=lost,
                may_read=may_read,
            ),
            clock=premises.clock,
            encoder=Encoder(resource),
            phase=phase_of(uuid.UUID(premises.state.uid).bytes),
            paused=lambda: self._pausing.paused_at > 0,
        )
        if self._watching is not None:
            collector.sampled.append(self._watching.evaluate)
        return collector


async def begin_collection(
    premises: Premises, held: Sequence[Applied], appends: Appends, sends: Sends, pausing: Pausing
) -> Collection:
    """Return what collects as the set in force wants, and as whatever set wants that follows.

    Args:
        premises: What is needed of the agent.
        held: What is in force.
        appends: Takes what is found.
        sends: Sends it.
        pausing: Knows whether collection is paused.
    """
    collection = Collection(premises, appends, sends, pausing)
    premises.applier.collects = collection.configure
    await premises.applier.adopt(held)
    return collection
