"""How agents of a cohort are judged where clocks are wrong, nothing changes for them, or they have left."""

from dataclasses import replace

import pytest
from tests.manager.conftest import ADMIN, NOW, group, policy
from tests.manager.rolling import OWN, add, agent, uid_of
from tests.manager.watching import Crew

from popham.manager.members import find_members
from popham.model.fleet import Admission
from popham.model.rollout import RolloutTerms
from popham.model.status import Downtime, Outcome

AT_HOME = OWN[:-1] + ", locations: [{name: away, default: true}, {name: home, when: {address: 10.0.0.0/8}, "
AT_HOME += "policies: {files: NAME}}]}"
AT_HOME = AT_HOME.replace("{files: false}", "{files: false}, locations: false")


@pytest.fixture
async def crew(bench):
    found = Crew(bench)
    await found.begin()
    return found


def set_clocks(crew, numbers, wrong):
    """Have agents whose clocks are wrong by so many seconds."""
    for number in numbers:
        record = crew.book.held[uid_of(number)]
        record._state = replace(record.state, since=record.state.since + wrong)


async def test_sec_42_a_failure_where_nothing_changes_is_none_of_the_rollout(bench):
    crew = Crew(bench)
    others = (policy("former", "a"), policy("later", "b"))
    await bench.apply(policy(), *others, group("paris", AT_HOME.replace("NAME", "former")), force=True)
    await add(bench, *map(agent, range(20)))
    crew.gather()
    everybody = RolloutTerms.of([1.0])
    await bench.apply(group("paris", AT_HOME.replace("NAME", "later")), rollout=everybody, force=True)
    crew.bundle = await bench.bundle("paris")
    same = crew.bundle.candidate.locations["away"].resolved_digest
    for number in range(20):
        said = {"outcome": Outcome.APPLIED, "applied_resolved": same}
        said = said if number > 2 else {"outcome": Outcome.FAILED, "error_code": "files.exit"}
        digest = crew.bundle.content_digest
        crew.say(number, content_digest=digest, location="away", resolved=same, **said)
    view = await crew.look(1)
    assert (view.state, view.failed, view.pending, view.applied) == ("running", 0, 0, 20)
    at_home = crew.bundle.candidate.locations["home"].resolved_digest
    crew.say(5, content_digest=digest, location="home", resolved=at_home, outcome=Outcome.FAILED)
    view = await crew.look(1)
    assert (view.state, view.reason) == ("halted", "1 failed of 20 in wave 1")


@pytest.mark.parametrize("wrong", [-86400, -3600, 0, 3600])
async def test_sec_42_who_falls_silent_is_silent_whatever_its_clock_says(crew, wrong):
    crew.applies(*crew.first)
    set_clocks(crew, crew.first, wrong)
    await crew.look(1)
    first = crew.first
    view = await crew.look(300)
    assert (view.state, view.silent) == ("halted", len(first))


@pytest.mark.parametrize("wrong", [-86400, 0, 86400])
async def test_f_y17_who_bore_it_by_the_managers_clock_may_be_switched_off(crew, wrong):
    await crew.bench.service.pause_rollout(ADMIN, "r1")
    await crew.look(1)
    crew.applies(*crew.first)
    set_clocks(crew, crew.first, wrong)
    await crew.look(1)
    crew.bench.clock.at += 700
    crew.here(*crew.first)
    view = await crew.look(86400)
    assert (view.state, view.applied, view.silent) == ("paused", len(crew.first), 0)


async def test_sec_42_who_comes_into_a_wider_wave_has_borne_nothing_yet(crew):
    crew.applies(*crew.first)
    await crew.look(1)
    crew.bench.clock.at += 601
    crew.here()
    former = crew.first
    assert (await crew.look()).wave == 2
    late = sorted(set(range(20)) - set(former))
    crew.applies(*late)
    set_clocks(crew, late, -3600)
    await crew.look(1)
    crew.bench.clock.at += 300
    crew.here(*former)
    view = await crew.look()
    assert (view.state, view.silent) == ("halted", len(late))


async def test_sec_42_a_clock_that_goes_back_hides_nobody_who_fell_silent(crew):
    crew.bench.clock.at -= 7200
    crew.applies(*crew.first)
    view = await crew.look(1)
    assert (view.state, view.waves[0].began) == ("running", NOW - 7199)
    first = crew.first
    view = await crew.look(300)
    assert (view.state, view.silent) == ("halted", len(first))


async def test_sec_42_who_was_heard_only_before_the_clock_went_back_is_silent(crew):
    crew.applies(*crew.first)
    await crew.look(1)
    crew.bench.clock.at -= 7200
    await crew.look(1)
    first = crew.first
    view = await crew.look(300)
    assert (view.state, view.silent) == ("halted", len(first))


async def test_f_y17_a_clock_that_goes_back_begins_the_wave_anew_for_those_who_are_heard(crew):
    crew.applies(*crew.first)
    await crew.look(1)
    crew.bench.clock.at -= 7200
    for _ in range(13):
        crew.here()
        assert (await crew.look(50)).wave == 1
    crew.here()
    assert (await crew.look(50)).wave == 2


async def test_sec_42_nothing_widens_once_everybody_has_left_the_cohort(crew):
    crew.applies(*crew.first)
    await crew.look(1)
    for number in crew.first:
        crew.book.held[uid_of(number)].admission = Admission.REVOKED
    view = await crew.look(601)
    assert (view.state, view.wave, view.cohort) == ("running", 1, 0)
    assert view.next.startswith("nobody is in the cohort any more")
    assert (await crew.bench.service.promote_rollout(ADMIN, "r1")).state == "promoted"


async def test_f_y17_a_rollout_that_no_agent_is_left_for_ends_by_itself(crew):
    for record in crew.book.held.values():
        record.group = "lyon"
    for _ in range(3):
        view = await crew.look(601)
        view = await crew.look(601)
    assert view.state == "promoted"


def test_f_y17_of_downtimes_only_those_count_that_an_agent_lived_through(crew):
    downtimes = (Downtime(NOW - 500, NOW - 400), Downtime(NOW - 200, NOW - 20))
    records = list(crew.book.held.values())[:3]
    for record, heard in zip(records, (NOW, NOW - 210, NOW - 230), strict=True):
        record.last_contact = heard
    found = find_members(records, ["paris"], NOW, downtimes)["paris"]
    assert [one.in_contact for one in found] == [True, True, True]
    records[0].last_contact = None
    records[2].last_contact = NOW - 900
    found = find_members(records, ["paris"], NOW, downtimes)["paris"]
    assert [one.in_contact for one in found] == [False, True, False]
