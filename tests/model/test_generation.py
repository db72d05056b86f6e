import pytest

from popham.errors import WireError
from popham.model.communication import Dialer
from popham.model.generation import (
    GENERATION,
    OLDEST,
    OPERATIONS,
    PROXIES,
    STOCK,
    STREAMS,
    VISITS,
    check_generations,
    check_relay,
    generation_of,
)

PROXY = "et it dial a Proxy Manager in its network, and dial that"
ALLOWED = None
STOCK_DIALLED = f"L{PROXY}"
OLD_AGENT_DIALLED = f"Upgrade the agent, or l{PROXY}"
OLD_UPSTREAM_DIALS = "Upgrade the upstream, or let the agent dial"
GENERATIONS = (1, 2, 3, 4, 5)
DIALLED = GENERATIONS[1:]
TABLE = {
    # upstream, downstream, dialer: the remedy
    **{(up, down, Dialer.AGENT): ALLOWED for up in GENERATIONS for down in (STOCK, *GENERATIONS)},
    **{(up, STOCK, Dialer.MANAGER): STOCK_DIALLED for up in GENERATIONS},
    (1, 1, Dialer.MANAGER): OLD_AGENT_DIALLED,
    **{(1, down, Dialer.MANAGER): OLD_UPSTREAM_DIALS for down in DIALLED},
    **{(up, 1, Dialer.MANAGER): OLD_AGENT_DIALLED for up in DIALLED},
    **{(up, down, Dialer.MANAGER): ALLOWED for up in DIALLED for down in DIALLED},
}


def test_the_table_has_every_pair_of_this_version():
    assert (GENERATION, OLDEST, VISITS, OPERATIONS, STREAMS, PROXIES) == (5, 1, 2, 3, 4, 5)
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
        ("0.7.9", 4),
        ("0.8.0", 5),
        ("0.10.0", 5),
        ("1.0.0", 5),
        ("", 5),
        ("of a branch", 5),
    ],
)
def test_f_l9_an_agents_version_says_its_generation(version, generation):
    assert generation_of(version) == generation


def test_f_l9_what_an_agent_says_of_itself_counts_more_than_its_version():
    assert generation_of("0.4.0", 3) == 3
    assert generation_of("9.9", 2) == 2


@pytest.mark.parametrize("agent", [STOCK, *GENERATIONS])
def test_f_l9_every_agent_may_dial_a_proxy_manager(agent):
    check_generations(GENERATION, agent, Dialer.AGENT, proxy=True)


@pytest.mark.parametrize("agent", [2, 3, 4])
def test_f_l9_an_older_agent_is_not_visited_by_a_proxy_manager_and_is_told_the_remedy(agent):
    with pytest.raises(WireError, match="cannot be dialled by a Proxy Manager before 5") as caught:
        check_generations(GENERATION, agent, Dialer.MANAGER, proxy=True)
    assert caught.value.hint == "Upgrade the agent, or let it dial the Proxy Manager"
    check_generations(GENERATION, agent, Dialer.MANAGER)
    check_generations(GENERATION, PROXIES, Dialer.MANAGER, proxy=True)


def test_f_l9_a_proxy_manager_relays_to_whoever_knows_relays():
    check_relay(PROXIES, PROXIES)
    check_relay(GENERATION + 1, PROXIES)
    with pytest.raises(
        WireError, match="the upstream speaks generation 4, and cannot relay before 5"
    ) as caught:
        check_relay(4, 5)
    assert caught.value.hint.startswith("Upgrade the upstream")
    with pytest.raises(WireError, match="the Proxy Manager speaks generation 4"):
        check_relay(5, 4)
