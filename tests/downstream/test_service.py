"""What an agent's service believes, in which order it looks, and what it answers."""

import json

import pytest

from popham.downstream import entry
from popham.downstream.service import PATIENCE, TAKING
from popham.errors import TrustError, WireError
from popham.model.names import digest
from popham.net.seam import Peer, Request
from popham.net.signing import ANYBODY, Operation
from popham.testing.virtual import pass_time
from popham.trust.keys import IdentityKey, SigningKey

from .visitors import UID, Scene


@pytest.fixture
def scene():
    return Scene()


def code_of(answer):
    assert answer.content_type == "application/problem+json"
    found = json.loads(answer.body)
    assert found["detail"]
    assert "hint" in found
    return found["code"]


def is_signed(answer):
    return "Signature" in answer.headers


def test_f_l2_a_visit_is_a_report_and_then_a_directive_with_its_outcome(scene):
    async def story():
        first = await scene.visitor.ask()
        assert (first.status, first.body, first.content_type) == (200, b"report 1", "application/x-protobuf")
        second = await scene.visitor.ask(body=b"directive")
        assert (second.status, second.body) == (200, b"report 2")
        assert scene.world.bodies == [b"", b"directive"]
        seen = scene.service.visitor
        assert (seen.keyid, seen.address) == (scene.director.keyid, "192.0.2.7")
        assert (seen.operation, seen.at) == ("visit", scene.clock.now())
        assert scene.service.refused is None

    scene.run(story)


def test_a_request_without_the_current_nonce_brings_a_nonce_and_changes_nothing(scene):
    async def story():
        stale = await scene.visitor.ask(body=b"directive", again=False)
        assert (stale.status, stale.body, is_signed(stale)) == (428, b"", True)
        assert scene.world.bodies == []
        assert stale.headers["Popham-Nonce"] == scene.visitor.nonce
        done = await scene.visitor.ask(body=b"directive", again=False)
        assert (done.status, scene.world.bodies) == (200, [b"directive"])
        # Telling a nonce does not use it up; somebody else's telling neither.
        again = await scene.visitor.ask(nonce="made up", again=False)
        assert again.headers["Popham-Nonce"] == done.headers["Popham-Nonce"]

    scene.run(story)


def test_yesterdays_post_played_again_does_nothing(scene):
    async def story():
        await scene.visitor.ask()
        captured = scene.visitor.request(body=b"directive")
        assert (await scene.service.answer(captured)).status == 200
        replayed = [await scene.service.answer(captured) for _ in range(3)]
        assert {answer.status for answer in replayed} == {428}
        assert scene.world.bodies == [b"", b"directive"]

    scene.run(story)


def test_a_lost_answer_costs_one_repeat_and_so_does_a_restart_of_the_agent(scene):
    async def story():
        await scene.visitor.ask()
        await scene.service.answer(
            scene.visitor.request(body=b"one")
        )  # its answer, and the nonce in it, are lost
        assert (await scene.visitor.ask(body=b"one", again=False)).status == 428
        assert (await scene.visitor.ask(body=b"one", again=False)).status == 200
        other = Scene()
        other.world, other.director = scene.world, scene.director
        service = type(scene.service)(scene.world, clock=scene.clock)
        scene.visitor.service = service
        assert (await scene.visitor.ask(body=b"two")).status == 200
        await service.aclose()

    scene.run(story)


def test_a_key_of_nobody_is_refused_unread_and_unsigned(scene):
    async def story():
        stranger = scene.visits(SigningKey.create())
        answer = await stranger.ask(body=b"directive")
        assert (answer.status, code_of(answer), is_signed(answer)) == (403, "visit.stranger", False)
        assert scene.world.bodies == scene.world.founding == []
        assert (scene.service.refused.code, scene.service.refused.count) == ("visit.stranger", 1)

    scene.run(story)


def test_a_request_that_is_not_signed_is_told_so(scene):
    async def story():
        bare = Request(method="POST", path="/v1/visit", peer=Peer("192.0.2.9"), body=b"x")
        for _ in range(2):
            answer = await scene.service.answer(bare)
        assert (answer.status, code_of(answer), is_signed(answer)) == (403, "visit.signature", False)
        refused = scene.service.refused
        assert (refused.count, refused.address, refused.at) == (2, "192.0.2.9", scene.clock.now())

    scene.run(story)


@pytest.mark.parametrize("what", ["body", "query", "popham-operation", "popham-audience", "method"])
def test_what_a_web_server_changes_on_the_way_is_refused(scene, what):
    async def story():
        await scene.visitor.ask()
        good = scene.visitor.request(Operation.CONTENT, b"body", query=f"sha256={digest(b'body')}")
        headers, fields = (
            dict(good.headers),
            {"method": good.method, "raw_query": good.raw_query, "body": good.body},
        )
        if what in headers:
            headers[what] = "visit" if what == "popham-operation" else ANYBODY
        else:
            name, value = {
                "body": ("body", b"other"),
                "query": ("raw_query", f"sha256={digest(b'other')}"),
                "method": ("method", "PUT"),
            }[what]
            fields[name] = value
        changed = Request(path=good.path, peer=good.peer, headers=headers, **fields)
        answer = await scene.service.answer(changed)
        assert (answer.status, code_of(answer), is_signed(answer)) == (403, "visit.signature", False)
        assert scene.world.contents == []
        assert (await scene.service.answer(good)).status == 204  # the nonce was not used up

    scene.run(story)


def test_a_request_for_another_agent_is_refused_before_its_nonce_is_looked_at(scene):
    async def story():
        await scene.visitor.ask()
        lost = scene.visits(scene.director, audience=UID.replace("1", "2"))
        lost.nonce = scene.visitor.nonce
        answer = await lost.ask(body=b"directive")
        assert (answer.status, code_of(answer), is_signed(answer)) == (421, "visit.audience", True)
        assert scene.world.bodies == [b""]
        assert (await scene.visitor.ask(again=False)).status == 200

    scene.run(story)


def test_before_birth_nobody_is_meant_but_by_a_birth(scene):
    async def story():
        scene.world.uid = ""
        assert code_of(await scene.visits(scene.director, audience="").ask()) == "visit.audience"
        assert code_of(await scene.visits(scene.director, audience=ANYBODY).ask()) == "visit.audience"
        founder = SigningKey.create()
        scene.world.founders = {founder.keyid: founder.public.crypto}
        born = await scene.visits(founder, audience=ANYBODY).ask(Operation.BIRTH, b"documents")
        assert (born.status, born.body, scene.world.births) == (200, b"proof", [b"documents"])
        assert scene.world.founding[0] == b"documents"

    scene.run(story)


def test_content_is_handed_on_only_if_it_is_what_the_query_names(scene):
    async def story():
        done = await scene.visitor.ask(Operation.CONTENT, b"body", query=f"sha256={digest(b'body')}")
        assert (done.status, done.body, is_signed(done)) == (204, b"", True)
        assert scene.world.contents == [(digest(b"body"), b"body")]
        wrong = await scene.visitor.ask(Operation.CONTENT, b"body", query=f"sha256={digest(b'other')}")
        assert (wrong.status, code_of(wrong), is_signed(wrong)) == (403, "trust.blob", True)
        for query in ("", "sha256=abc", f"sha256={digest(b'body')}&x=1"):
            bad = await scene.visitor.ask(Operation.CONTENT, b"body", query=query)
            assert (bad.status, code_of(bad)) == (400, "wire.content")
        assert len(scene.world.contents) == 1

    scene.run(story)


def test_too_large_a_body_is_refused_before_anything_is_looked_at(scene):
    async def story():
        answer = await scene.service.answer(scene.visitor.request(body=bytes(entry.BODY_LIMIT + 1)))
        assert (answer.status, code_of(answer)) == (413, "visit.too_large")

    scene.run(story)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (WireError("malformed", "it is broken"), 400),
        (WireError("too_large", "it is large"), 413),
        (TrustError("signature", "it is forged"), 403),
        (ZeroDivisionError(), 500),
    ],
)
def test_what_goes_wrong_is_a_signed_answer_and_the_service_stays(scene, error, status, caplog):
    async def story():
        scene.world.error = error
        answer = await scene.visitor.ask(body=b"x")
        assert (answer.status, is_signed(answer)) == (status, True)
        assert code_of(answer) == getattr(error, "code", "visit.failed")
        scene.world.error = None
        assert (await scene.visitor.ask(again=False)).status == 200

    scene.run(story)


def test_an_exchange_that_takes_long_is_answered_with_how_far_it_is(scene):
    async def story():
        scene.world.until = 3 * PATIENCE
        await scene.visitor.ask()
        begun = scene.clock.elapsed
        slow = await scene.visitor.ask(body=b"apply")
        assert (slow.status, slow.body) == (200, b"state 1")
        assert scene.clock.elapsed - begun == PATIENCE
        # Asked again it only says how far it is; another directive waits, and is not lost unnoticed.
        assert (await scene.visitor.ask()).body == b"state 2"
        assert scene.world.lost_reports == 0
        assert (await scene.visitor.ask(body=b"another")).body == b"state 3"
        assert (scene.world.bodies, scene.world.lost_reports) == ([b"", b"apply"], 1)
        assert scene.clock.elapsed - begun == PATIENCE
        await pass_time(3 * PATIENCE)
        scene.world.until = 0.0
        assert (await scene.visitor.ask(body=b"another")).body == b"report 3"
        # What was reported at the end of the work reached nobody.
        assert (scene.world.bodies[-1], scene.world.lost_reports) == (b"another", 2)

    scene.run(story)


def test_a_body_whose_apply_takes_long_is_taken_and_more_of_them_wait(scene):
    async def story():
        await scene.visitor.ask()
        scene.world.until, begun = 1000.0, scene.clock.elapsed
        query = f"sha256={digest(b'body')}"
        for _ in range(TAKING):
            assert (await scene.visitor.ask(Operation.CONTENT, b"body", query=query)).status == 204
        assert scene.clock.elapsed - begun == TAKING * PATIENCE
        busy = await scene.visitor.ask(Operation.CONTENT, b"body", query=query)
        assert (busy.status, code_of(busy), is_signed(busy)) == (503, "link.busy", True)
        assert (await scene.visitor.ask()).status == 200

    scene.run(story)


def test_an_exchange_whose_visitor_went_away_goes_on(scene):
    async def story():
        import asyncio

        scene.world.until = 5.0
        await scene.visitor.ask()
        asking = asyncio.ensure_future(scene.visitor.ask(body=b"apply"))
        await pass_time(1.0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await pass_time(10.0)
        answer = await scene.visitor.ask()
        assert (answer.body, scene.world.lost_reports) == (b"report 3", 1)

    scene.run(story)


def test_strangers_cost_at_most_so_many_checks_a_second_and_the_visitor_comes_through(scene, monkeypatch):
    checked = []
    real = entry.open_request
    monkeypatch.setattr(entry, "open_request", lambda *args: checked.append(args) or real(*args))

    async def story():
        await scene.visitor.ask()
        thief, checked[:] = SigningKey.create(), []
        for second in range(5):
            answers = []
            for _ in range(100):
                forged = scene.visits(thief).request(body=b"x")
                claimed = forged.headers["signature-input"].replace(thief.keyid, scene.director.keyid)
                forged.headers["signature-input"] = claimed
                answers.append(await scene.service.answer(forged))
            assert {answer.status for answer in answers} <= {403, 429}
            assert all(not is_signed(answer) for answer in answers)
            assert (await scene.visitor.ask(body=b"real", again=False)).status == 200
            await pass_time(1.0)
            assert len(checked) <= 20 + 11 * (second + 1)
        assert scene.world.bodies == [b"", *[b"real"] * 5]
        busy = next(answer for answer in answers if answer.status == 429)
        assert (code_of(busy), busy.headers["Retry-After"]) == ("visit.busy", "1")

    scene.run(story)


def test_a_flood_from_one_address_leaves_a_visitor_its_first_request(scene):
    async def story():
        far = next(
            f"198.51.100.{n}"
            for n in range(99)
            if entry.set_of(f"198.51.100.{n}") != entry.set_of("192.0.2.7")
        )
        for _ in range(10):
            for _ in range(100):
                await scene.service.answer(scene.visits(scene.director, address=far).request(nonce="old"))
            await pass_time(0.1)
        assert (await scene.visitor.ask()).status == 200
        near = scene.visits(scene.director, address=far)
        assert (await near.ask(again=False)).status == 429

    scene.run(story)


@pytest.mark.parametrize("address", ["", "127.0.0.1", "::1"])
def test_sec_strangers_behind_the_same_web_server_leave_a_visitor_its_first_request(scene, address):
    async def story():
        thief, visitor = SigningKey.create(), scene.visits(scene.director, address=address)
        for _ in range(200):
            forged = scene.visits(thief, address=address).request()
            claimed = forged.headers["signature-input"].replace(thief.keyid, scene.director.keyid)
            forged.headers["signature-input"] = claimed
            await scene.service.answer(forged)
            await pass_time(1 / 40)
        assert (await visitor.ask()).status == 200
        answers = [(await visitor.ask(again=False, nonce="old")).status for _ in range(200)]
        assert answers.count(428) <= entry.FRONTED_CHECKS, "what is checked has its bound there as well"

    scene.run(story)


def test_who_has_the_nonce_is_paced_and_not_refused(scene):
    async def story():
        await scene.visitor.ask()
        begun = scene.clock.elapsed
        for _ in range(100):
            assert (await scene.visitor.ask(again=False)).status == 200
        assert 7.5 <= scene.clock.elapsed - begun <= 10.5

    scene.run(story)


def test_nonces_of_sixteen_visitors_are_kept_and_the_one_longest_away_goes(scene):
    async def story():
        visitors = []
        for _ in range(entry.VISITORS + 1):
            key = SigningKey.create()
            scene.world.directors[key.keyid] = key.public.crypto
            visitors.append(scene.visits(key))
            assert (await visitors[-1].ask()).status == 200
            await pass_time(1.0)
        assert (await visitors[0].ask(again=False)).status == 428
        assert (await visitors[-1].ask(again=False)).status == 200

    scene.run(story)


def test_an_answer_of_another_agent_is_not_believed(scene):
    async def story():
        await scene.visitor.ask()
        scene.world.identity, mine = IdentityKey.create(), scene.world.identity
        request = scene.visitor.request()
        answer = await scene.service.answer(request)
        scene.world.identity = mine
        with pytest.raises(Exception, match="signature does not hold"):
            scene.visitor.believe(request, answer)

    scene.run(story)


@pytest.mark.parametrize(("operation", "method"), [(Operation.HOLD, "POST"), (Operation.VISIT, "GET")])
def test_an_operation_asked_for_in_another_way_is_refused(scene, operation, method):
    async def story():
        answer = await scene.visitor.ask(operation, method=method)
        assert (answer.status, code_of(answer), is_signed(answer)) == (400, "visit.operation", True)
        assert scene.world.bodies == scene.world.links == []

    scene.run(story)
