"""How the streams of a running agent are made out of its other parts."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable

from popham.agent.apply import in_thread
from popham.agent.end import AgentEnd
from popham.agent.state import AgentState
from popham.agent.streams.sending import Sending
from popham.agent.streams.spools import FOLDER, Spools
from popham.agent.ways import UpstreamWays
from popham.clock import Clock
from popham.link.driver import Driver
from popham.statedir import StateDir
from popham.streams.frame import BOOT


def make_streams(
    state_dir: StateDir,
    state: AgentState,
    clock: Clock,
    draw: Callable[[], float],
    end: AgentEnd,
    driver: Driver,
    ways: UpstreamWays,
) -> tuple[Spools, Sending]:
    """Return what keeps an agent's records, and what sends them; ``end`` hears for them from now on.

    Args:
        state_dir: Has them in a folder of their own.
        state: Knows who this is, and the key that signs.
        clock: Wall time.
        draw: Random number in [0, 1).
        end: The agent's end of its session.
        driver: Keeps it in touch.
        ways: Lead to the upstream.
    """
    uid, boot = uuid.UUID(state.uid).bytes, secrets.token_bytes(BOOT)
    spools = Spools(state_dir.path(FOLDER), uid, clock, boot=boot, offload=in_thread)
    sending = Sending(spools, end, driver, ways, key=state.identity_key, clock=clock, draw=draw)
    end.streams = sending
    return spools, sending
