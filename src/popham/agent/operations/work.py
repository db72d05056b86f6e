"""What operations are done with: the parts of a running agent."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from popham.agent.apply import Applier, in_thread
from popham.agent.collect.collection import Collection
from popham.agent.drift import DriftWatch
from popham.agent.end import AgentEnd
from popham.agent.enforcer import Enforcer
from popham.agent.location import Locator
from popham.agent.operations.kinds import Means
from popham.agent.settings import AgentSettings
from popham.agent.state import AgentState
from popham.agent.ways import UpstreamWays
from popham.clock import Clock
from popham.errors import OperationError
from popham.net.route import OUTPUTS
from popham.posix import may_execute


@dataclass(frozen=True, slots=True)
class Work:
    """The parts of one running agent.

    Attributes:
        settings: What this machine permits.
        source: The file it came from.
        state: What this machine keeps.
        clock: Wall time.
        end: Makes rounds.
        enforcer: Knows what is in force.
        applier: Runs commands, and knows what is placed.
        drift: Looks at what is placed.
        locator: Looks where the machine is.
        ways: Lead to the upstream.
        facts: Returns what is told of the machine.
        status: Returns what the agent says of itself.
        journal: Returns the newest lines of the log.
        collection: Collects as the policy in force says.
    """

    settings: AgentSettings
    source: Path
    state: AgentState
    clock: Clock
    _: KW_ONLY
    end: AgentEnd
    enforcer: Enforcer
    applier: Applier
    drift: DriftWatch
    locator: Locator
    ways: UpstreamWays
    facts: Callable[[], Mapping[str, str]]
    status: Callable[[], Mapping[str, Any]]
    journal: Callable[[], Sequence[str]]
    collection: Collection

    def means(self, *, rotate: Callable[[], Awaitable[None]], restart: Callable[[], None]) -> Means:
        """Return what operations are done with.

        Args:
            rotate: Makes a new key, and returns once its certificate is in use.
            restart: Has the process end, and the program begin anew.
        """

        def begin_anew() -> None:
            if not may_execute(sys.executable):
                problem = f"{sys.executable} is not to be had any more, so nothing would begin anew"
                raise OperationError("restart", problem, "Install Popham again, and restart it there")
            restart()

        return Means(
            check_in=self.end.check_in,
            collect=self._collect,
            restart=begin_anew,
            diagnose=self._diagnose,
            rotate=rotate,
            keyid=lambda: self.state.identity_key().keyid,
            run=self.applier.programs.run,
            seconds=self.settings.command_timeout,
            upload=self._upload,
            dials=lambda: self.end.fetch.dials(),  # noqa: PLW0108  # it is set later
            paused=self.collection.look_again,
        )

    async def _collect(self) -> None:
        """Look anew at everything that is reported, and send what waits."""
        self.end.tell_facts(self.facts())
        await self.drift.scan()
        await self.locator.look_now()
        await self.collection.look_now()
        self.end.release()

    async def _upload(self, sha256: str, body: bytes) -> None:
        await self.ways.dial().upload(f"{OUTPUTS}{sha256}", body)

    async def _diagnose(self) -> bytes:
        # Imported when it is needed: it is seldom, and an idle agent has a budget of memory.
        from popham.agent.operations.diagnosis import Sources, diagnose

        sources = Sources(
            settings=self.settings,
            state=self.state,
            clock=self.clock,
            status=self.status,
            findings=self._examine,
            journal=self.journal,
            newest=lambda: self.enforcer.newest,
            in_force=lambda: self.enforcer.in_force,
            files=self.applier.files,
            facts=self.facts,
        )
        return await diagnose(sources, in_thread)

    async def _examine(self) -> list[dict[str, Any]]:
        """Return what the doctor finds; imported when somebody asks, since it is needed then only."""
        from popham.agent.doctor.examination import examine
        from popham.agent.doctor.probes import Probes

        found = await examine(self.settings, self.source, Probes(clock=self.clock, environ=os.environ))
        return [one.as_dict() for one in found]
