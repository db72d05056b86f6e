"""20,000 attacks of an evil Proxy Manager, of all kinds together: 0 acceptances. Minutes."""

import os

import pytest
from hypothesis import settings
from tests.evil.attack import ALTERED, BODIES, PLACES, attacks
from tests.evil.campaign import places, wage

pytestmark = pytest.mark.soak

ATTACKS = int(os.environ.get("POPHAM_SOAK_ATTACKS", "20000"))


def test_sec_21_22_24_25_an_evil_proxy_attacks_20_000_times_and_nothing_of_it_is_taken():
    every = (*PLACES, "wire", "content")
    counts = wage(attacks(every, ("", "", *ALTERED), BODIES), least=ATTACKS, chosen=settings())
    assert places(counts) == set(every)
    assert {
        f"trust.{reason}" for reason in ("signature", "rollback", "blob", "audience", "type")
    } <= counts.keys()
