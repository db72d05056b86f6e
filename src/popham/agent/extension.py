"""What an agent's process does beside being an agent, where its machine is a Proxy Manager, too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from popham.agent.end import AgentEnd
from popham.agent.state import AgentState
from popham.agent.ways import UpstreamWays
from popham.link.driver import Driver
from popham.statedir import StateDir
from popham.trust.tuf import TrustedTuf


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of an agent that is about to run, for whoever extends it.

    Attributes:
        state: What this machine keeps.
        directory: Where.
        tuf: The fleet's trust.
        end: The agent's end of its session.
        driver: Keeps that in touch.
        ways: To its upstreams.
        renew: Asks for a new certificate at once: what it is to say has changed.
    """

    state: AgentState
    directory: StateDir
    tuf: TrustedTuf
    end: AgentEnd
    driver: Driver
    ways: UpstreamWays
    renew: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """What runs beside an agent.

    Attributes:
        work: Begin what runs beside the driver; none ends by itself, and all are cancelled with it.
        relay: Answers what a visitor relays; None where nothing is.
        rounded: Told when a round that this machine made is over.
        renewed: Told when a new certificate is kept, which connections are to show.
        describe: Returns what people are told of it.
    """

    work: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    relay: Callable[[bytes], Awaitable[bytes]] | None = None
    rounded: Callable[[], None] = field(default=lambda: None)
    renewed: Callable[[], None] = field(default=lambda: None)
    describe: Callable[[], dict[str, Any]] = dict


Extend = Callable[[Parts], Awaitable[Extension]]
"""Extends an agent, once its parts are there and before anything of it runs."""


async def extend_nothing(parts: Parts) -> Extension:
    """Leave the agent as it is."""
    del parts
    return Extension()
