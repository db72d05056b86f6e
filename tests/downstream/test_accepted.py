"""A link that a visitor holds into an agent's service."""

import asyncio

import pytest

from popham.downstream.accepted import WAITING
from popham.errors import LinkError, VisitError
from popham.net.signing import Operation
from popham.testing.virtual import pass_time

from .visitors import Scene


@pytest.fixture
def scene():
    return Scene()


def test_f_p2_what_the_visitor_says_over_its_link_is_heard_and_answered(scene):
    async def story():
        link = await scene.visitor.hold()
        link.say(b"one")
        link.say(b"two")
        await pass_time(0.1)
        assert link.heard() == [b"heard one", b"heard two"]
        assert scene.service.held
        assert scene.service.visitor.operation == "hold"
        link.handler.closed(1000)
        await pass_time(0.1)
        assert not scene.service.held

    scene.run(story)


def test_a_frame_that_is_changed_or_played_again_ends_the_link(scene):
    async def story():
        for spoil in (lambda data: data[:-1] + b"!", lambda data: data):
            link = await scene.visitor.hold()
            first = link.frames.seal(b"one")
            link.handler.message(first)
            with pytest.raises(VisitError) as caught:
                link.handler.message(spoil(first))
            assert caught.value.code == "visit.signature"
            link.handler.closed(1008)
            await pass_time(0.1)
            assert not scene.service.held
        assert (scene.service.refused.code, scene.service.refused.count) == ("visit.signature", 2)

    scene.run(story)


def test_a_frame_of_one_link_is_of_no_use_on_another(scene):
    async def story():
        one = await scene.visitor.hold()
        captured = one.frames.seal(b"restart")
        one.handler.closed(1000)
        two = await scene.visitor.hold()
        with pytest.raises(VisitError):
            two.handler.message(captured)
        two.handler.closed(1008)

    scene.run(story)


def test_an_upgrade_needs_the_current_nonce_and_a_captured_one_opens_nothing(scene):
    async def story():
        stale = await scene.visitor.ask(Operation.HOLD, method="GET", again=False)
        assert (stale.status, scene.world.links) == (428, [])
        captured = scene.visitor.request(Operation.HOLD, method="GET")
        assert hasattr(await scene.service.upgrade(captured), "opened")
        assert (await scene.service.upgrade(captured)).status == 428

    scene.run(story)


def test_a_newer_link_takes_the_place_of_the_former_one_also_of_a_dead_one(scene):
    async def story():
        dead = await scene.visitor.hold()
        await pass_time(0.1)
        dead.dead = True
        links = [await scene.visitor.hold() for _ in range(3)]
        await pass_time(30.0)
        assert dead.closed_with == (1000, "another link was opened")
        assert [link.closed_with is None for link in links] == [False, False, True]
        links[-1].say(b"hello")
        await pass_time(0.1)
        assert links[-1].heard() == [b"heard hello"]
        links[-1].handler.closed(1000)

    scene.run(story)


def test_more_messages_than_may_wait_end_the_link(scene):
    async def story():
        async def never(link):
            scene.world.links.append(link)
            await asyncio.Event().wait()

        scene.world.serve = never
        link = await scene.visitor.hold()
        await pass_time(0.1)
        for _ in range(WAITING):
            link.say(b"x")
        assert link.closed_with is None
        link.say(b"x")
        assert link.closed_with[0] == 1013
        (accepted,) = scene.world.links
        with pytest.raises(LinkError, match="wait"):
            await accepted.send(b"y")
        with pytest.raises(LinkError, match="wait"):
            [_ async for _ in accepted]

    scene.run(story)


def test_a_visitor_that_reads_too_slowly_loses_its_link(scene):
    async def story():
        link = await scene.visitor.hold()
        link.slow = True
        link.say(b"one")
        await pass_time(0.1)
        assert link.closed_with is not None
        assert not scene.service.held

    scene.run(story)


def test_a_link_that_ends_badly_says_so_each_time_it_is_asked(scene):
    async def story():
        ended = []

        async def serve(link):
            for _ in range(2):
                try:
                    async for _message in link:
                        pass
                except LinkError as error:
                    ended.append((error.code, error.status))

        scene.world.serve = serve
        link = await scene.visitor.hold()
        await pass_time(0.1)
        link.handler.closed(1006)
        await pass_time(0.1)
        assert ended == [("link.closed", 1006)] * 2

    scene.run(story)


def test_the_service_that_is_stopped_closes_the_link(scene):
    async def story():
        link = await scene.visitor.hold()
        await pass_time(0.1)
        await scene.service.close_links()
        assert link.closed_with == (1001, "the service is stopped")
        await pass_time(0.1)
        assert not scene.service.held

    scene.run(story)
