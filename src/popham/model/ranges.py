"""Whether an address lies in one of some ranges; pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


def in_ranges(ranges: Iterable[str], address: str) -> bool:
    """Return whether ``address`` is in one of ``ranges`` (CIDR); False for what is no address.

    An IPv4 address that came over an IPv6 socket counts as the IPv4 address it is.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in ipaddress.ip_network(one) for one in ranges)
