"""Who a machine is and whom it believes: what it keeps fits together, and this clock."""

import msgspec
import pytest

from popham.agent.doctor.finding import Outcome
from popham.agent.doctor.identity import check_certificate, check_clock, check_enrollment, check_trust
from popham.agent.records import Join
from popham.agent.state import MemoryAgentState
from popham.testing.simulation import make_keys
from popham.trust.identity import make_csr
from popham.trust.keys import IdentityKey

from .patients import UID, Clock, told

OK, WARNING, FAILED, SKIPPED = Outcome.OK, Outcome.WARNING, Outcome.FAILED, Outcome.SKIPPED
DAY = 86400.0


def certificate(patient, ahead=0.0):
    with patient.state() as state:
        (found,) = check_certificate(state, patient.clock.now() + ahead)
    return found


def test_f_o17_how_far_a_machine_has_come_into_a_fleet_is_told(patient):
    (found,) = check_enrollment(MemoryAgentState())
    assert (found.outcome, "popham agent enroll" in found.step) == (FAILED, True)
    patient.join()
    with patient.state() as state:
        found = check_enrollment(state)
    assert (
        told(found, "enrollment").outcome,
        f"popham accept agent {UID}" in told(found, "enrollment").step,
    ) == (
        WARNING,
        True,
    )
    assert "only the Manager can tell" in told(found, "token").text
    assert patient.seed.hex() not in str(found)
    patient.enroll()
    with patient.state() as state:
        (found,) = check_enrollment(state)
    assert (found.outcome, UID in found.text) == (OK, True)


def test_f_o17_a_machine_that_waits_to_be_born_is_told_what_it_waits_for(patient):
    patient.join(walled=True)
    with patient.state() as state:
        found = told(check_enrollment(state), "enrollment")
    assert (found.outcome, "popham agent service status" in found.step) == (WARNING, True)


@pytest.mark.parametrize(
    ("ahead", "outcome", "text"),
    [
        (0.0, OK, "whether it is revoked"),
        (-2 * DAY, FAILED, "still to come by this clock"),
        (6 * DAY, WARNING, "was to be renewed by"),
        (8 * DAY, WARNING, "has ended at"),
    ],
)
def test_f_o17_the_dates_of_the_certificate_are_compared_with_this_clock(patient, ahead, outcome, text):
    found = certificate(patient.enroll(), ahead)
    assert (found.outcome, text in found.text, bool(found.step)) == (outcome, True, outcome is not OK)


def test_f_o17_a_certificate_of_another_key_or_authority_is_told(patient):
    assert certificate(patient.join()).outcome is SKIPPED
    patient.enroll()
    other = IdentityKey.create()
    with patient.state() as state:
        state.save_certificate(patient.keys.ca.issue_agent(make_csr(other, UID), UID))
    assert (certificate(patient).outcome, "this machine's key" in certificate(patient).text) == (FAILED, True)
    with patient.state() as state:
        state.save_certificate(make_keys(Clock()).ca.issue_agent(make_csr(patient.key, UID), UID))
    assert "(trust.issuer)" in certificate(patient).text
    with patient.state() as state:
        state.save_certificate(patient.keys.ca.issue_agent(make_csr(patient.key, UID), UID))
        held = state.join()
        state.save_join(msgspec.convert(msgspec.to_builtins(held) | {"ca_sha256": "0" * 64}, Join))
    assert "not the one of the join string" in certificate(patient).text


def test_f_o17_documents_that_cannot_be_believed_are_told(patient):
    patient.enroll().order()
    with patient.state() as state:
        (found,), orders = check_trust(state, patient.clock.now())
        assert (found.outcome, "verify" in found.text) == (OK, True)
        assert orders.kept.newest.serial == 3
        (found,), _ = check_trust(state, patient.clock.now() + 4000 * DAY)
        assert (found.outcome, "(trust.expired)" in found.text) == (FAILED, True)
        other = make_keys(Clock())
        state.save_documents(other.root, other.targets)
        (found,), _ = check_trust(state, patient.clock.now())
        assert (found.outcome, "(trust.signature)" in found.text) == (FAILED, True)
        state.save_documents(patient.keys.root, other.targets)
        (found,), orders = check_trust(state, patient.clock.now())
        assert (found.outcome, orders) == (FAILED, None)


def test_f_o17_a_clock_behind_what_was_signed_is_told_with_the_number(patient):
    now = patient.clock.now()
    patient.enroll().order(issued=int(now))
    with patient.state() as state:
        _, orders = check_trust(state, now)
    (found,) = check_clock(orders, now - 299)
    assert found.outcome is OK
    (found,) = check_clock(orders, int(now) - 4000)
    assert (found.outcome, "4000 s or more behind" in found.text) == (WARNING, True)
    (found,) = check_clock(None, now)
    assert found.outcome is SKIPPED
