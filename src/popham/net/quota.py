"""What one peer, or one address, may use of what all share.

Each keeps one number: the time until which it has spent what it may spend.  Who
is quiet gains it back; who is too far ahead of the clock waits.

Source: guarantees SEC-8 and SEC-10; the generic cell rate algorithm, ITU-T I.371.
"""

from __future__ import annotations

import ipaddress

from popham.net.seam import Limits, Peer

BURST = 5.0
"""Seconds of its quota that a peer may use at once, after it was quiet as long."""
ABUSE_TIME = 60.0
"""Seconds of steady resting after which a link is closed: it is no burst any more."""
FAILURE_BURST = 10.0
"""Seconds of failures that an address may have at once."""
ADDRESSES = 4096
"""Addresses whose failures are remembered; the one that has been there longest goes first."""


class Quota:
    """Messages and bytes that one connection may send in a second; what is spent stands in its :class:`Peer`."""

    __slots__ = ("_byte", "_each")

    def __init__(self, limits: Limits) -> None:
        """Take the rates; 0 stands for no limit."""
        self._each = 1.0 / limits.messages_per_second if limits.messages_per_second else 0.0
        self._byte = 1.0 / limits.bytes_per_second if limits.bytes_per_second else 0.0

    def spend(self, peer: Peer, messages: int, size: int, now: float) -> float:
        """Count messages and bytes, and return the seconds that the peer has to rest for them; 0 for none."""
        cost = messages * self._each + size * self._byte
        peer.spent = spent = max(peer.spent, now) + cost
        return max(0.0, spent - now - BURST)

    def ask(self, peer: Peer, messages: int, size: int, now: float) -> float:
        """Count as :meth:`spend`, but only what may be spent: what is refused costs nothing."""
        spent = peer.spent
        if spent - now > BURST:
            return spent - now - BURST
        # As in spend(); a call more would cost as much as this does.
        begin = spent if spent > now else now  # noqa: FURB136  # max() costs as much as the rest
        peer.spent = begin + messages * self._each + size * self._byte
        return 0.0

    @staticmethod
    def is_calm(peer: Peer, now: float) -> bool:
        """Return whether the peer has gained back half of what it may use at once."""
        return peer.spent - now < BURST / 2


class Failures:
    """How often each address failed to say who it is; who fails too often is not listened to for a while."""

    def __init__(self, per_second: float) -> None:
        """Let every address fail so often; 0 for no limit."""
        self._each = 1.0 / per_second if per_second else 0.0
        self._spent: dict[str, float] = {}
        self.turned_away = 0
        """Connections that were ended unheard."""

    def __len__(self) -> int:
        """Return how many addresses are remembered."""
        return len(self._spent)

    def note(self, address: str, now: float) -> None:
        """Count one failure."""
        if not self._each:
            return
        place = place_of(address)
        spent = self._spent.pop(place, 0.0)
        if len(self._spent) >= ADDRESSES:
            del self._spent[next(iter(self._spent))]
        # Those that were under way when it was blocked do not block it for longer than that.
        self._spent[place] = min(max(spent, now) + self._each, now + 2 * FAILURE_BURST)

    def blocks(self, address: str, now: float) -> bool:
        """Return whether an address has failed so often that it has to wait, and count that."""
        if not self._spent:
            return False
        blocked = self._spent.get(place_of(address), 0.0) - now > FAILURE_BURST
        self.turned_away += blocked
        return blocked


def place_of(address: str) -> str:
    """Return what is counted as one address: an IPv6 network of 64 bits, as one machine has that many."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(found) >> 64 << 64))
