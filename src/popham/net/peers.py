"""From which addresses a listener takes connections at all.

Rules:

1. Without ``allow`` every address may come; ``deny`` wins over ``allow``.
2. Who may not come is not told why: the connection is ended before the TLS handshake. The log says it, a
   line a minute.
3. It decides about addresses only; who somebody is, certificates and tokens show.

Source: row F.P7 (peers allowed can be limited by address and identity).
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence

from popham.errors import ConfigError

log = logging.getLogger(__name__)
RANGES_MAX = 1024
"""Ranges of one list; one costs some 50 ns for each new connection."""
QUIET = 60.0
"""Seconds between two lines of the log about who was not let in."""
_Range = tuple[int, int, int]


class Peers:
    """The addresses that may connect.

    Attributes:
        refused: Connections that were ended since the start.
    """

    def __init__(self, allow: Sequence[str] = (), deny: Sequence[str] = (), *, where: str = "peers") -> None:
        """Read the ranges, as ``10.0.0.0/8``, ``fd00::/8`` or single addresses; they stand in the table ``where``.

        Raises:
            ConfigError: ``config.peers``: one is none, or there are too many.
        """
        self._where = where
        self._allow = _read(f"{where}.allow", allow)
        self._deny = _read(f"{where}.deny", deny)
        self._limited = bool(self._allow or self._deny)
        self._silent_until = float("-inf")
        self.refused = 0

    def admits(self, address: str, now: float) -> bool:
        """Return whether ``address`` may connect, and count it if not.

        Args:
            address: IP address as text; a peer without one, over a Unix socket, may connect.
            now: Monotonic seconds; for the log.
        """
        if not self._limited or not address or self._holds(address):
            return True
        self.refused += 1
        if now >= self._silent_until:
            log.warning(
                "[%s] lets in nobody from %s; connections refused: %d", self._where, address, self.refused
            )
            self._silent_until = now + QUIET
        return False

    def _holds(self, address: str) -> bool:
        try:
            found: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(
                address.partition("%")[0]
            )
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        number, version = int(found), found.version
        if _among(self._deny, number, version):
            return False
        return not self._allow or _among(self._allow, number, version)


def _among(ranges: Sequence[_Range], number: int, version: int) -> bool:
    return any(kind == version and number & mask == start for kind, start, mask in ranges)


def _read(key: str, texts: Sequence[str]) -> tuple[_Range, ...]:
    if len(texts) > RANGES_MAX:
        problem = f"{key}: more than {RANGES_MAX} ranges"
        raise ConfigError("peers", problem, "Name larger ranges")
    found = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text.strip())
        except ValueError as error:
            hint = "Write it like 10.0.0.0/8, 192.0.2.7 or fd00::/8"
            raise ConfigError("peers", f"{key}: {text!r} is no range of addresses: {error}", hint) from None
        found.append((network.version, int(network.network_address), int(network.netmask)))
    return tuple(found)
