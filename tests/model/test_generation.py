import pytest

from popham.errors import WireError
from popham.model.communication import Dialer
from popham.model.generation import (
    GENERATION,
    OLDEST,
    OPERATIONS,
    STOCK,
    STREAMS,
    VISITS,
    check_generations,
    generation_of,
)

PROXY = "et it dial a Proxy Manager in its network, and dial that"
ALLOWED = None
STOCK_DIALLED = f"L{PROXY}"
OLD_AGENT_DIALLED = f"Upgrade the agent, or l{PROXY}"
OLD_UPSTREAM_DIALS = "Upgrade the upstream, or let the agent dial"
GENERATIONS = (1, 2, 3, 4)
TABLE = {
    # upstream, downstream, dialer: the remedy
    **{(up, down, Dialer.AGENT): ALLOWED for up in GENERATIONS for down in (STOCK, *GENERATIONS)},
    **{(up, STOCK, Dialer.MANAGER): STOCK_DIALLED for up in GENERATIONS},
    (1, 1, Dialer.MANAGER): OLD_AGENT_DIALLED,
    **{(1, down, Dialer.MANAGER): OLD_UPSTREAM_DIALS for down in (2, 3, 4)},
    **{(up, 1, Dialer.MANAGER): OLD_AGENT_DIALLED for up in (2, 3, 4)},
    **{(up, down, Dialer.MANAGER): ALLOWED for up in (2, 3, 4) for down in (2, 3, 4)},
}


def test_the_table_has_every_pair_of_this_version():
    assert (GENERATION, OLDEST, VISITS, OPERATIONS, STREAMS) == (4, 1, 2, 3, 4)
    assert len(TABLE) == GENERATION * (GENERATION + 1) * len(Dialer)


@pytest.mark.parametrize(("pair", "remedy"), TABLE.items())
def test_f_l9_every_pair_may_talk_or_is_told_the_remedy(pair, remedy):
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
    [
        ("0.1.0", 1),
        ("0.4.9", 1),
        ("0.5.0", 2),
        ("0.5.9", 2),
        ("0.6.0", 3),
        ("0.6.9", 3),
        ("0.7.0", 4),
        ("0.10.0", 4),
        ("1.0.0", 4),
        ("", 4),
        ("of a branch", 4),
    ],
)
def test_f_l9_an_agents_version_says_its_generation(version, generation):
    assert generation_of(version) == generation


def test_f_l9_what_an_agent_says_of_itself_counts_more_than_its_version():
    assert generation_of("0.4.0", 3) == 3
    assert generation_of("9.9", 2) == 2
