"""Which agents stay below the Manager's version."""

import pytest

from popham.manager.lagging import explain_behind
from popham.model.status import Downtime

BEGAN = 10_000.0


def look(version, last, own="0.9.0", first=0.0):
    return explain_behind(
        version, own, first=first, last=last, heartbeat=100.0, downtimes=[Downtime(9_000.0, BEGAN)]
    )


def test_f_l9_an_older_agent_is_said_once_it_was_heard_of_for_over_three_heartbeats():
    assert look("0.8.2", BEGAN + 300) == ""
    assert look("0.8.2", BEGAN + 301) == "it runs 0.8.2, and the Manager 0.9.0: upgrade it"


def test_f_l9_one_that_came_lately_has_its_time_too():
    assert look("0.8.2", BEGAN + 1000, first=BEGAN + 800) == ""


@pytest.mark.parametrize("version", ["0.9.0", "0.10.1", "1.0.0", "0.9", "", "unknown"])
def test_f_l9_who_is_not_older_or_does_not_say_is_not_behind(version):
    assert look(version, BEGAN + 1e6) == ""


def test_f_l9_who_was_never_heard_of_is_not_behind():
    assert look("0.1.0", None) == ""
