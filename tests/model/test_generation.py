import pytest

from popham.errors import WireError
from popham.model.communication import Dialer
from popham.model.generation import GENERATION, OLDEST, STOCK, check_generations


@pytest.mark.parametrize("dialer", Dialer)
def test_equal_generations_talk_in_every_cell(dialer):
    check_generations(GENERATION, GENERATION, dialer)


def test_a_stock_agent_dials_and_is_never_dialled():
    check_generations(GENERATION, STOCK, Dialer.AGENT)
    with pytest.raises(WireError, match="cannot be dialled") as caught:
        check_generations(GENERATION, STOCK, Dialer.MANAGER)
    assert caught.value.code == "wire.generation"
    assert "Proxy Manager" in caught.value.hint


def test_a_newer_generation_is_the_newer_ends_to_judge():
    check_generations(GENERATION + 1, GENERATION, Dialer.AGENT)
    check_generations(GENERATION, GENERATION + 1, Dialer.AGENT)


def test_a_generation_that_is_too_old_is_told_the_remedy():
    with pytest.raises(WireError) as caught:
        check_generations(OLDEST - 1, GENERATION, Dialer.AGENT)
    assert "Upgrade the upstream" in caught.value.hint
