import pytest

from popham.errors import WireError
from popham.model.communication import Dialer
from popham.model.generation import GENERATION, OLDEST, STOCK, VISITS, check_generations, generation_of

TABLE = {
    # upstream, downstream, dialer: the remedy; None where they may talk
    (1, STOCK, Dialer.AGENT): None,
    (1, 1, Dialer.AGENT): None,
    (1, 2, Dialer.AGENT): None,
    (2, STOCK, Dialer.AGENT): None,
    (2, 1, Dialer.AGENT): None,
    (2, 2, Dialer.AGENT): None,
    (1, STOCK, Dialer.MANAGER): "Let it dial a Proxy Manager in its network, and dial that",
    (1, 1, Dialer.MANAGER): "Upgrade the agent, or let it dial a Proxy Manager in its network, and dial that",
    (1, 2, Dialer.MANAGER): "Upgrade the upstream, or let the agent dial",
    (2, STOCK, Dialer.MANAGER): "Let it dial a Proxy Manager in its network, and dial that",
    (2, 1, Dialer.MANAGER): "Upgrade the agent, or let it dial a Proxy Manager in its network, and dial that",
    (2, 2, Dialer.MANAGER): None,
}


def test_the_table_has_every_pair_of_this_version():
    assert (GENERATION, OLDEST, VISITS) == (2, 1, 2)
    assert len(TABLE) == GENERATION * (GENERATION + 1) * len(Dialer)


@pytest.mark.parametrize(("pair", "remedy"), TABLE.items())
def test_f_t2_every_pair_may_talk_or_is_told_the_remedy(pair, remedy):
    if remedy is None:
        check_generations(*pair)
        return
    with pytest.raises(WireError, match="cannot") as caught:
        check_generations(*pair)
    assert (caught.value.code, caught.value.hint) == ("wire.generation", remedy)


@pytest.mark.parametrize("dialer", Dialer)
def test_a_newer_generation_is_the_newer_ends_to_judge(dialer):
    check_generations(GENERATION + 1, GENERATION, dialer)
    check_generations(GENERATION, GENERATION + 1, dialer)


@pytest.mark.parametrize("dialer", Dialer)
def test_a_generation_that_is_too_old_is_told_the_remedy(dialer):
    for downstream in (STOCK, OLDEST, GENERATION):
        if (downstream, dialer) == (STOCK, Dialer.MANAGER):
            continue
        with pytest.raises(WireError) as caught:
            check_generations(OLDEST - 1, downstream, dialer)
        assert "Upgrade the upstream" in caught.value.hint
    with pytest.raises(WireError, match="agent speaks generation -1"):
        check_generations(GENERATION, OLDEST - 2, dialer)


@pytest.mark.parametrize(
    ("version", "generation"),
    [("0.1.0", 1), ("0.4.9", 1), ("0.5.0", 2), ("0.10.0", 2), ("1.0.0", 2), ("", 2), ("of a branch", 2)],
)
def test_f_t2_an_agents_version_says_its_generation(version, generation):
    assert generation_of(version) == generation
