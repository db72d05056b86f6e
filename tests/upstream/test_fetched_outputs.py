"""Outputs of agents that are visited: fetched by signed requests, in a visit and beside a held link."""

import asyncio
from types import SimpleNamespace

import pytest

from popham.errors import NotFoundError, VisitError
from popham.model.names import digest
from popham.net.signing import Operation
from popham.net.visiting import Reply
from popham.trust.verify import check_blob
from popham.upstream.beside import Beside
from popham.upstream.calling import Calling
from popham.upstream.counts import Counts
from popham.upstream.outputs import AgentOutputs, Outputs
from popham.upstream.record import Record
from popham.upstream.sighting import Seen, Sight
from popham.upstream.visits import Signer

from .lab import DIRECTOR, IDENTITIES, UIDS, Hub, refusal, told

BODY, OTHER = b"what it printed", b"what another printed"


class Keeper:
    """Wants some outputs, and keeps what it gets."""

    def __init__(self, *wanted):
        self.wanted, self.kept = dict.fromkeys(map(digest, wanted)), {}

    def lacks_outputs(self, record):
        return tuple(self.wanted)

    async def take_output(self, record, sha256, body):
        if sha256 not in self.wanted:
            raise NotFoundError("output", "nobody wants it")
        check_blob(body, sha256, len(body))
        self.kept[sha256] = body
        del self.wanted[sha256]


def outputs_of(keeper, number=0):
    record = Record(
        uid=UIDS[number], key=b"", name="a", group="lab", public_key=IDENTITIES[number].public.der
    )
    return AgentOutputs(Outputs(keeper, Counts()), record)


def output(*bodies):
    return {digest(body): body for body in bodies}


def test_f_o4_a_visit_fetches_the_outputs_that_results_named():
    async def story(lab):
        lab.worlds[0].outputs, keeper = output(BODY, OTHER), Keeper(BODY, OTHER)
        await lab.run(outputs=outputs_of(keeper))
        assert keeper.kept == output(BODY, OTHER)
        assert lab.worlds[0].bodies == [b""], "no exchange more than without"
        before = len(lab.dials[0].seen)
        await lab.run(outputs=outputs_of(keeper))
        assert len(lab.dials[0].seen) == before + 1

    told(story)


@pytest.mark.parametrize("fault", [None, OSError("the disk is broken")])
def test_an_output_that_is_not_to_be_had_any_more_spoils_no_visit(fault):
    async def story(lab):
        lab.hub = Hub(busy=1)
        lab.worlds[0].outputs, keeper = output(OTHER), Keeper(BODY, OTHER)
        if fault:
            lab.worlds[0].outputs[digest(BODY)] = fault
        await lab.run(outputs=outputs_of(keeper))
        assert keeper.kept == output(OTHER)
        assert len(lab.worlds[0].bodies) == 2, "what was to be said was said"

    told(story)


def test_sec_an_output_that_is_not_what_the_result_named_is_not_taken():
    async def story(lab):
        lab.worlds[0].outputs, keeper = {digest(BODY): OTHER}, Keeper(BODY)
        await lab.run(outputs=outputs_of(keeper))
        assert keeper.kept == {}

    told(story)


def test_sec_an_output_that_was_changed_on_its_way_is_not_believed():
    class Changing:
        async def post(self, asked):
            reply = await lab_dials[0].post(asked)
            changes = asked.headers["Popham-Operation"] == Operation.OUTPUT and reply.status == 200
            return Reply(200, reply.headers, OTHER) if changes else reply

    lab_dials = []

    async def story(lab):
        lab_dials.append(lab.dials[0])
        lab.worlds[0].outputs, keeper = output(BODY), Keeper(BODY)
        error = await refusal(lab, dials=Changing(), outputs=outputs_of(keeper))
        assert error.code == "visit.signature"
        assert keeper.kept == {}

    told(story)


def test_sec_a_captured_request_brings_nobody_an_output_and_no_operation_a_second_time():
    async def story(lab):
        lab.hub = Hub(busy=1)
        lab.worlds[0].outputs, keeper = output(BODY), Keeper(BODY)
        await lab.run(outputs=outputs_of(keeper))
        captured, before = list(lab.dials[0].seen), list(lab.worlds[0].bodies)
        assert {asked.headers["Popham-Operation"] for asked in captured} == {"visit", "output"}
        for restarted in (False, True):
            if restarted:
                lab.restart()
            for asked in captured:
                await asyncio.sleep(1)
                answer = await lab.replay(asked)
                assert (answer.status, answer.body) == (428, b"")
        assert lab.worlds[0].bodies == before, "what is ordered came once"

    told(story)


def test_sec_a_captured_answer_is_no_answer_to_the_next_request():
    async def story(lab):
        kept = []

        class Yesterday:
            async def post(self, asked):
                reply = await lab.dials[0].post(asked)
                if asked.headers["Popham-Operation"] == Operation.OUTPUT and reply.status == 200:
                    kept.append(reply)
                    return kept[0]
                return reply

        lab.worlds[0].outputs = output(BODY)
        await lab.run(dials=Yesterday(), outputs=outputs_of(Keeper(BODY)))
        error = await refusal(lab, dials=Yesterday(), outputs=outputs_of(Keeper(BODY)))
        assert error.code == "visit.signature"

    told(story)


# Beside a held link.


class Link:
    """Stands for a link that is held."""


def seen_by(lab):
    target = SimpleNamespace(uid=UIDS[0], name="a", place=None)
    seen = Seen(target, Sight(0.0), lab.dials[0])
    seen.link = Link()
    return seen


def calling(lab, keeper):
    record = outputs_of(keeper).record
    book = SimpleNamespace(record=lambda _uid: record, name_of_key=lambda _keyid: "")
    signer = Signer(DIRECTOR.crypto, DIRECTOR.keyid)
    return Calling(lab.hub, book, signer, b"", lab.clock, lambda _record: {}, Outputs(keeper, Counts()))


def test_f_o4_beside_a_link_that_upstream_opened_outputs_are_fetched_by_requests():
    async def story(lab):
        lab.worlds[0].outputs, keeper = output(BODY, OTHER), Keeper(BODY)
        brought, tasks = [], []
        caller = calling(lab, keeper)

        async def bring(seen):
            keeper.wanted |= dict.fromkeys(output(OTHER)) if not keeper.kept else {}
            return await caller.bring(seen)

        beside, seen = Beside(bring, brought.append, tasks.append, 90.0), seen_by(lab)
        beside.begin(seen)
        beside.begin(seen)
        assert len(tasks) == 1, "one at a time"
        await tasks[0]
        assert (keeper.kept, brought) == (output(BODY, OTHER), [UIDS[0]])
        assert lab.worlds[0].bodies == [], "nothing was said"
        seen.link = None
        beside.begin(seen)
        assert len(tasks) == 1, "without a link the next visit does it"

    told(story)


def test_outputs_that_come_up_meanwhile_are_fetched_in_another_pass_and_lost_ones_in_none():
    async def story(lab):
        keeper, asked = Keeper(BODY), lab.dials[0].post
        lab.worlds[0].outputs = output(OTHER)

        async def post(request):
            keeper.wanted |= dict.fromkeys(output(OTHER))
            return await asked(request)

        lab.dials[0].post = post
        caller, seen = calling(lab, keeper), seen_by(lab)
        assert await caller.bring(seen) is True
        assert await caller.bring(seen) is False
        assert keeper.kept == output(OTHER)

    told(story)


@pytest.mark.parametrize("error", [VisitError("slow", "no answer"), TimeoutError()])
def test_what_could_not_be_fetched_is_left_for_the_next_message(error):
    async def story(lab):
        tasks, brought = [], []

        async def fails(_seen):
            raise error

        beside, seen = Beside(fails, brought.append, tasks.append, 90.0), seen_by(lab)
        beside.begin(seen)
        await tasks[0]
        assert brought == []
        beside.begin(seen)
        await tasks[1]

    told(story)


def test_what_takes_too_long_is_given_up():
    async def story(lab):
        tasks = []

        async def waits(_seen):
            await asyncio.sleep(1_000)

        beside, seen = Beside(waits, lambda _uid: None, tasks.append, 90.0), seen_by(lab)
        began = lab.clock.elapsed
        beside.begin(seen)
        await tasks[0]
        assert lab.clock.elapsed - began == 90.0

    told(story)
