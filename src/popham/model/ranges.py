"""Whether an address lies in one of some ranges; pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from popham.model.criteria import read_address


def in_ranges(ranges: Iterable[str], address: str) -> bool:
    """Return whether ``address`` is in one of ``ranges`` (CIDR); False for what is no address.

    An IPv4 address that came over an IPv6 socket counts as the IPv4 address it is.
    """
    try:
        found = read_address(address)
    except ValueError:
        return False
    return any(found in ipaddress.ip_network(one) for one in ranges)
