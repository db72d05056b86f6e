"""Lines of logs on their way through Proxy Managers, between real processes: each is stored once, whatever happens."""

import signal

import pytest

from .data_lab import CELLS
from .proxy_data import BELOW, END_TO_END, HOP, Yard

LINES = 120
KILLS = 2


@pytest.fixture(scope="module")
def yard(founding):
    """A machine in each cell below two Proxy Managers."""
    yard = Yard(founding().found())
    for name in CELLS:
        yard.add(name)
    machines = yard.machines.values()
    yard.fleet.until(lambda: all(one.settled() for one in machines), "each has what it should have")
    return yard


def test_f_t2_rel_8_lines_of_agents_in_each_cell_below_a_proxy_arrive_once(yard):
    for name in CELLS:
        yard.count_on(name, LINES)
    for name in CELLS:
        yard.check_whole(name)
        assert yard[name].view["via"] == [BELOW[name]]
        skews = [abs(row["skew"]) for row in yard.records(name)]
        assert max(skews) < 10**9, "clocks are one machine's"
    yard.fleet.until(lambda: not any(map(yard.waiting, CELLS)), "each agent knows that all are stored")
    fleet = yard.fleet
    fleet.until(
        lambda: not any(one["spool"].get("logs", {}).get("records") for one in fleet.client.proxies()),
        "nothing waits at a proxy, as the Manager shows it",
    )


@pytest.mark.parametrize("custody", [END_TO_END, HOP])
def test_rel_1_nothing_is_lost_or_doubled_where_proxies_are_killed_and_the_manager_stops(yard, custody):
    yard.take_custody(custody)
    yard.storm(KILLS, seed=len(custody))
    for name in CELLS:
        yard.check_whole(name)


def test_rel_7_an_agent_that_moves_between_proxies_and_the_manager_loses_and_doubles_nothing(yard):
    name, fleet = "dials", yard.fleet
    dock, pier = (yard.proxies[one].url for one in ("dock", "pier"))
    manager = f"https://{fleet.host}:{fleet.agents_port}"
    for url in (pier, manager, dock):
        yard.count_on(name, 40)
        yard.move(name, url)
        yard.count_on(name, 40)
    yard.check_whole(name)


def test_rel_7_a_proxy_whose_disk_is_lost_loses_nothing_end_to_end(yard):
    yard.take_custody(END_TO_END)
    fleet = yard.fleet
    fleet.manager.send_signal(signal.SIGSTOP)
    yard.count_on("dials", 100)
    fleet.until(lambda: yard.held("dock"), "the proxy holds a copy")
    yard.rob("dock")
    fleet.manager.send_signal(signal.SIGCONT)
    yard.count_on("dials", 50)
    yard.check_whole("dials")


def test_rel_7_a_proxy_whose_disk_is_lost_leaves_a_visible_hole_by_hop_and_what_follows_arrives(yard):
    yard.take_custody(HOP)
    fleet = yard.fleet
    yard.check_whole("dials")
    fleet.end_manager(signal.SIGKILL)  # one that is only stopped would take what is on its way
    yard.count_on("dials", 100)
    fleet.until(lambda: yard.held("dock") == 100 and not yard.waiting("dials"), "only the proxy has them")
    yard.rob("dock")
    fleet.start_manager()
    yard.count_on("dials", 50)
    yard.check_counted("dials")
    assert yard.lost("dials") == 100
