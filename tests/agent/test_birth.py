"""A machine that may not dial out: it waits behind its service, and is born by a visit."""

import asyncio
import json
from dataclasses import replace

import pytest
from tests.births import Waiting, Wire, claiming, documents_of, join_of, make_fleet, request_of, visit_of

from popham.agent.birth import WAITS, Unborn, wait_for_birth, waits_for_birth
from popham.agent.dialing import AWAITED, settings_for
from popham.agent.service import is_enabled
from popham.agent.state import MemoryAgentState
from popham.agent.status import describe_state
from popham.agent.visited import AgentWorld
from popham.errors import StateError, VisitError
from popham.model.fleet import Admission
from popham.net.signing import Operation
from popham.opamp.codec import bad_request, parse_agent, parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import ServerToAgent
from popham.opamp.schema.popham.v1.popham_pb2 import Enroll
from popham.testing.virtual import VirtualClock
from popham.trust.assignment import ASSIGNMENT_TYPE, Assignment
from popham.trust.birth import AlreadyBorn
from popham.trust.dsse import seal
from popham.trust.identity import check_csr, make_csr
from popham.trust.join import EnrollmentKey, verify_enrollment
from popham.trust.keys import IdentityKey, SigningKey
from popham.trust.tuf import create_targets
from popham.upstream.admission import render_admission
from popham.upstream.book import Admitted

CLOCK = VirtualClock()


@pytest.fixture(scope="module")
def fleet():
    return make_fleet(CLOCK)


@pytest.fixture(scope="module")
def other():
    return make_fleet(CLOCK)


@pytest.fixture
def token():
    return EnrollmentKey.create()


@pytest.fixture
async def machine(fleet, token):
    found = Waiting(CLOCK, join_of(fleet, token.seed)).start()
    yield found
    await found.stop()


@pytest.fixture
def wire(machine):
    return Wire(machine)


@pytest.fixture
def visit(wire, fleet):
    return visit_of(wire, fleet.director, CLOCK)


def nobody(_uid):
    return b""


def answer_of(uid, admitted):
    """Return a Manager's answer to a request to be admitted."""
    return render_admission(bytes.fromhex(uid.replace("-", "")), admitted, "wss://manager:4320/v1/opamp")


def grant(keys, machine, *, key=None, uid="", lifetime=3600.0, **assigned):
    """Return the answer that admits a machine; another key, uid or assignment if a test wants it wrong."""
    key = key or machine.state.identity_key()
    uid = uid or machine.uid
    pem = keys.ca.issue_agent(make_csr(key, uid), uid, lifetime)
    said = {"uid": machine.uid, "spki_sha256": machine.state.identity_key().keyid, "group": "walled"}
    signed = Assignment(**said | {"seq": 1, "issued": 1} | assigned)
    envelope = seal(ASSIGNMENT_TYPE, signed.payload(), keys.director)
    given = Admitted(admission=Admission.ACCEPTED, certificate=pem, ca=keys.ca.pem, assignment=envelope)
    return answer_of(machine.uid, given)


class Grown:
    """The agent that a machine becomes."""

    def __init__(self, machine, fleet):
        self.machine, self.fleet = machine, fleet

    @property
    def uid(self):
        return self.machine.uid

    @property
    def identity(self):
        return self.machine.state.identity_key()

    def find_director(self, keyid):
        return self.fleet.director.public.crypto if keyid == self.fleet.director.keyid else None

    def find_founder(self, *_words, relays=False):
        return None

    find_visitor = find_founder

    async def visited(self, body):
        return parse_agent(bytes([10, 16]) + bytes.fromhex(self.uid.replace("-", ""))).SerializeToString()


async def born(machine, visit, fleet):
    """Let a machine be born, and be an agent from then on."""
    await visit.birth(documents_of(fleet), nobody)
    return await told(machine, visit, fleet, grant(fleet, machine))


async def told(machine, visit, fleet, answer):
    """Bring a machine its certificate, let the agent start meanwhile, and return what that says."""
    telling = asyncio.ensure_future(visit.exchange(answer))
    await machine.unborn.born.wait()
    assert not telling.done()
    machine.unborn.become(Grown(machine, fleet))
    return parse_agent(await telling)


# Waiting.


def test_f_l12_waiting_keeps_the_join_string_makes_a_key_and_turns_the_service_on(fleet, token):
    state = MemoryAgentState()
    uid = wait_for_birth(state, join_of(fleet, token.seed))
    assert (state.uid, state.certificate()) == (uid, None)
    assert state.identity_key().keyid
    assert state.join().seed == token.seed
    assert is_enabled(state)
    assert waits_for_birth(state)
    assert describe_state(state)["admission"] == "waiting"
    assert describe_state(state)["walled"]


def test_f_l12_waiting_again_with_another_join_string_keeps_who_the_machine_is(fleet, other):
    state = MemoryAgentState()
    uid = wait_for_birth(state, join_of(fleet))
    assert wait_for_birth(state, join_of(other)) == uid
    assert state.join().ca_sha256 == join_of(other).ca


async def test_f_l12_who_belongs_to_a_fleet_does_not_wait_for_another(machine, visit, fleet, other):
    await born(machine, visit, fleet)
    with pytest.raises(StateError) as error:
        wait_for_birth(machine.state, join_of(other))
    assert error.value.code == "state.enrolled"


async def test_the_machine_says_that_it_waits_to_be_visited(machine):
    assert machine.said == [WAITS]
    assert settings_for(None, None, walled=machine.state.join().walled) is AWAITED


# Who is believed.


async def test_f_l12_a_birth_is_answered_by_a_request_that_the_token_and_the_key_have_signed(
    machine, visit, fleet, token
):
    message = parse_agent(await visit.birth(documents_of(fleet), nobody))
    csr = message.connection_settings_request.opamp.certificate_request.csr
    enroll = parse_custom(message.custom_message)
    assert isinstance(enroll, Enroll)
    assert (enroll.token_id, enroll.name, dict(enroll.labels)) == (
        token.token_id,
        "walled",
        {"site": "mine"},
    )
    verify_enrollment(token.public_der, csr, enroll.signature)
    assert check_csr(csr, machine.uid).spki_sha256 == machine.state.identity_key().keyid
    assert (visit.uid, visit.key) == (machine.uid, machine.state.identity_key().public.der)
    assert token.seed not in message.SerializeToString()


async def test_f_l12_the_documents_are_kept(machine, visit, fleet):
    await visit.birth(documents_of(fleet), nobody)
    kept = machine.state.documents()
    assert (kept.root, kept.targets) == (fleet.root, fleet.targets)
    assert machine.state.join().ca == fleet.ca.pem


async def test_f_l12_another_fleet_is_turned_away_and_learns_nothing(machine, wire, other):
    answer = await wire.machine.service.answer(await asked_by(wire, other, documents_of(other)))
    assert (answer.status, json.loads(answer.body)["code"]) == (403, "visit.stranger")
    assert "Signature" not in answer.headers
    assert machine.uid.encode() not in answer.body
    assert machine.state.documents() is None
    assert "is not believed" in machine.said[-1]


async def asked_by(wire, keys, documents, signer=None):
    """Return the first request of a birth, as it comes out of a listener."""
    visit = visit_of(wire, keys.director, CLOCK)
    if signer is not None:
        visit._signer = signer
    return request_of(visit._sign("POST", Operation.BIRTH, documents, "", "anybody"))


async def test_f_l12_a_root_with_the_right_digest_does_not_help_targets_of_another(
    machine, wire, fleet, other
):
    targets = create_targets(SigningKey.create(), other.director.public, now=CLOCK.now())
    mixed = documents_of(replace(fleet, targets=targets))
    answer = await machine.service.answer(await asked_by(wire, other, mixed))
    assert json.loads(answer.body)["code"] == "visit.stranger"
    assert machine.state.documents() is None


async def test_f_l12_the_right_documents_do_not_help_whoever_is_not_their_director(
    machine, wire, fleet, other
):
    signer = claiming(fleet.director, other.director)
    answer = await machine.service.answer(await asked_by(wire, fleet, documents_of(fleet), signer))
    assert (answer.status, json.loads(answer.body)["code"]) == (403, "visit.signature")
    assert machine.state.documents() is None


async def test_f_l12_documents_that_were_changed_on_the_way_are_not_believed(machine, wire, fleet):
    request = await asked_by(wire, fleet, documents_of(fleet))
    answer = await machine.service.answer(replace(request, body=request.body + b" "))
    assert (answer.status, json.loads(answer.body)["code"]) == (403, "visit.signature")
    assert machine.state.documents() is None


async def test_f_l12_a_birth_that_was_captured_does_nothing_again(machine, wire, visit, fleet):
    await visit.birth(documents_of(fleet), nobody)
    captured = wire.asked[-1]
    assert wire.replies[-1].status == 200
    assert (await wire.post(captured)).status == 428
    assert wire.replies[-1].body == b""


async def test_f_l12_nothing_but_a_birth_is_heard_before_the_documents_came(machine, wire, fleet):
    early = visit_of(
        wire, fleet.director, CLOCK, uid=machine.uid, key=machine.state.identity_key().public.der
    )
    with pytest.raises(VisitError) as error:
        await early.exchange(b"")
    assert error.value.code == "visit.signature"
    assert wire.replies[-1].status == 403


async def test_f_l12_no_link_and_no_content_before_birth(machine, wire, visit, fleet):
    await visit.birth(documents_of(fleet), nobody)
    with pytest.raises(VisitError) as error:
        await visit.bring("0" * 64, b"")
    assert error.value.code in {"visit.unborn", "visit.failed"}
    with pytest.raises(VisitError, match="keeps no link"):
        await machine.unborn.serve(None)


# What comes of asking.


async def test_f_l12_the_certificate_comes_with_the_next_exchange_and_the_agent_answers_it(
    machine, visit, fleet
):
    answered = await born(machine, visit, fleet)
    assert answered.instance_uid.hex() == machine.uid.replace("-", "")
    assert machine.state.certificate() is not None
    assert machine.state.assignment() is not None
    assert machine.state.join().seed is None
    assert machine.state.join().walled
    assert not waits_for_birth(machine.state)


async def test_f_l12_who_asks_while_the_agent_starts_hears_a_sign_of_life(machine, visit, fleet):
    await visit.birth(documents_of(fleet), nobody)
    telling = asyncio.ensure_future(visit.exchange(grant(fleet, machine)))
    await machine.unborn.born.wait()
    told = parse_agent(await machine.unborn.visited(b""))
    assert told.instance_uid.hex() == machine.uid.replace("-", "")
    assert not told.HasField("custom_message")
    assert parse_agent(machine.unborn.report()) == told
    machine.unborn.become(Grown(machine, fleet))
    await telling


async def test_f_l12_who_waits_for_an_administrator_asks_at_each_visit(machine, visit, fleet, token):
    await visit.birth(documents_of(fleet), nobody)
    text = "waiting to be accepted by an administrator"
    said = answer_of(machine.uid, Admitted(admission=Admission.NEW, retry_after=15.0, text=text))
    await visit.exchange(said)
    assert machine.said[-1] == text
    for _ in range(2):
        again = parse_agent(await visit.exchange(b""))
        assert parse_custom(again.custom_message).token_id == token.token_id
    assert not machine.unborn.born.is_set()


async def test_f_l12_a_refusal_is_said_on_the_machine_and_it_waits_on(machine, visit, fleet):
    await visit.birth(documents_of(fleet), nobody)
    text = "an administrator refused this agent"
    await visit.exchange(answer_of(machine.uid, Admitted(admission=Admission.REFUSED, text=text)))
    assert machine.said[-1] == text
    key = bytes.fromhex(machine.uid.replace("-", ""))
    problem = "this token is used up (enrollment.used_up_token). Make a new one: popham token create"
    await visit.exchange(bad_request(key, problem))
    assert machine.said[-1] == f"not let in, and waits on: {problem}"
    assert waits_for_birth(machine.state)
    await born(machine, visit, fleet)
    assert machine.said[-1] == ""


@pytest.mark.parametrize("wrong", ["key", "uid", "CA", "assignment", "private key", "nothing"])
async def test_f_l12_what_may_not_be_believed_is_not_kept(machine, visit, fleet, other, wrong):
    await visit.birth(documents_of(fleet), nobody)
    made = {
        "key": lambda: grant(fleet, machine, key=IdentityKey.create()),
        "uid": lambda: grant(fleet, machine, uid="0191d5a8-0000-7000-8000-000000000001"),
        "CA": lambda: grant(other, machine),
        "assignment": lambda: grant(fleet, machine, spki_sha256="0" * 64),
        "private key": lambda: with_private_key(grant(fleet, machine)),
        "nothing": lambda: answer_of(machine.uid, Admitted(admission=Admission.ACCEPTED)),
    }
    await visit.exchange(made[wrong]())
    assert not machine.unborn.born.is_set()
    assert machine.state.certificate() is None
    assert machine.said[-1].startswith("not let in, and waits on: ")


def with_private_key(answer):
    message = ServerToAgent.FromString(answer)
    message.connection_settings.opamp.certificate.private_key = b"key"
    return message.SerializeToString()


async def test_f_l12_a_process_that_starts_anew_between_two_visits_goes_on(machine, wire, visit, fleet):
    await visit.birth(documents_of(fleet), nobody)
    await machine.stop()
    machine.start()
    await told(machine, visit, fleet, grant(fleet, machine))
    assert [reply.status for reply in wire.replies[-2:]] == [428, 200]


async def test_f_l12_documents_kept_for_a_fleet_before_do_not_count_for_the_one_waited_for_now(
    machine, visit, fleet, other
):
    await visit.birth(documents_of(fleet), nobody)
    wait_for_birth(machine.state, join_of(other))
    fresh = Unborn(machine.state, machine.settings)
    assert fresh.find_director(fleet.director.keyid) is None
    assert fresh.find_founder(fleet.director.keyid, documents_of(fleet)) is None
    assert fresh.find_founder(other.director.keyid, documents_of(other)) is not None


# Born already.


async def test_f_l12_who_is_born_says_so_and_proves_who_it_is(machine, wire, visit, fleet):
    await visit.birth(documents_of(fleet), nobody)
    await grow(machine, fleet)
    again = visit_of(wire, fleet.director, CLOCK)
    with pytest.raises(AlreadyBorn) as error:
        await again.birth(documents_of(fleet), lambda uid: visit.key if uid == machine.uid else b"")
    assert error.value.uid == machine.uid
    assert wire.replies[-1].status == 409
    assert (again.uid, again.key) == (visit.uid, visit.key)
    assert parse_agent(await again.exchange(b"")).instance_uid.hex() == machine.uid.replace("-", "")


async def grow(machine, fleet):
    """Make a machine the agent that it was born as, as a process that starts enrolled."""
    grown = Grown(machine, fleet)
    world = AgentWorld(machine.state, grown, grown, grown)
    machine.unborn.become(world)


async def test_f_l12_who_is_born_is_no_strangers_word_for_it(machine, wire, visit, fleet):
    await visit.birth(documents_of(fleet), nobody)
    await grow(machine, fleet)
    again = visit_of(wire, fleet.director, CLOCK)
    with pytest.raises(VisitError) as error:
        await again.birth(documents_of(fleet), lambda _uid: IdentityKey.create().public.der)
    assert error.value.code == "visit.signature"
    with pytest.raises(VisitError, match="does not know") as error:
        await again.birth(documents_of(fleet), nobody)
    assert error.value.code == "visit.unknown"


async def test_f_l12_of_two_managers_the_second_finds_it_born(machine, wire, visit, fleet, other):
    second = visit_of(wire, fleet.director, CLOCK)
    await visit.birth(documents_of(fleet), nobody)
    await second.birth(documents_of(fleet), nobody)
    await told(machine, visit, fleet, grant(fleet, machine))
    held = machine.state.certificate()
    await second.exchange(grant(fleet, machine))
    assert machine.state.certificate() == held
    strange = await machine.service.answer(await asked_by(wire, other, documents_of(other)))
    assert json.loads(strange.body)["code"] == "visit.stranger"
