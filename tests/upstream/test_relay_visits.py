"""Relays where this end dials: a pass in each visit of a proxy, and beside a link that is held."""

import asyncio
from types import SimpleNamespace

import pytest

from popham.errors import VisitError
from popham.opamp.codec import custom
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.beside import Beside
from popham.upstream.calling import Calling
from popham.upstream.record import Record
from popham.upstream.relay_door import RelayDoor
from popham.upstream.sighting import Seen, Sight
from popham.upstream.visits import Signer

from .lab import DIRECTOR, IDENTITIES, UIDS, told
from .relaying import Bench, Proxy, key_of, said


class Scene:
    """A visited proxy, and an upstream with relays."""

    def __init__(self, lab):
        self.lab, self.bench = lab, Bench()
        self.record = self.bench.proxy = Record(
            uid=UIDS[0], key=key_of(1), name="dock", group="lab", public_key=IDENTITIES[0].public.der
        )
        self.bench.desk.scopes = {UIDS[0]: self.bench.desk.scopes["p"]}
        self.proxy, self.news = Proxy(self.bench), []
        self.door = RelayDoor()
        self.door.relays = self.bench.relays
        self.messages = 0
        lab.worlds[0].relayed = self.hear
        book = SimpleNamespace(record=lambda _uid: self.record, name_of_key=lambda _keyid: "", forgets=False)
        book.wanted = lambda _group: None
        signer = Signer(DIRECTOR.crypto, DIRECTOR.keyid)
        self.calling = Calling(lab.hub, book, signer, b"", lab.clock, lambda _record: {}, relaying=self.door)
        place = SimpleNamespace(host="a", url="http://a")
        self.seen = Seen(SimpleNamespace(uid=UIDS[0], name="dock", place=place), Sight(0.0), lab.dials[0])

    def hear(self, body):
        """Answer as the proxy: say its news, one with each message."""
        self.messages += 1
        self.proxy.take(body)
        news = self.news.pop(0) if self.news else []
        up = self.proxy.up(lists=True, agents=news)
        up.head.more = bool(self.news)
        return up.SerializeToString()


def test_f_t2_a_visit_of_a_proxy_relays_until_neither_end_has_more_to_say():
    async def story(lab):
        scene = Scene(lab)
        scene.bench.know(1, 2)
        scene.news = [said(1), said(2)]
        await scene.calling.visit(scene.seen)
        assert sorted(told.name for told in scene.proxy.agents.values()) == ["a1", "a2"]
        assert scene.messages == 3
        await scene.calling.visit(scene.seen)
        assert scene.messages == 4

    told(story)


def test_an_agent_that_is_no_proxy_is_visited_as_ever():
    async def story(lab):
        scene = Scene(lab)
        scene.bench.desk.scopes.clear()
        await scene.calling.visit(scene.seen)
        assert scene.messages == 0
        assert not scene.calling.relays_with(scene.seen)

    told(story)


def test_a_proxy_that_does_not_relay_yet_is_visited_all_the_same(caplog):
    async def story(lab):
        scene = Scene(lab)
        lab.worlds[0].relayed = None
        await scene.calling.visit(scene.seen)
        assert len(lab.worlds[0].bodies) == 1

    told(story)
    assert "dock does not relay" in caplog.text


def test_a_pass_whose_answer_is_lost_fails_the_visit_and_the_next_says_it_again():
    async def story(lab):
        scene = Scene(lab)
        scene.bench.know(1)
        scene.news = [said(1)]

        # The nonce is asked for first, then the report comes, and then the first message of the relay.
        scene.lab.dials[0].fates = iter(["arrives", "arrives", "answer lost"])
        with pytest.raises(VisitError, match="no answer"):
            await scene.calling.visit(scene.seen)
        scene.news = [said(1)]
        await scene.calling.visit(scene.seen)
        assert [told.name for told in scene.proxy.agents.values()] == ["a1"]

    told(story)


def test_beside_a_held_link_what_came_up_meanwhile_is_relayed_once_more():
    async def story(lab):
        scene = Scene(lab)
        tasks = []
        beside = Beside(scene.calling.relay, lambda _uid: None, tasks.append, 90.0)
        assert not beside.begin(scene.seen)
        scene.seen.link = object()
        assert beside.begin(scene.seen)
        assert beside.begin(scene.seen)
        await asyncio.gather(*tasks)
        assert len(tasks) == 1
        assert scene.messages >= 2

    told(story)


async def test_a_wake_over_a_held_link_is_answered_and_told_to_whoever_dials(manager):
    agent = await manager.add_agent("dock")
    woken = []
    manager.hub.relaying.on_woken = woken.append
    manager.book.watch_proxies(lambda _uid: False)
    _, end = manager.hold(agent.peer())
    await manager.hear(end, agent.end.report(force=True))
    record = manager.book.record(agent.uid)
    wake = AgentToServer(instance_uid=record.key, custom_message=custom(wire.Wake()))
    answer = await manager.hear(end, wake)
    assert "may not do this" in answer.error_response.error_message
    assert woken == []
    manager.book.watch_proxies(lambda uid: uid == agent.uid)
    end.link.peer.uid, end.link.peer.key = agent.uid, agent.key.public.der
    end.link.peer.certificate = end.link.peer.identity = None
    answer = await manager.hear(end, wake)
    assert not answer.HasField("error_response")
    assert woken == [record]
