"""A machine changes its key: what it keeps when, whatever ends on the way."""

import asyncio
import itertools
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from popham.agent.credentials import RETRY, Credentials
from popham.agent.enforcer import Enforcer
from popham.agent.state import AgentState
from popham.errors import TrustError
from popham.opamp.codec import parse_custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import TLSCertificate
from popham.opamp.schema.popham.v1.popham_pb2 import Admission, Renew
from popham.testing.agent import SimApplier
from popham.trust.assignment import ASSIGNMENT_TYPE, Assignment
from popham.trust.dsse import seal
from popham.trust.identity import check_csr, load_certificate, make_csr, read_identity
from popham.trust.keys import IdentityKey
from popham.trust.renewal import verify_renewal
from popham.trust.tuf import TrustedTuf

from .orders import KEY, UID
from .watched import FragileStorage, Killed


@dataclass
class Clock:
    at: float

    def now(self):
        return self.at


@dataclass
class Upstream:
    """Whoever gives certificates: it keeps the key in use, and the one before."""

    keys: object
    clock: Clock
    key: str = KEY.keyid
    former: str = ""
    seq: int = 1
    refuses: bool = False
    asked: list = field(default_factory=list)

    def assignment(self):
        held = Assignment(uid=UID, spki_sha256=self.key, group="fleet", seq=self.seq, issued=0)
        return seal(ASSIGNMENT_TYPE, held.payload(), self.keys.director)

    def answer(self, message):
        """Return what is answered to a request; None where it is refused."""
        csr = message.connection_settings_request.opamp.certificate_request.csr
        renew = parse_custom(message.custom_message)
        assert isinstance(renew, Renew)
        proven = verify_renewal(self.keys.ca, renew.certificate, csr, renew.signature, self.clock.now()).spki
        wanted = check_csr(csr, UID).spki_sha256
        self.asked.append(wanted)
        if self.refuses or not (proven == self.key or (proven == self.former and wanted == self.key)):
            return None
        if wanted != self.key:
            self.key, self.former, self.seq = wanted, self.key, self.seq + 1
        cert = self.keys.ca.issue_agent(csr, UID)
        return TLSCertificate(cert=cert), Admission(assignment=self.assignment())


class Machine:
    """One machine on a disk that may stop taking changes."""

    def __init__(self, keys):
        self.keys = keys
        self.clock = Clock(keys.ca._clock.now())
        self.storage = FragileStorage({})
        self.upstream = Upstream(keys, self.clock)
        state = AgentState(self.storage)
        state.create_identity(UID, KEY)
        state.save_certificate(keys.ca.issue_agent(make_csr(KEY, UID), UID))
        state.save_documents(keys.root, keys.targets)
        state.save_assignment(self.upstream.assignment())
        self.renewed = 0
        self.boot()

    def boot(self):
        self.storage.left = None
        self.state = AgentState(self.storage)
        tuf = TrustedTuf.from_bytes(self.keys.root, self.keys.targets)
        self.enforcer = Enforcer(self.state, SimApplier(), tuf, self.clock, lambda: None)
        self.credentials = Credentials(self.state, self.clock, lambda: 0.5, self.note)
        self.credentials.opens = self.enforcer.check_assignment

    def note(self):
        self.renewed += 1

    def exchange(self, *, lost=False):
        """Make one exchange, as a session does; the answer may be lost."""
        request = self.credentials.request()
        if request is None:
            return False
        answer = self.upstream.answer(request)
        if lost:
            self.credentials.lost()
        elif answer is None:
            self.credentials.refused("not now")
        else:
            self.credentials.receive(*answer)
            self.enforcer.assign(answer[1].assignment)
        return True

    async def rotate(self, **how):
        rotating = asyncio.ensure_future(self.credentials.rotate())
        await asyncio.sleep(0)
        try:
            self.exchange(**how)
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            if not rotating.done():
                rotating.cancel()
        with suppress(asyncio.CancelledError):
            await rotating

    @property
    def fits(self):
        """Whether key, certificate and assignment, as the next process reads them, belong together."""
        state = AgentState(self.storage)
        key = state.identity_key().keyid
        spki = read_identity(load_certificate(state.certificate())).spki
        tuf = TrustedTuf.from_bytes(self.keys.root, self.keys.targets)
        enforcer = Enforcer(state, SimApplier(), tuf, self.clock, lambda: None)
        named = enforcer.assignment.spki_sha256 if enforcer.assignment else ""
        return key == spki == named

    @property
    def key(self):
        return self.state.identity_key().keyid


@pytest.fixture
def machine(keys):
    return Machine(keys)


async def test_rel_9_a_new_key_is_in_use_once_its_certificate_came(machine):
    await machine.rotate()
    assert machine.key == machine.upstream.key != KEY.keyid
    assert machine.fits
    assert machine.state.next_key() is None
    assert machine.credentials.serves
    assert machine.credentials.take_change()
    assert not machine.credentials.take_change()
    assert machine.renewed == 1
    assert not machine.exchange()


async def test_rel_9_a_lost_answer_is_asked_for_again_with_the_same_key(machine):
    await machine.rotate(lost=True)
    assert machine.key == KEY.keyid
    assert not machine.credentials.serves, "upstream may know the new key already"
    await machine.rotate()
    assert machine.key == machine.upstream.key
    assert len(set(machine.upstream.asked)) == 1
    assert machine.credentials.serves


async def test_rel_9_a_process_that_ends_before_the_answer_asks_again_by_itself(machine):
    await machine.rotate(lost=True)
    machine.boot()
    assert not machine.credentials.serves
    assert machine.exchange()
    assert machine.key == machine.upstream.key
    assert machine.fits


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "lost before"])
async def test_rel_9_whatever_ends_it_on_the_way_one_of_the_keys_works(keys, lost):
    for left in itertools.count():
        machine = Machine(keys)
        if lost:
            await machine.rotate(lost=True)
        machine.storage.left = left
        killed = False
        try:
            await machine.rotate()
        except Killed:
            killed = True
        assert machine.fits
        if not killed:
            return
        machine.boot()
        machine.exchange()
        assert machine.fits
        assert machine.key == machine.upstream.key
        assert machine.enforcer.assignment.seq == machine.upstream.seq


async def test_rel_9_a_refusal_ends_it_and_the_key_in_use_stays(machine):
    machine.upstream.refuses = True
    with pytest.raises(TrustError, match=r"not now.*trust\.rotation"):
        await machine.rotate()
    assert machine.key == KEY.keyid
    assert machine.credentials.serves
    assert not machine.exchange()


async def test_rel_9_after_a_refusal_the_key_in_use_is_asked_for_and_then_the_new_one_forgotten(machine):
    machine.upstream.refuses = True
    with suppress(TrustError):
        await machine.rotate()
    machine.upstream.refuses = False
    machine.clock.at += RETRY
    assert machine.exchange()
    assert machine.upstream.asked[-1] == KEY.keyid
    assert machine.state.next_key() is None
    assert machine.fits


async def test_rel_9_after_a_refusal_that_came_too_late_the_new_key_is_asked_for_in_turn(machine):
    """Upstream changed the key, its answer was lost, and then it refused for another reason."""
    await machine.rotate(lost=True)
    machine.upstream.refuses = True
    with suppress(TrustError):
        await machine.rotate()
    machine.upstream.refuses = False
    for _ in range(2):
        machine.clock.at += RETRY
        assert machine.exchange()
    assert machine.key == machine.upstream.key != KEY.keyid
    assert machine.fits


async def test_rel_9_an_assignment_that_does_not_name_the_new_key_changes_nothing(machine):
    rotating = asyncio.ensure_future(machine.credentials.rotate())
    await asyncio.sleep(0)
    stale = machine.upstream.assignment()
    certificate, _ = machine.upstream.answer(machine.credentials.request())
    with pytest.raises(TrustError, match=r"trust\.audience"):
        machine.credentials.receive(certificate, Admission(assignment=stale))
    with pytest.raises(TrustError, match=r"trust\.rotation"):
        await rotating
    assert machine.key == KEY.keyid
    assert machine.fits


async def test_rel_9_a_renewal_that_was_on_its_way_does_not_cost_the_new_key(machine):
    machine.clock.at = machine.credentials.due
    request = machine.credentials.request()
    answer = machine.upstream.answer(request)
    rotating = asyncio.ensure_future(machine.credentials.rotate())
    await asyncio.sleep(0)
    machine.credentials.receive(*answer)
    assert machine.key == KEY.keyid
    assert machine.exchange()
    await rotating
    assert machine.key == machine.upstream.key != KEY.keyid


async def test_no_key_is_shown_by_what_keeps_it(machine):
    machine.state.save_next_key(IdentityKey.create())
    assert "PRIVATE" not in repr(machine.state.identity())
