"""Probes of a policy, as questions to services."""

from __future__ import annotations

import socket
from collections.abc import Callable

from popham.agent.collect.wanted import Probe
from popham.clock import Clock
from popham.model.types.collect import find_host
from popham.net.lookups import Lookups
from popham.net.probing import Asking, Found, Question, open_echo


class Prober:
    """Asks services as a policy wants it."""

    def __init__(
        self, lookups: Lookups, clock: Clock, open_echo: Callable[[str], socket.socket] = open_echo
    ) -> None:
        """Ask as :class:`popham.net.probing.Asking` does, of which these are the arguments."""
        self._asking = Asking(lookups, clock, open_echo)

    async def ask(self, probe: Probe) -> Found:
        """Return what a probe found, within its time."""
        return await self._asking.ask(
            Question(
                kind=probe.kind,
                target=probe.target,
                host=find_host(probe.kind, probe.target),
                timeout=probe.timeout,
                status=probe.expect.status,
                contains=probe.expect.contains,
                address=probe.expect.address,
            )
        )

    async def aclose(self) -> None:
        """Close what is open."""
        await self._asking.aclose()
