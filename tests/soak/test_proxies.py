"""Two hundred stories of Proxy Managers in which many things fail, from seeds. Minutes."""

import pytest
from tests.simulation.conftest import keys, simulate
from tests.simulation.test_proxies_faults import tell, tell_of_faults

__all__ = ["keys", "simulate", "tell"]
pytestmark = pytest.mark.soak


@pytest.mark.parametrize("seed", range(1000, 1200))
def test_rel_5_rel_8_after_many_faults_all_are_in_sync_and_nothing_is_lost_or_doubled(
    tell, seed
):  # a fixture
    tell_of_faults(tell, seed, count=20)
