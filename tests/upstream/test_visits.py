"""One visit, against a real service: what is believed, and what a bad network or somebody in between can do."""

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popham.errors import VisitError, WireError
from popham.model.names import digest
from popham.net.signing import Operation
from popham.net.visiting import Reply
from popham.testing.virtual import VirtualClock
from popham.trust.keys import SigningKey
from popham.upstream.birth import read_born
from popham.upstream.directive import quiet
from popham.upstream.replies import refusal_of
from popham.upstream.visits import MAX_EXCHANGES, Signer

from .lab import FOREIGN, IDENTITIES, UIDS, YEAR, Hub, refusal, told


def test_f_l2_a_quiet_visit_costs_one_request_once_the_nonce_is_known():
    async def story(lab):
        await lab.run()
        assert len(lab.dials[0].seen) == 2, "the first one brings the nonce"
        await lab.run()
        await lab.run()
        assert len(lab.dials[0].seen) == 4
        assert lab.worlds[0].bodies == [b""] * 3

    told(story)


def test_the_directive_is_said_in_the_second_exchange_and_its_outcome_is_heard():
    async def story(lab):
        lab.hub = Hub(busy=1)
        await lab.run()
        key = bytes.fromhex(UIDS[0].replace("-", ""))
        assert lab.worlds[0].bodies == [b"", quiet(key) * 2]
        assert len(lab.hub.heard) == 2

    told(story)


def test_a_visit_that_finds_no_end_is_ended():
    async def story(lab):
        lab.hub = Hub(busy=1_000)
        await lab.run()
        assert len(lab.worlds[0].bodies) == MAX_EXCHANGES

    told(story)


def test_what_changed_nothing_is_not_said_again_in_the_same_visit():
    async def story(lab):
        lab.hub = Hub(busy=1_000, again=True)
        await lab.run()
        assert len(lab.worlds[0].bodies) == 2

    told(story)


def test_what_it_lacks_is_brought_with_its_digest_and_what_came_of_it_is_heard():
    async def story(lab):
        body = b"a body"
        lacks = [{digest(body): body}, {}]
        await lab.run(lacks=lambda: lacks.pop(0))
        assert lab.worlds[0].contents == [(digest(body), body)]
        assert lab.worlds[0].bodies == [b"", b""]

    told(story)


FATES = st.lists(st.sampled_from(["arrives", "request lost", "answer lost", "twice", "restart"]), max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fates=FATES, busy=st.integers(0, 2))
def test_a_lost_answer_costs_one_repeat_and_never_a_deadlock_whatever_is_lost(fates, busy):
    async def story(lab):
        lab.hub = Hub(busy=busy)
        for _ in range(14):
            try:
                await lab.run()
            except VisitError as error:
                assert error.code in {"visit.slow", "visit.nonce"}  # noqa: PT017  # most visits raise none
            await asyncio.sleep(5)
        before = len(lab.dials[0].seen)
        await lab.run()
        assert len(lab.dials[0].seen) - before <= 2, "all is as if nothing had been lost"
        before = len(lab.dials[0].seen)
        await lab.run()
        assert len(lab.dials[0].seen) - before == 1

    told(story, fates=fates)


def test_sec_replays_of_any_request_change_nothing_also_after_a_restart():
    async def story(lab):
        lab.hub = Hub(busy=1)
        body = b"a body"
        lacks = [{digest(body): body}]
        await lab.run(lacks=lambda: lacks.pop() if lacks else {})
        captured, world = list(lab.dials[0].seen), lab.worlds[0]
        before = (list(world.bodies), list(world.contents))
        for restarted in (False, True):
            if restarted:
                lab.restart()
            for asked in captured:
                await asyncio.sleep(1)
                assert (await lab.replay(asked)).status == 428
            assert (world.bodies, world.contents) == before
        await asyncio.sleep(5)
        await lab.run()
        assert len(world.bodies) == len(before[0]) + 1

    told(story)


def test_sec_the_answers_of_two_agents_swapped_by_what_is_between_are_named():
    async def story(lab):
        names = {IDENTITIES[1].keyid: "db1"}
        lab.known = lambda keyid: names.get(keyid, "")
        error = await refusal(lab, dials=lab.dials[1])
        assert (error.code, error.problem) == ("visit.identity", "the agent db1 answers instead")
        names.clear()
        assert (await refusal(lab, dials=lab.dials[1])).code == "visit.signature"
        assert not lab.worlds[0].bodies
        assert not lab.worlds[1].bodies
        assert not lab.hub.heard

    told(story)


class Meddling:
    """Answers what it likes: ``meddle`` gets the request and the agent's own reply."""

    def __init__(self, dials, meddle):
        self.dials, self.meddle = dials, meddle

    async def post(self, asked):
        return self.meddle(asked, await self.dials.post(asked))

    async def aclose(self):
        pass


def test_sec_an_answer_to_another_request_is_not_believed():
    async def story(lab):
        kept = []

        def yesterday(_asked, reply):
            kept.append(reply)
            return next(one for one in kept if one.status == 200) if reply.status == 200 else reply

        await lab.run(dials=Meddling(lab.dials[0], yesterday))
        error = await refusal(lab, dials=Meddling(lab.dials[0], yesterday))
        assert error.code == "visit.signature"
        await lab.run()
        assert len(lab.hub.heard) == 2

    told(story)


@pytest.mark.parametrize("part", ["body", "status", "nonce"])
def test_sec_an_answer_that_was_changed_on_its_way_is_not_believed(part):
    async def story(lab):
        def change(_asked, reply):
            if reply.status != 200:
                return reply
            headers = dict(reply.headers)
            if part == "nonce":
                name = next(name for name in headers if name.lower() == "popham-nonce")
                headers[name] = "another"
            return Reply(
                204 if part == "status" else 200,
                headers,
                reply.body + b"\x10\x01" if part == "body" else reply.body,
            )

        assert (await refusal(lab, dials=Meddling(lab.dials[0], change))).code == "visit.signature"
        assert not lab.hub.heard
        await lab.run()

    told(story)


def test_sec_nonces_that_somebody_makes_up_cost_two_requests_and_are_named():
    async def story(lab):
        def restless(_asked, _reply):
            return Reply(428, {"popham-nonce": "made-up"}, b"")

        error = await refusal(lab, dials=Meddling(lab.dials[0], restless))
        assert (error.code, len(lab.dials[0].seen)) == ("visit.nonce", 2)
        await asyncio.sleep(2)
        await lab.run()

    told(story)


@pytest.mark.parametrize("nonce", ["\xe9", "a\tb", "\udc80", "n" * 9_000, 'a"b'])
def test_sec_a_nonce_that_could_not_be_sent_again_shuts_nobody_out(nonce):
    async def story(lab):
        spoilt = Meddling(lab.dials[0], lambda _asked, _reply: Reply(428, {"popham-nonce": nonce}, b""))
        assert (await refusal(lab, dials=spoilt)).code == "visit.nonce"
        await asyncio.sleep(2)
        await lab.run()
        assert len(lab.hub.heard) == 1

    told(story)


def test_visits_of_one_agent_at_once_do_not_take_its_nonce_from_each_other():
    async def story(lab):
        lab.hub = Hub(busy=6)
        bodies = {digest(body): body for body in (b"1", b"2", b"3", b"4")}

        async def bring():
            visit = lab.visit()
            for sha256, body in bodies.items():
                await visit.bring(sha256, body)

        await asyncio.gather(lab.run(), bring(), lab.run())
        assert dict(lab.worlds[0].contents) == bodies
        stale = len(lab.dials[0].seen) - len(lab.worlds[0].bodies) - len(bodies)
        assert stale == 1, "only the first request has none"

    told(story)


def test_sec_a_foreign_manager_is_a_stranger_and_makes_no_agent_work():
    async def story(lab):
        assert (await refusal(lab)).code == "visit.stranger"
        assert not lab.worlds[0].bodies

    told(story, key=FOREIGN)


@pytest.mark.parametrize("years", [-1, 1, -30])
@pytest.mark.parametrize("whose", ["upstream", "agent"])
def test_sec_a_clock_that_is_wrong_by_years_blocks_nothing(years, whose):
    async def story(lab):
        wrong = VirtualClock()
        wrong.offset = years * YEAR
        if whose == "agent":
            service_clock, visit_clock = wrong, lab.clock
        else:
            service_clock, visit_clock = lab.clock, wrong
        lab.clock = service_clock
        lab.restart()
        lab.clock = visit_clock
        await lab.run()
        await lab.run()
        assert len(lab.hub.heard) == 2

    told(story)


def test_a_report_about_another_agent_is_not_heard():
    async def story(lab):
        lab.worlds[0].report = lab.worlds[1].report
        with pytest.raises(WireError, match="another agent"):
            await lab.run()
        assert not lab.hub.heard

    told(story)


def test_what_an_agent_refuses_is_told_in_its_own_words():
    async def story(lab):
        async def failing(_body):
            raise WireError("malformed", "this agent knows no such thing", "Upgrade it")

        lab.worlds[0].visited = failing
        error = await refusal(lab)
        assert (error.code, error.hint) == ("visit.failed", "Upgrade it")
        assert error.problem == "this agent knows no such thing (wire.malformed)"

    told(story)


@pytest.mark.parametrize(
    ("said", "code", "problem"),
    [
        ({"code": "visit.\x1b[31m", "detail": "\x1b[2Jgone\nand more"}, "visit.failed", "[2Jgoneand more"),
        ({"code": "visit." + "x" * 400, "detail": "d" * 10_000}, "visit.failed", "d" * 500),
        ({"code": "visit.unborn", "detail": "well"}, "visit.unborn", "well"),
        ([[]], "visit.failed", "the agent's service answers with status 400"),
    ],
)
def test_sec_what_an_agent_says_of_a_failure_is_one_plain_sentence(said, code, problem):
    found = refusal_of(Reply(400, {}, json.dumps(said).encode()))
    assert (found.code, found.problem) == (code, problem)


def test_an_answer_that_is_nested_without_end_is_no_answer():
    deep = Reply(409, {}, b"[" * 100_000)
    assert refusal_of(deep).code == "visit.failed"
    assert read_born(deep) == ("", b"")


def test_a_link_is_opened_with_a_nonce_that_came_back_and_its_frames_hold_both_ways():
    async def story(lab):
        async def serve(link):
            async for message in link:
                await link.send(b"heard " + message)

        lab.worlds[0].serve = serve
        connection, frames = await lab.visit().hold()
        await connection.send(frames.seal(b"hello"))
        assert frames.open(await anext(aiter(connection))) == b"heard hello"
        await connection.close()

    told(story)


def test_the_operation_of_every_request_is_named_for_whoever_signs_it():
    assert {str(one) for one in Operation} == {
        "visit",
        "birth",
        "content",
        "output",
        "stream",
        "relay",
        "hold",
    }


def test_a_signer_with_a_statement_shows_the_newest_beside_each_request():
    async def story(lab):
        proxy, shown = SigningKey.create(), [b"first", b"second"]
        world = lab.worlds[0]
        world.find_visitor = lambda keyid, statement, **_how: (
            proxy.public.crypto if (keyid, statement) == (proxy.keyid, shown[0]) else None
        )
        visit = lab.visit()
        visit._signer = Signer(proxy.crypto, proxy.keyid, lambda: shown[0])
        await visit.exchange(b"")
        assert {one.headers["Popham-Visitor"] for one in lab.dials[0].seen} == {"Zmlyc3Q="}
        del shown[0]
        await visit.exchange(b"")
        assert lab.dials[0].seen[-1].headers["Popham-Visitor"] == "c2Vjb25k"
        await lab.run()
        assert "Popham-Visitor" not in lab.dials[0].seen[-1].headers

    told(story)
