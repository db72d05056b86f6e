"""Enrollment by a join string, and renewal over whatever link there is."""

import pytest

from popham.downstream.enroll import RETRY_AFTER, RETRY_AFTER_MAX, Anchor, ask
from popham.errors import EnrollmentError, TrustError
from popham.model.communication import Mode
from popham.model.fleet import Admission
from popham.net.seam import Peer, Refused
from popham.opamp.codec import custom, parse_agent, parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import ServerToAgent
from popham.opamp.schema.popham.v1.popham_pb2 import Admission as Said
from popham.opamp.schema.popham.v1.popham_pb2 import Renew
from popham.testing.direct import ADMIN
from popham.testing.simulation import make_keys
from popham.testing.virtual import VirtualClock
from popham.trust.ca import AGENT_LIFETIME
from popham.trust.identity import make_csr
from popham.trust.join import EnrollmentKey
from popham.trust.keys import IdentityKey

DAY = 86_400.0
NOBODY = Peer(address="192.0.2.2")
UID = "0190c5a2-7f00-7000-8000-000000000001"


class Says:
    """A dialer to a Manager that answers what a test wants."""

    def __init__(self, answer):
        self.answer = answer

    async def exchange(self, body):
        key = parse_agent(body).instance_uid
        return ServerToAgent(instance_uid=key).SerializeToString() + self.answer.SerializeToString()


@pytest.fixture
def asked(keys):
    """Ask a Manager that answers like this to be admitted."""
    key = IdentityKey.create()

    async def asked(answer, certificate=None):
        if certificate is not None:
            answer.connection_settings.opamp.certificate.cert = certificate(key)
        return await ask(
            Says(answer),
            anchor=Anchor(ca=keys.ca.pem, root=keys.root, targets=keys.targets),
            key=key,
            uid=UID,
            token=EnrollmentKey.create(),
            name="a",
            labels={},
        )

    return asked


def admission(**said):
    return ServerToAgent(custom_message=custom(Said(**said)))


@pytest.mark.parametrize(
    ("named", "waits"), [(0, RETRY_AFTER), (-5, RETRY_AFTER), (0.001, 1), (15, 15), (1e300, RETRY_AFTER_MAX)]
)
async def test_a_new_agent_asks_again_after_a_bounded_time(asked, named, waits):
    enrolled = await asked(admission(state=Said.NEW, retry_after_seconds=named))
    assert (enrolled.admission, enrolled.retry_after) == (Admission.NEW, waits)


@pytest.mark.parametrize(
    "answer", [ServerToAgent(), admission(), admission(state=99)], ids=["none", "0", "99"]
)
async def test_what_is_no_admission_is_refused(asked, answer):
    with pytest.raises(EnrollmentError) as caught:
        await asked(answer)
    assert caught.value.code == "enrollment.answer"


async def test_sec_19_an_admission_with_a_private_key_is_refused(asked):
    answer = admission(state=Said.ACCEPTED)
    answer.connection_settings.opamp.certificate.private_key = b"key"
    with pytest.raises(TrustError) as caught:
        await asked(answer)
    assert caught.value.code == "trust.private_key"


async def test_sec_20_a_certificate_of_another_ca_is_refused(asked):
    other = make_keys(VirtualClock()).ca
    with pytest.raises(TrustError) as caught:
        await asked(admission(state=Said.ACCEPTED), lambda key: other.issue_agent(make_csr(key, UID), UID))
    assert caught.value.code == "trust.issuer"


async def test_sec_25_a_certificate_for_another_agent_or_without_an_assignment_is_refused(asked, keys):
    other = UID.replace("1", "2")
    with pytest.raises(TrustError, match="another agent"):
        await asked(
            admission(state=Said.ACCEPTED), lambda key: keys.ca.issue_agent(make_csr(key, other), other)
        )
    with pytest.raises(TrustError):
        await asked(admission(state=Said.ACCEPTED), lambda key: keys.ca.issue_agent(make_csr(key, UID), UID))


async def test_sec_16_an_enrollment_asked_twice_costs_one_use(manager):
    agent = await manager.add_agent("a")
    again = await agent.enroll()
    assert again.admission is Admission.ACCEPTED
    (token,) = await manager.store.read(lambda tx: tx.tokens())
    assert (token.uses, token.uses_left) == (1, 0)


async def test_rel_23_a_certificate_is_renewed_over_a_link_before_it_ends(manager, agent):
    before = agent.state.certificate()
    manager.clock.elapsed += AGENT_LIFETIME * 0.7
    link, end = manager.hold(agent.peer())
    agent.end.opened()
    request = agent.end.report(force=True)
    assert isinstance(parse_custom(parse_agent(request).custom_message), Renew)
    await agent.end.receive((await manager.hear(end, request)).SerializeToString())
    assert agent.state.certificate() != before
    report = agent.end.report(force=False)
    assert not parse_agent(report).HasField("connection_settings_request")
    assert await manager.hear(end, report) is not None
    assert link.ended is None


@pytest.mark.parametrize("days", [8, 90])
async def test_rel_23_an_expired_certificate_serves_for_renewal_only(manager, agent, days):
    assert agent.end.settings.mode is Mode.PUSH
    manager.clock.elapsed += days * DAY
    with pytest.raises(Refused):
        await manager.round(agent.peer(), agent.end.report(force=True))
    agent.end.lost()
    assert agent.end.settings.mode is Mode.PULL
    await agent.round(NOBODY, exchanges=1)
    assert agent.end.settings.mode is Mode.PUSH
    await agent.round()
    assert manager.book.record(agent.uid).last_contact == manager.clock.now()


async def test_rel_23_a_certificate_that_ended_long_ago_or_whose_agent_was_revoked_is_not_renewed(
    manager, agent
):
    before = agent.state.certificate()
    manager.clock.elapsed += 8 * DAY
    await manager.service.revoke(ADMIN, "a")
    await manager.bring()
    await agent.round(NOBODY, exchanges=1)
    manager.clock.elapsed += 100 * DAY
    await agent.round(NOBODY, exchanges=1)
    assert agent.state.certificate() == before


async def test_a_renewal_that_is_refused_blocks_nothing_and_is_asked_for_again_an_hour_later(manager, agent):
    manager.clock.elapsed += AGENT_LIFETIME * 0.7
    request = agent.end.report(force=True)
    assert parse_agent(request).HasField("connection_settings_request")
    said = ServerToAgent(instance_uid=agent.end.uid)
    said.error_response.error_message = "no"
    await agent.end.receive(said.SerializeToString())
    assert not parse_agent(agent.end.report(force=True)).HasField("connection_settings_request")
    manager.clock.elapsed += 3600
    assert parse_agent(agent.end.report(force=True)).HasField("connection_settings_request")
