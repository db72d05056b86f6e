"""Ports of this machine that nobody listens on."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from typing import Final

_DRAWN: Final = range(20_000, 32_000)
"""Below the range from which the system takes the ports of outgoing connections: no dialler is given one of these."""
_DRAWS: Final = 100


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return different ports of a local address that were free just now.

    Raises:
        LookupError: Nearly all ports are taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found: list[int] = []
    with ExitStack() as probes:
        for port in random.SystemRandom().sample(_DRAWN, _DRAWS):
            probe = probes.enter_context(socket.socket(family))
            try:
                probe.bind((host, port))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise LookupError("no port is free")
