"""The Manager for measurements: all its parts, its agents' door with or without TLS, on loopback only.

``python -m popham.testing.load.manager --state DIR [--plain]``.  Without TLS
nobody can show a certificate, so that door serves stock agents.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from popham.cli.manager import serve
from popham.cli.process import run_process
from popham.clock import Clock
from popham.errors import ConfigError
from popham.log import set_up_logging
from popham.manager.app import Manager, open_manager
from popham.manager.settings import ManagerSettings, load_settings
from popham.net.hot.listener import HotListener
from popham.net.listen_settings import Address

Opens = Callable[[ManagerSettings, Clock], AbstractAsyncContextManager[Manager]]


@asynccontextmanager
async def open_plain(settings: ManagerSettings, clock: Clock) -> AsyncIterator[Manager]:
    """Open a Manager whose agents' door has no TLS.

    Raises:
        ConfigError: ``config.loopback``: it would listen for others than this machine.
    """
    if not all(
        ipaddress.ip_address(host).is_loopback for host in Address.parse(settings.listen.agents, "").hosts
    ):
        problem = f"without TLS agents are served on loopback only, not on {settings.listen.agents}"
        raise ConfigError("loopback", problem, "Listen on 127.0.0.1")
    async with open_manager(settings, clock) as manager:
        manager.listener = HotListener(
            manager.hub,
            context=None,
            limits=settings.limits.bounds(),
            clock=clock,
            rng=random.SystemRandom(),
            peers=settings.peers.read(),
        )
        yield manager


def main() -> None:
    """Run the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", required=True)
    parser.add_argument("--plain", action="store_true")
    asked = parser.parse_args()
    set_up_logging(level="warning", as_json=False)
    settings, _ = load_settings(None, state=asked.state, env=dict(os.environ), overrides={})
    opens: Opens = open_plain if asked.plain else open_manager
    run_process(lambda ready, stopping: serve(settings, ready, stopping, opens=opens), os.environ)


if __name__ == "__main__":
    main()
