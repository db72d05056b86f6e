"""Which Proxy Managers may visit a machine: by its group, its uid, the time that it knows, and never by their own word."""

from dataclasses import replace

import pytest

from popham.agent.visited import AgentWorld
from popham.agent.visitors import STATEMENTS, Home, Visitors
from popham.trust.keys import SigningKey
from popham.trust.tuf import TrustedTuf
from popham.trust.visitor import Visitor, seal_visitor

from .orders import UID

PROXY = "0198c2a0-0000-7000-8000-0000000000aa"
KEY = SigningKey.create()
NOW = 1_800_000_000
HOME = Home(UID, "dock", NOW)


def raw(key):
    return key.public.crypto.public_bytes_raw()


def statement(keys, **changes):
    made = Visitor(
        uid=PROXY, keyid=KEY.keyid, public_key=raw(KEY), groups=("dock",), issued=NOW, expires=NOW + 3600
    )
    return seal_visitor(replace(made, **changes), keys.director)


def test_sec_30_what_is_relayed_is_taken_of_the_upstream_only_and_not_of_whoever_has_the_group(
    keys, visitors
):
    sibling, above = statement(keys), statement(keys, relays=(UID,))
    assert visitors.find(KEY.keyid, sibling, HOME) is not None
    assert visitors.find(KEY.keyid, sibling, HOME, relays=True) is None
    assert visitors.find(KEY.keyid, above, HOME, relays=True) is not None
    assert visitors.find(KEY.keyid, above, replace(HOME, uid=PROXY), relays=True) is None
    assert visitors.find(KEY.keyid, above, None, relays=True) is None


class CountingTuf:
    """Counts what is verified."""

    def __init__(self, keys):
        self.tuf, self.count = TrustedTuf.from_bytes(keys.root, keys.targets), 0

    def verify(self, envelope):
        self.count += 1
        self.tuf.verify(envelope)


@pytest.fixture
def tuf(keys):
    return CountingTuf(keys)


@pytest.fixture
def visitors(tuf):
    return Visitors(tuf)


def test_sec_30_a_proxy_manager_visits_the_agents_of_its_groups_and_those_that_are_named(keys, visitors):
    assert visitors.find(KEY.keyid, statement(keys), HOME).public_bytes_raw() == raw(KEY)
    assert visitors.find(KEY.keyid, statement(keys), replace(HOME, group="pier")) is None
    assert visitors.find(KEY.keyid, statement(keys), replace(HOME, group="")) is None
    named = statement(keys, groups=(), agents=(UID,))
    assert visitors.find(KEY.keyid, named, replace(HOME, group="pier")) is not None
    assert visitors.find(KEY.keyid, named, replace(HOME, uid=PROXY)) is None


def test_sec_21_a_statement_is_for_the_key_that_it_names(keys, visitors):
    assert visitors.find(SigningKey.create().keyid, statement(keys), HOME) is None
    assert visitors.find(KEY.keyid, b"made up", HOME) is None
    assert visitors.find(KEY.keyid, b"", HOME) is None


def test_a_statement_is_verified_once_and_looked_at_each_time(keys, tuf, visitors):
    shown = statement(keys)
    for _ in range(5):
        assert visitors.find(KEY.keyid, shown, HOME) is not None
    assert visitors.find(KEY.keyid, shown, replace(HOME, group="pier")) is None
    assert visitors.find(KEY.keyid, shown, replace(HOME, now=NOW + 3600)) is None
    assert tuf.count == 1
    altered = shown.replace(b"A", b"B", 1)
    assert visitors.find(KEY.keyid, altered, HOME) is None


def test_so_many_statements_are_known_again_and_one_that_is_shown_stays(keys, tuf, visitors):
    shown = statement(keys)
    for number in range(3 * STATEMENTS):
        assert visitors.find(KEY.keyid, statement(keys, issued=number), HOME) is not None
        assert visitors.find(KEY.keyid, shown, HOME) is not None
    assert tuf.count == 3 * STATEMENTS + 1
    assert len(visitors._known) <= STATEMENTS


def test_what_nobody_signed_is_not_remembered(keys, visitors):
    forged = statement(replace(keys, director=SigningKey.create()))
    assert visitors.find(KEY.keyid, forged, HOME) is None
    assert not visitors._known


class End:
    """The agent's end of a machine."""

    def __init__(self, orders):
        self.orders = orders

    @property
    def home(self):
        enforcer = self.orders.enforcer
        return Home(UID, enforcer.assignment.group, enforcer.known_time)


@pytest.fixture
def world(orders):
    tuf = TrustedTuf.from_bytes(orders.keys.root, orders.keys.targets)
    return AgentWorld(orders.state, tuf, None, End(orders))


def test_sec_30_the_group_is_that_of_the_newest_assignment(keys, orders, world):
    now = int(orders.clock.now())
    shown = statement(keys, issued=now, expires=now + 60)
    assert world.find_visitor(KEY.keyid, shown) is None
    orders.assign("dock")
    assert world.find_visitor(KEY.keyid, shown) is not None
    orders.assign("pier")
    assert world.find_visitor(KEY.keyid, shown) is None
    assert world.find_director(keys.director.keyid) is not None
    assert world.find_director(KEY.keyid) is None


def test_a_clock_that_is_behind_locks_nobody_out_and_revives_nothing(keys, orders, world):
    orders.assign("dock")
    now = int(orders.clock.now())
    from_the_future = statement(keys, issued=now + 10**8, expires=now + 10**8 + 60)
    assert world.find_visitor(KEY.keyid, from_the_future) is not None
    shown = statement(keys, issued=now - 7200, expires=now - 3600)
    assert world.find_visitor(KEY.keyid, shown) is None
    held = statement(keys, issued=now, expires=now + 60)
    assert world.find_visitor(KEY.keyid, held) is not None
    newest = replace(orders.enforcer.assignment, issued=now + 120)
    orders.enforcer.assignment = newest  # as the director signed it two minutes later
    assert world.find_visitor(KEY.keyid, held) is None
