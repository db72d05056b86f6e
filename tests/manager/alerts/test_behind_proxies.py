"""What is said of agents that are missed since the Proxy Manager is away by which they are heard of."""

import pytest

from popham.manager.alerts.own import Own
from popham.model.fleet import Admission
from popham.testing.virtual import VirtualClock
from popham.upstream.record import Record
from popham.upstream.relayed import Relayed, Roll


class Fleet:
    """One agent at a proxy."""

    def __init__(self, now):
        self.downtimes = ()
        self.proxy = Record("p", b"p", "dock", "lab", contacted=now, own_promise=30.0)
        self.agent = Record("a", b"a", "web-1", "lab", admission=Admission.ACCEPTED, own_promise=60.0)
        self.agent.via, self.agent.relay = ("p",), Relayed(Roll(self.proxy, 1), 0, 60.0, said=now)

    def records(self):
        return [self.agent]

    def wanted(self, _group):
        return None


class Sees:
    """Sees nothing unusual."""

    def waiting(self, _uid):
        return 0

    def skew(self, _uid):
        return None

    def is_late(self, *_):
        return False


class Settings:
    waiting, skew = 1000, 60.0


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.mark.parametrize(
    ("proxy", "text"), [(0.0, ""), (200.0, "; it is behind the proxy dock, which is missing")]
)
def test_f_o6_an_agent_that_is_missed_with_its_proxy_names_it(clock, proxy, text):
    fleet = Fleet(clock.now())
    clock.elapsed += 200.0
    fleet.proxy.contacted = clock.now() - proxy
    own = Own(None, fleet, Sees(), clock, Settings(), told=None)
    assert dict(own._judge(fleet.agent))["presence"] == ("warning", f"overdue: not heard of for 200s{text}")
