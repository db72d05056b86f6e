"""Whether an address lies in a range."""

import pytest

from popham.model.ranges import in_ranges


@pytest.mark.parametrize(
    ("address", "holds"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fd00::1%eth0", True),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("", False),
        ("no address", False),
    ],
)
def test_an_address_lies_in_one_of_the_ranges_or_in_none(address, holds):
    assert in_ranges(["10.0.0.0/8", "fd00::/8"], address) is holds
    assert not in_ranges([], address)
