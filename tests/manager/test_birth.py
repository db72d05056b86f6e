"""A Manager lets a machine be born that may not dial out: by its visits alone."""

from dataclasses import replace

import pytest
from tests.births import Waiting, Wire, documents_of, join_of, make_fleet

from popham.errors import ConflictError, EnrollmentError, VisitError, WireError
from popham.model.cell import Dialer, Mode
from popham.model.fleet import Admission
from popham.net.signing import AUDIENCE, OPERATION, STALE
from popham.testing.direct import ADMIN
from popham.testing.virtual import VirtualClock
from popham.trust.assignment import ASSIGNMENT_TYPE, Assignment
from popham.trust.dsse import Envelope
from popham.upstream.sighting import Seen, Sight

from .born import FLEET, PUSH, VISITED, Fleet

DAY = 86_400.0


@pytest.fixture(scope="module")
def keys():
    return make_fleet(VirtualClock())


@pytest.fixture
async def fleet(keys):
    found = Fleet(keys)
    yield found
    await found.machine.stop()


def assignment_of(state):
    return Assignment.from_payload(Envelope.parse(state.assignment(), types={ASSIGNMENT_TYPE}).payload)


async def test_f_l12_one_visit_brings_proof_certificate_assignment_and_policy(fleet):
    await fleet.begin()
    assert (fleet.seen.target.uid, fleet.seen.target.mode) == ("", Mode.PULL)
    await fleet.visit()
    assert fleet.record.admission is Admission.ACCEPTED
    assert fleet.record.group == "lab"
    assert fleet.record.name == "walled"
    assert fleet.applier.applied == [("motd@1",)]
    view = await fleet.view()
    assert (view.sync, view.labels) == ("in sync", {"site": "mine"})
    assert view.certificate_until == pytest.approx(fleet.clock.now() + 7 * DAY)


async def test_f_l12_the_definition_is_bound_to_whoever_is_born_there(fleet):
    await fleet.begin(definition="line-3")
    await fleet.visit()
    assert fleet.seen.target.uid == fleet.machine.uid
    view = await fleet.manager.service.agent_definition(ADMIN, "line-3")
    assert view.uid == fleet.machine.uid


async def test_f_l12_the_next_visits_are_those_of_any_agent(fleet):
    await fleet.begin()
    await fleet.visit()
    asked = len(fleet.wire.asked)
    await fleet.visit()
    asked = fleet.wire.asked[asked:]
    assert [one.headers[OPERATION] for one in asked] == ["visit"]
    assert [one.headers[AUDIENCE] for one in asked] == [fleet.machine.uid]
    await fleet.manager.publish(FLEET.format(text="two", communication=VISITED))
    await fleet.visit()
    assert fleet.applier.applied == [("motd@1",), ("motd@2",)]
    assert (await fleet.view()).sync == "in sync"


@pytest.mark.parametrize("communication", [PUSH, VISITED])
async def test_f_l12_who_is_born_by_a_visit_is_dialled_whatever_its_group_says(fleet, communication):
    await fleet.begin(communication=communication)
    await fleet.visit()
    assert assignment_of(fleet.machine.state).dialer is Dialer.MANAGER
    assert fleet.record.dialer is Dialer.MANAGER
    assert fleet.end.settings.dialer is Dialer.MANAGER
    assert fleet.end.settings.never_dial
    assert fleet.seen.target.uid == fleet.machine.uid
    assert fleet.seen.target.mode is fleet.end.settings.mode
    audit = await fleet.manager.service.audit(ADMIN)
    said = next(entry for entry in audit.items if entry.method == "agent.dial")
    assert said.actor == f"token {fleet.token}"


async def test_f_l12_nobody_makes_it_dial_by_accident_and_an_assignment_lets_it(fleet):
    await fleet.begin(communication=PUSH)
    await fleet.visit()
    service = fleet.manager.service
    for dialer in (None, Dialer.AGENT):
        with pytest.raises(ConflictError) as error:
            await service.dial(ADMIN, "walled", dialer=dialer)
        assert error.value.code == "conflict.walled"
    await service.dial(ADMIN, "walled", dialer=None, may_dial=True)
    await fleet.manager.live.bring()
    assert assignment_of(fleet.machine.state).may_dial is False
    await fleet.calling.visit(fleet.seen)
    assert assignment_of(fleet.machine.state).may_dial is True
    assert fleet.end.settings.dialer is Dialer.AGENT
    assert not fleet.end.settings.never_dial


# Who is not let in, or not yet.


async def test_f_l12_who_waits_for_an_administrator_is_asked_at_each_visit(fleet):
    await fleet.begin(accepts=False)
    for _ in range(3):
        await fleet.visit()
        assert fleet.record.admission is Admission.NEW
        assert fleet.machine.said[-1].startswith("waiting to be accepted by an administrator")
    assert fleet.seen.target.uid == ""
    assert len((await fleet.manager.service.agents(ADMIN)).items) == 1
    await fleet.manager.service.accept(ADMIN, "walled")
    await fleet.manager.live.bring()
    await fleet.visit()
    assert fleet.applier.applied == [("motd@1",)]
    assert fleet.end.settings.dialer is Dialer.MANAGER


async def test_f_l12_who_is_refused_is_told_so_and_waits_on(fleet):
    await fleet.begin(accepts=False)
    await fleet.visit()
    await fleet.manager.service.refuse(ADMIN, "walled")
    await fleet.manager.live.bring()
    with pytest.raises(EnrollmentError, match="refused") as error:
        await fleet.visit()
    assert error.value.code == "enrollment.refused"
    assert "refused" in fleet.machine.said[-1]
    await fleet.manager.service.accept(ADMIN, "walled")
    await fleet.manager.live.bring()
    await fleet.visit()
    assert fleet.applier.applied == [("motd@1",)]


async def test_f_l12_a_machine_that_was_revoked_and_set_up_anew_is_born_at_its_definition_again(fleet):
    await fleet.begin(uses=2)
    await fleet.visit()
    former = fleet.machine.uid
    await fleet.manager.service.revoke(ADMIN, "walled")
    await fleet.manager.live.bring()
    fleet.targets.agent_changed(former)
    await fleet.targets.refresh()
    fleet.look()
    with pytest.raises(WireError, match="revoked"):
        await fleet.visit()
    fleet.machine = fleet.wire.machine = Waiting(fleet.clock, fleet.join, "walled").start()
    fleet.end = None
    await fleet.visit()
    assert fleet.machine.uid != former
    assert fleet.seen.target.uid == fleet.machine.uid
    assert fleet.applier.applied == [("motd@1",)]


async def test_f_l12_a_token_that_was_revoked_lets_nobody_be_born(fleet):
    await fleet.begin()
    await fleet.manager.service.revoke_token(ADMIN, fleet.token)
    await refused(fleet, "enrollment.revoked_token")


async def test_f_l12_a_token_that_is_used_up_lets_nobody_be_born(fleet):
    await fleet.begin(uses=1)
    other = Waiting(fleet.clock, fleet.join, "other")
    mine, fleet.machine = fleet.machine, other.start()
    fleet.wire.machine = fleet.machine
    await fleet.visit()
    assert fleet.record.name == "other"
    fleet.machine, fleet.wire.machine = mine, mine
    await fleet.define("walled-2", port=23441)
    await refused(fleet, "enrollment.used_up_token")


async def test_f_l12_a_token_that_has_expired_lets_nobody_be_born(fleet):
    await fleet.begin(lifetime=3600.0)
    fleet.clock.elapsed += 3601
    await refused(fleet, "enrollment.expired_token")


async def test_f_l12_a_token_of_another_manager_lets_nobody_be_born(fleet, keys):
    await fleet.begin()
    fleet.machine = fleet.wire.machine = Waiting(fleet.clock, join_of(keys), "walled").start()
    await refused(fleet, "enrollment.unknown_token")


async def test_f_l12_a_token_for_some_addresses_looks_at_the_one_that_was_dialled(fleet):
    await fleet.begin(address="walled.example", cidr="192.0.2.0/24")
    await refused(fleet, "enrollment.address")  # by way of a web proxy nobody here knows it
    fleet.wire.answer = lambda reply: replace(reply, address="198.51.100.7")
    await refused(fleet, "enrollment.address")
    fleet.wire.answer = lambda reply: replace(reply, address="192.0.2.7")
    await fleet.visit()
    assert fleet.applier.applied == [("motd@1",)]
    assert (fleet.record.address, (await fleet.view()).address) == ("192.0.2.7", "192.0.2.7")
    fleet.wire.answer = lambda reply: reply
    await fleet.visit()
    assert fleet.record.address == "walled.example"


async def refused(fleet, code):
    """Both ends say why nothing comes of a visit, and nothing is kept at either."""
    with pytest.raises(EnrollmentError) as error:
        await fleet.visit()
    assert error.value.code == code
    assert code in fleet.machine.said[-1]
    assert fleet.record is None
    assert fleet.seen.target.uid == ""
    assert fleet.machine.state.certificate() is None


# Who is there already.


async def test_f_l12_a_definition_without_an_agent_finds_one_that_was_born_elsewhere(fleet):
    await fleet.begin()
    await fleet.visit()
    await fleet.manager.service.delete_agent_definition(ADMIN, "walled")
    fleet.targets.definitions_changed(["walled"])
    await fleet.define("other", port=23441)
    assert fleet.seen.target.uid == ""
    await fleet.visit()
    assert [reply.status for reply in fleet.wire.replies[-3:]].count(409) == 1
    assert fleet.seen.target.uid == fleet.machine.uid


async def test_f_l12_a_second_definition_that_leads_to_the_same_agent_is_named(fleet):
    await fleet.begin()
    await fleet.visit()
    await fleet.define("other", port=23441)
    with pytest.raises(ConflictError) as error:
        await fleet.visit()
    assert error.value.code == "conflict.bound"
    assert "'walled'" in error.value.problem


async def test_f_l12_an_agent_of_another_fleet_is_a_stranger(fleet):
    await fleet.begin()
    strange = Fleet(make_fleet(VirtualClock()))
    await strange.begin()
    fleet.wire.machine = strange.machine
    with pytest.raises(VisitError) as error:
        await fleet.visit()
    assert error.value.code == "visit.stranger"
    assert "is not believed" in strange.machine.said[-1]
    await strange.machine.stop()


async def test_f_l12_an_answer_that_was_swapped_on_the_way_lets_nobody_be_born(fleet):
    await fleet.begin()
    twin = Waiting(fleet.clock, fleet.join, "twin").start()
    other = Wire(twin)
    visit = fleet.calling._visit(Seen(fleet.seen.target, Sight(0.0), other), b"")
    await visit.birth(documents_of(fleet.manager.keys), lambda _uid: b"")
    fleet.wire.answer = lambda reply: reply if reply.status == STALE else other.replies[-1]
    with pytest.raises(VisitError) as error:
        await fleet.visit()
    assert error.value.code == "visit.signature"
    assert fleet.record is None
    assert fleet.manager.book.record(twin.uid) is None
    await twin.stop()


async def test_f_l12_a_lost_answer_costs_a_repeat_and_no_second_use_of_the_token(fleet):
    await fleet.begin(uses=1)
    lost = iter([True])

    def lose(reply):
        if reply.status == 200 and next(lost, False):
            raise VisitError("unreachable", "the answer was lost")
        return reply

    fleet.wire.answer = lose
    with pytest.raises(VisitError):
        await fleet.visit()
    await fleet.visit()
    assert fleet.applier.applied == [("motd@1",)]


async def test_f_l12_a_certificate_that_was_lost_on_the_way_is_given_again(fleet):
    await fleet.begin(uses=1)
    asked = []

    def lose(reply):
        asked.append(reply)
        if len(asked) == 3:
            raise VisitError("unreachable", "the answer was lost")
        return reply

    fleet.wire.answer = lose
    with pytest.raises(VisitError):
        await fleet.visit()
    assert fleet.record.admission is Admission.ACCEPTED
    await fleet.visit()
    assert (await fleet.view()).sync == "in sync"


# Renewal.


async def test_f_l12_the_certificate_is_renewed_by_a_visit_also_once_it_has_ended(fleet):
    await fleet.begin()
    await fleet.visit()
    first = fleet.machine.state.certificate()
    fleet.clock.elapsed += 8 * DAY
    assert fleet.end._credentials.expired
    await fleet.manager.publish(FLEET.format(text="two", communication=VISITED))
    await fleet.visit()
    assert fleet.machine.state.certificate() != first
    assert not fleet.end._credentials.expired
    assert fleet.record.certificate_until == pytest.approx(fleet.clock.now() + 7 * DAY)
    assert fleet.applier.applied == [("motd@1",), ("motd@2",)]
    assert (await fleet.view()).sync == "in sync"


async def test_f_l12_the_certificate_is_renewed_long_before_it_ends(fleet):
    await fleet.begin()
    await fleet.visit()
    first = fleet.machine.state.certificate()
    await fleet.visit()
    assert fleet.machine.state.certificate() == first
    fleet.clock.elapsed += 6.5 * DAY
    await fleet.visit()
    assert fleet.machine.state.certificate() != first


async def test_f_l12_who_was_revoked_is_not_renewed(fleet):
    await fleet.begin()
    await fleet.visit()
    first = fleet.machine.state.certificate()
    await fleet.manager.service.revoke(ADMIN, "walled")
    await fleet.manager.live.bring()
    fleet.clock.elapsed += 8 * DAY
    with pytest.raises(WireError, match="revoked"):
        await fleet.calling.visit(fleet.seen)
    assert fleet.machine.state.certificate() == first
    assert fleet.record.admission is Admission.REVOKED
