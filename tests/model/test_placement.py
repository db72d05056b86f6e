"""Rules of placement, as people write them."""

import pytest

from popham.errors import DefinitionError
from popham.model.placement import read_placement
from popham.model.selector import SELECTOR_MAX


def test_f_g5_a_selector_that_would_be_kept_too_long_is_refused_before_an_agent_arrives():
    short = ",".join(f"k{number} in(a,b)" for number in range(70))
    kept = read_placement("rule", {"selector": short, "group": "web"}, {})
    assert not kept.fits(token="", labels={}, address="10.0.0.1")
    long = ",".join(f"k{number} in(a,b)" for number in range(86))
    assert len(long) <= SELECTOR_MAX
    with pytest.raises(DefinitionError) as caught:
        read_placement("rule", {"selector": long, "group": "web"}, {})
    assert caught.value.code == "definition.selector"
