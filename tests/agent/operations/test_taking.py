"""Documents of operations: which are begun, and what is said of the others (F.O4, SEC-52)."""

import asyncio
import dataclasses
import json

import pytest
from tests.agent.orders import KEY, UID

from popham.agent.operations.ledger import NAME, SKEW
from popham.agent.settings import OperationsSettings
from popham.errors import TrustError
from popham.model.operation import OPERATION_TYPE, SENTENCE, Kind
from popham.testing.virtual import pass_time
from popham.trust.dsse import seal
from popham.trust.keys import SigningKey
from popham.trust.operation import seal_operation

YEAR = 365 * 86_400.0
LOOK = {"name": "look"}
DONE = ("succeeded", "")


def test_f_o4_an_operation_is_obeyed_once_however_often_it_comes(ordered):
    async def story():
        envelope = ordered.seal(order := ordered.order(Kind.RUN, LOOK))
        ordered.operations.take([envelope, envelope])
        ordered.operations.take([envelope])
        await ordered.operations.rest(5)
        assert (ordered.done, ordered.of(order.nonce)) == (["run look"], DONE)
        ordered.operations.take([envelope])
        await ordered.operations.rest(5)
        await ordered.restart()
        ordered.operations.take([envelope])
        await ordered.operations.rest(5)
        assert (ordered.done, ordered.of(order.nonce)) == (["run look"], DONE)

    ordered.tell_story(story)


def test_f_o4_a_document_that_may_not_be_believed_does_nothing_and_the_others_are_taken(ordered):
    async def story():
        stranger = seal_operation(ordered.order(Kind.RUN, LOOK), SigningKey.create())
        other = ordered.seal(ordered.order(Kind.RUN, LOOK, uid="0198c2a0-0000-7000-8000-000000000002"))
        mine = ordered.order(Kind.COLLECT)
        for bad in (stranger, other):
            with pytest.raises(TrustError):
                ordered.operations.take([bad])
        with pytest.raises(TrustError, match="sign"):
            ordered.operations.take([stranger, ordered.seal(mine)])
        await ordered.operations.rest(5)
        assert (ordered.done, len(ordered.said)) == (["collect"], 1)

    ordered.tell_story(story)


def test_f_o4_what_came_too_late_is_said_to_be_expired(ordered):
    async def story():
        late = ordered.give(Kind.RUN, LOOK, issued=int(ordered.clock.now()) - 700)
        assert ordered.of(late) == ("expired", "operation.expired")
        (said,) = ordered.said
        assert "100 s after its expiry" in said.text
        assert ordered.done == []

    ordered.tell_story(story)


def test_f_o4_with_a_clock_a_year_ahead_nothing_is_begun_and_the_clock_is_named(ordered):
    async def story():
        issued = int(ordered.clock.now())
        ordered.clock.offset = YEAR
        nonce = ordered.give(Kind.RUN, LOOK, issued=issued)
        assert ordered.of(nonce) == ("expired", "operation.expired")
        assert "clock" in ordered.said[0].text
        ordered.clock.offset = 0.0
        again = ordered.give(Kind.RUN, LOOK)
        await ordered.operations.rest(5)
        assert (ordered.of(again), ordered.done) == (DONE, ["run look"])

    ordered.tell_story(story)


def test_f_o4_a_clock_a_year_back_revives_nothing(ordered):
    async def story():
        now = int(ordered.clock.now())
        ordered.give(Kind.COLLECT)
        await ordered.operations.rest(5)
        ordered.clock.offset = -YEAR
        await ordered.restart()
        old = ordered.give(Kind.RUN, LOOK, issued=now - 3600)
        fresh = ordered.give(Kind.RUN, LOOK, issued=now)
        await ordered.operations.rest(5)
        assert ordered.of(old) == ("expired", "operation.expired")
        assert (ordered.of(fresh), ordered.done) == (DONE, ["collect", "run look"])

    ordered.tell_story(story)


def test_f_o4_other_documents_of_the_director_tell_the_time_too(ordered):
    async def story():
        ordered.clock.offset = -YEAR
        now = int(ordered.clock.now() + YEAR)
        ordered.enforcer.newest = None
        ordered.enforcer.assignment = _Signed(now)
        old = ordered.give(Kind.RUN, LOOK, issued=now - 3600)
        assert ordered.of(old) == ("expired", "operation.expired")

    ordered.tell_story(story)


@dataclasses.dataclass
class _Signed:
    issued: int
    group: str = "fleet"


def test_f_o4_a_kind_that_this_program_does_not_know_fails_at_once(ordered):
    async def story():
        operation = ordered.order(Kind.COLLECT)
        payload = json.loads(operation.payload()) | {"kind": "dance"}
        document = json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()
        ordered.operations.take([seal(OPERATION_TYPE, document, ordered.keys.director)])
        assert ordered.of(operation.nonce) == ("failed", "operation.kind")
        assert "Upgrade" in ordered.said[0].text

    ordered.tell_story(story)


@pytest.mark.parametrize(
    ("kind", "args", "code"),
    [
        (Kind.RESTART, {}, "operation.refused"),
        (Kind.RUN, {"name": "other"}, "operation.refused"),
        (Kind.RUN, {}, "wire.operation"),
        (Kind.APPLY, {"group": "fleet"}, "wire.operation"),
    ],
)
def test_f_o4_what_the_machines_own_configuration_refuses_fails_and_says_so(ordered, kind, args, code):
    ordered.permits = OperationsSettings(run=("look",), refuse=("restart",))

    async def story():
        nonce = ordered.give(kind, args)
        await ordered.operations.rest(5)
        assert (ordered.of(nonce), ordered.done) == (("failed", code), [])

    ordered.tell_story(story)


def test_f_o4_more_than_may_wait_is_refused_and_what_waits_is_not(ordered):
    async def story():
        ordered.hold = asyncio.Event()
        orders = [ordered.order(Kind.RUN, LOOK) for _ in range(10)]
        for order in orders:
            ordered.operations.take([ordered.seal(order)])
            await pass_time(0)
        ordered.operations.take([ordered.seal(orders[8])])  # offered again while it waits
        assert ordered.of(orders[9].nonce) == ("failed", "operation.busy")
        assert ordered.of(orders[8].nonce) is None
        ordered.hold.set()
        await ordered.operations.rest(5)
        assert len(ordered.done) == 9

    ordered.tell_story(story)


def test_f_o4_a_result_is_said_until_it_is_heard_and_again_when_it_is_asked_for(ordered):
    async def story():
        envelope = ordered.seal(order := ordered.order(Kind.RUN, LOOK))
        ordered.operations.take([envelope])
        await ordered.operations.rest(5)
        said = ordered.operations.results()
        assert ordered.operations.results() == said  # what is signed anew would be news
        ordered.operations.heard([f"{order.nonce}:1", "nonsense", f"{order.nonce}:x"])
        assert ordered.operations.results() == said
        ordered.hear()
        assert ordered.operations.results() == []
        told = ordered.told
        ordered.operations.take([envelope])
        assert ordered.of(order.nonce) == DONE
        assert ordered.told == told + 1

    ordered.tell_story(story)


def test_f_o4_one_report_takes_a_few_results_in_3_kib_and_the_rest_follows(ordered):
    ordered.printed = "ü".encode() * 900

    async def story():
        nonces = [ordered.give(Kind.RUN, LOOK) for _ in range(3)]
        nonces += [ordered.give(Kind.COLLECT) for _ in range(5)]
        await ordered.operations.rest(5)
        heard = []
        while results := ordered.operations.results():
            assert len(results) <= 4
            assert sum(map(len, results)) <= 3072
            heard += [one.nonce for one in ordered.said]
            assert all(len(one.text) <= SENTENCE for one in ordered.said)
            told = ordered.told
            ordered.hear()
            assert ordered.told - told == (heard != nonces), "what had no room waits for no heartbeat"
        assert heard == nonces

    ordered.tell_story(story)


def test_f_o4_a_damaged_ledger_begins_nothing_that_was_ordered_before(ordered):
    async def story():
        envelope = ordered.seal(order := ordered.order(Kind.RUN, LOOK))
        ordered.operations.take([envelope])
        await ordered.operations.rest(5)
        await ordered.end()
        ordered.disk.files[NAME] = b'{"entries": [{]'
        ordered.boot()
        ordered.operations.take([envelope])
        assert ordered.of(order.nonce) == ("failed", "operation.ledger")
        await pass_time(SKEW + 1)
        await ordered.restart()
        ordered.operations.take([envelope])
        fresh = ordered.give(Kind.RUN, LOOK)
        await ordered.operations.rest(5)
        assert (ordered.of(order.nonce), ordered.of(fresh)) == (("failed", "operation.ledger"), DONE)
        assert len(ordered.done) == 2

    ordered.tell_story(story)


def test_f_o4_a_full_ledger_forgets_what_is_past_and_heard_and_nothing_else(ordered):
    async def story():
        first = ordered.seal(ordered.order(Kind.COLLECT))
        ordered.operations.take([first])
        for _ in range(255):
            ordered.give(Kind.COLLECT)
            await ordered.operations.rest(5)
        busy = ordered.give(Kind.COLLECT)
        await ordered.operations.rest(5)
        while said := ordered.said:
            if busy in {one.nonce for one in said}:
                assert ordered.of(busy) == ("failed", "operation.busy")
            ordered.hear()
        await pass_time(700)
        done = len(ordered.done)
        fresh = ordered.give(Kind.RUN, LOOK)
        await ordered.operations.rest(5)
        ordered.clock.offset = -YEAR
        ordered.operations.take([first])
        await ordered.operations.rest(5)
        states = {one.nonce: str(one.state) for one in ordered.said}
        assert states.pop(fresh) == "succeeded"
        assert list(states.values()) == ["expired"]
        assert len(ordered.done) == done + 1

    ordered.tell_story(story)


def test_results_are_signed_by_the_key_in_use(ordered):
    async def story():
        ordered.give(Kind.COLLECT)
        await ordered.operations.rest(5)
        (before,) = ordered.operations.results()
        ordered.state.create_identity(UID, type(KEY).create())
        (after,) = ordered.operations.results()
        assert before != after
        assert ordered.said[0].uid == UID

    ordered.tell_story(story)
