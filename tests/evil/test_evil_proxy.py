"""An evil Proxy Manager between a real agent and what real directors signed: it can withhold, and nothing else.

Each campaign has its part of 1,000 attacks; ``make soak`` makes 20,000 more, of all kinds together.
"""

from collections import Counter

import pytest

from popham.model.names import DEFAULT_TENANT
from popham.trust import dsse, verify
from popham.trust.tuf import TrustedTuf
from popham.upstream.directive import quiet

from .attack import ALTERED, BODIES, PLACES, Attack, attacks
from .campaign import places, wage
from .history import VICTIM, history
from .victim import Victim


@pytest.fixture(autouse=True, scope="module")
def said():
    return history()  # which is made in a loop of its own


@pytest.fixture
def victim(tmp_path):
    found = Victim(tmp_path / "state", Counter())
    yield found
    found.close()


def put(document, place="offer", **how):
    """Return the attack that puts one document somewhere."""
    where = history().documents.index(document)
    return Attack(place, where, where, **how)


def test_sec_21_nothing_is_accepted_that_the_director_did_not_sign():
    counts = wage(attacks(altered=ALTERED), least=300)
    assert places(counts) == set(PLACES)
    assert counts["trust.signature"] > 30
    assert counts["trust.envelope"] > 30


def test_sec_22_nothing_older_is_accepted_also_across_restarts():
    counts = wage(attacks(("offer", "named", "assignment"), altered=("",)), least=200)
    assert counts["trust.rollback"] > 10
    assert counts["taken"] > 10


def test_sec_24_parts_of_two_histories_are_not_taken_for_one():
    mixed = ("", "spliced", "signed by another", "of another payload")
    counts = wage(attacks(("offer", "named"), mixed, BODIES), least=200)
    assert counts["trust.blob"] > 5
    assert counts["trust.signature"] > 10


def test_sec_25_what_is_for_others_or_for_another_purpose_is_not_taken():
    counts = wage(attacks((*PLACES, "wire", "content"), altered=("",)), least=300)
    assert places(counts) == {*PLACES, "wire", "content"}
    assert counts["trust.type"] > 10
    assert counts["trust.audience"] > 10


async def test_sec_22_an_assignment_from_before_the_one_it_was_born_with_is_refused_also_after_a_restart(
    victim,
):
    older = history().of("assignment", uid=VICTIM)[0]
    for _ in range(2):
        for place in ("assignment", "admission"):
            await victim.bear(put(older, place))
        assert victim.counts["trust.rollback"] > 0
        assert victim.broken == []
        victim.counts.clear()
        victim.restart()


async def test_sec_22_a_floor_that_a_restart_found_holds_where_the_group_changes_back(victim):
    await victim.deliver()
    await victim.deliver()
    group, held = victim.assigned.group, victim.floors[victim.assigned.group]
    for one in history().of("assignment", uid=VICTIM)[2:5]:
        await victim.bear(put(one, "assignment"))
        await victim.deliver()
        victim.restart()
    while victim.assigned.group != group:
        newer = [
            one
            for one in history().of("assignment", uid=VICTIM)
            if one.group == group and one.number > victim.assigned.number
        ]
        await victim.bear(put(newer[0], "assignment"))
    for one in history().of("bundle", group=group):
        if one.number < held:
            await victim.bear(put(one))
            assert victim.state.floor(DEFAULT_TENANT, group).version >= held
    assert victim.broken == []


async def test_sec_23_what_is_withheld_changes_nothing_and_what_comes_then_is_taken(victim):
    await victim.deliver()
    before, applied = victim.report(), victim.applier.applied
    for _ in range(5):
        for _ in range(10):
            victim.end.report(force=True)
            await victim.end.receive(quiet(victim.end.uid))
        victim.restart()
        victim.judge()
    after = victim.report()
    assert (after.version, after.serial, after.outcome) == (before.version, before.serial, before.outcome)
    assert victim.applier.applied == applied
    await victim.deliver()
    assert victim.report().version > before.version
    assert victim.broken == []


# That the judge sees what it is there to see.


async def attacked(victim, attack):
    await victim.deliver()
    await victim.deliver()
    await victim.bear(attack)
    return victim.broken


async def test_an_agent_that_believes_every_signature_is_found_out(victim, monkeypatch):
    monkeypatch.setattr(TrustedTuf, "verify", lambda *_: None)
    newest = history().of("bundle", group=victim.assigned.group)[-1]
    assert await attacked(victim, put(newest, altered="forged", edit="version"))


async def test_an_agent_that_takes_what_is_older_is_found_out(victim, monkeypatch):
    monkeypatch.setattr(verify, "_check_floor", lambda *_: None)
    oldest = history().of("bundle", group=victim.assigned.group)[0]
    assert await attacked(victim, put(oldest))


async def test_an_agent_that_takes_what_is_for_others_is_found_out(victim, monkeypatch):
    monkeypatch.setattr(verify, "check_audience", lambda *_: None)
    others = [one for one in history().of("bundle") if one.group != victim.assigned.group]
    assert await attacked(victim, put(others[-1]))


async def test_an_agent_that_takes_another_agents_assignment_is_found_out(victim, monkeypatch):
    monkeypatch.setattr(verify, "check_audience", lambda *_: None)
    others = [one for one in history().of("assignment") if one.uid != VICTIM]
    assert await attacked(victim, put(others[-1], "assignment"))


async def test_an_agent_whose_floor_falls_is_found_out(victim):
    await victim.deliver()
    victim.directory.remove("floors.json")
    victim.judge()
    assert victim.broken


async def test_an_agent_that_lets_anybody_visit_is_found_out(victim, monkeypatch):
    monkeypatch.setattr("popham.trust.visitor.Visitor.may_visit", lambda *_: True)
    monkeypatch.setattr("popham.trust.visitor.Visitor.check_time", lambda *_: None)
    strange = [
        one for one in history().of("visitor") if one.group == "blue" and one.expires < victim.clock.now()
    ]
    assert await attacked(victim, put(strange[0], "visitor"))


def test_what_is_signed_beside_is_the_same_document():
    bundle = history().of("bundle")[0]
    assert dsse.Envelope.parse(bundle.envelope, types=(bundle.payload[0],)).payload == bundle.payload[1]
