"""What operations are done with, from the parts of a running agent."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from popham.agent.apply import Applier, in_thread
from popham.agent.drift import DriftWatch
from popham.agent.end import AgentEnd
from popham.agent.enforcer import Enforcer
from popham.agent.location import Locator
from popham.agent.operations.diagnosis import Sources, diagnose
from popham.agent.operations.kinds import Means
from popham.agent.settings import AgentSettings
from popham.agent.state import AgentState
from popham.agent.ways import UpstreamWays
from popham.clock import Clock
from popham.errors import OperationError
from popham.net.route import OUTPUTS
from popham.posix import may_execute


class Rotates(Protocol):
    """What makes new keys; :class:`popham.agent.credentials.Credentials` does."""

    async def rotate(self) -> None:
        """Make a new key, and return once its certificate is in use. Raises PophamError."""
        ...


def make_means(
    settings: AgentSettings,
    source: Path,
    state: AgentState,
    clock: Clock,
    *,
    end: AgentEnd,
    enforcer: Enforcer,
    applier: Applier,
    drift: DriftWatch,
    locator: Locator,
    credentials: Rotates,
    ways: UpstreamWays,
    facts: Callable[[], Mapping[str, str]],
    status: Callable[[], Mapping[str, Any]],
    journal: Callable[[], Sequence[str]],
    restart: Callable[[], None],
) -> Means:
    """Return what operations are done with on this machine.

    Args:
        settings: What this machine permits.
        source: The file it came from.
        state: What this machine keeps.
        clock: Wall time.
        end: Makes rounds.
        enforcer: Knows what is in force.
        applier: Runs commands, and knows what is placed.
        drift: Looks at what is placed.
        locator: Looks where the machine is.
        credentials: Make new keys.
        ways: Lead to the upstream.
        facts: Returns what is told of the machine.
        status: Returns what the agent says of itself.
        journal: Returns the newest lines of the log.
        restart: Has the process end, and the program begin anew.
    """

    async def collect() -> None:
        end.tell_facts(facts())
        await drift.scan()
        await locator.look_now()

    async def upload(sha256: str, body: bytes) -> None:
        await ways.dial().upload(f"{OUTPUTS}{sha256}", body)

    def begin_anew() -> None:
        if not may_execute(sys.executable):
            problem = f"{sys.executable} is not to be had any more, so nothing would begin anew"
            raise OperationError("restart", problem, "Install Popham again, and restart it there")
        restart()

    async def examine() -> list[dict[str, Any]]:
        # Imported when somebody asks, since it is needed then only.
        from popham.agent.doctor.examination import examine
        from popham.agent.doctor.probes import Probes

        found = await examine(settings, source, Probes(clock=clock, environ=os.environ))
        return [one.as_dict() for one in found]

    sources = Sources(
        settings=settings,
        state=state,
        clock=clock,
        status=status,
        findings=examine,
        journal=journal,
        newest=lambda: enforcer.newest,
        in_force=lambda: enforcer.in_force,
        files=applier.files,
        facts=facts,
    )
    return Means(
        check_in=end.check_in,
        collect=collect,
        restart=begin_anew,
        diagnose=lambda: diagnose(sources, in_thread),
        rotate=lambda: credentials.rotate(),  # noqa: PLW0108  # looked up when it is called
        keyid=lambda: state.identity_key().keyid,
        run=applier.programs.run,
        seconds=settings.command_timeout,
        upload=upload,
        dials=lambda: end.fetch.dials(),  # noqa: PLW0108  # it is set later
    )
