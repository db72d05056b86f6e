"""Whether an address lies in one of some ranges; pure."""

from __future__ import annotations

from collections.abc import Iterable

from popham.model.criteria import in_range, read_address


def in_ranges(ranges: Iterable[str], address: str) -> bool:
    """Return whether ``address`` is in one of ``ranges`` (CIDR); False for what is no address.

    An IPv4 address that came over an IPv6 socket counts as the IPv4 address it is.
    """
    try:
        read_address(address)
    except ValueError:
        return False
    return any(in_range(one, (address,)) for one in ranges)
