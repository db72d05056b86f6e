from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from popham.model.communication import CommunicationSettings, Dialer, Mode
from popham.testing.simulation import Simulation, make_keys
from popham.testing.virtual import VirtualClock, run_virtual

FOUR_CELLS = [(mode, dialer) for mode in Mode for dialer in Dialer]
HEARTBEAT = 60.0
LAB = """
apiVersion: popham/v1
kind: Policy
metadata: {{name: motd}}
spec: {{type: files, files: [{{path: /etc/motd, content: "{text}"}}]}}
---
apiVersion: popham/v1
kind: Group
metadata: {{name: lab}}
spec:
  inheritance: {{communication: false, policies: {{files: false}}}}
  policies: {{files: motd}}
"""
"""The group of most stories, with a policy whose ``text`` they change; settings may follow it."""


def settings(cell, heartbeat: float = HEARTBEAT) -> CommunicationSettings:
    mode, dialer = cell
    return CommunicationSettings(mode=mode, dialer=dialer, heartbeat=heartbeat)


@pytest.fixture(scope="session")
def keys():
    return make_keys(VirtualClock())


@pytest.fixture(params=FOUR_CELLS, ids=lambda cell: f"{cell[0]}-dialled-by-{cell[1]}")
def cell(request):
    return request.param


@pytest.fixture
def simulate(keys) -> Callable[[Callable[[Simulation], Coroutine[Any, Any, None]]], None]:
    def run(story, seed: int = 7) -> None:
        clock = VirtualClock()
        simulation = Simulation(clock, keys, seed)

        async def tell() -> None:
            await simulation.manager.start()
            try:
                await story(simulation)
            finally:
                await simulation.end()

        run_virtual(tell(), clock)

    return run
