"""One end of the relay is of a program that comes after this one: it says more than this one knows, and all works."""

import pytest
from tests.manager.intake.framing import Sender, join
from tests.upstream.conftest import files

from popham.errors import WireError
from popham.model.generation import GENERATION, PROXIES
from popham.model.names import canonical
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.testing.direct import DirectManager
from popham.testing.intake import MemoryIntake

from .desk import MemoryDesk, body_of
from .dock import Agent, Dock
from .test_with_manager import Chain

LATER = b"\xa2\x1f\x05later\xa8\x1f\x2a"
"""Two fields that no message has: numbers 500 and 501."""
DREAMS = "dreams"


def age(message):
    """Have a message, and all that are in it, say what is not known yet; return it."""
    for part, value in message.ListFields():
        if part.type == part.TYPE_MESSAGE:
            for one in value if part.is_repeated else (value,):
                age(one)
    message.MergeFromString(LATER)
    return message


class Ahead(Dock):
    """A proxy, or what is above it, that comes after this program; the other end is what it is.

    Attributes:
        ahead: Which end: "up" for the proxy's messages, "down" for those above.
        answers: Replies to calls of a kind that is not known yet.
    """

    ahead, calls_made, answers = "", 0, ()

    async def _exchange(self, fate="arrives"):
        up = self.uplink.up()
        if self.ahead == "up":
            up = self.later_up(wire.RelayUp.FromString(up))
        down = await self.relays.answer(self.record, up)
        found = wire.RelayDown.FromString(down)
        self.answers = [*self.answers, *(one for one in found.replies if one.id >= 1 << 40)]
        self.told = [*getattr(self, "told", ()), *found.agents]
        if self.ahead == "down":
            down = self.later_down(found)
        return await self.uplink.hear(down)

    def later_up(self, up):
        """Return a message as a later proxy says it."""
        up.head.generation = GENERATION + 1
        for said in up.agents:
            said.message = age(AgentToServer.FromString(said.message)).SerializeToString()
        if up.status:
            up.status = up.status[:-1] + b',"x-of-later":{"much":1}}'
        if self.calls_made < 2:
            self.calls_made += 1
            key = next((one.key for one in self.book.records()), b"")
            up.calls.add(id=(1 << 40) + self.calls_made, kind="foretell", key=key, body=b"what?")
            up.streams.add(key=key, stream=DREAMS, frames=b"of a kind that nobody knows")
        return age(up).SerializeToString()

    def later_down(self, down):
        """Return a message as a later upstream says it."""
        down.head.generation = GENERATION + 1
        if down.orders:
            orders = {"custody": {DREAMS: "hop", "logs": "hop", "events": "by telepathy"}, "x-of-later": [1]}
            down.orders = canonical(orders)
        down.replies.add(id=1 << 40, body=b"to nobody")
        down.standings.add(key=b"k" * 16).standing.stream = DREAMS
        for told in down.agents:
            told.orders.add(nonce="f" * 32, envelope=b"of a kind that nobody knows")
        return age(down).SerializeToString()


class LaterDesk(MemoryDesk):
    """What is above comes after this program: what it tells has more in it, and that is in its digests too."""

    def told(self, proxy, key):
        return age(super().told(proxy, key))

    def group_told(self, proxy, name):
        found = wire.GroupTold()
        found.CopyFrom(super().group_told(proxy, name))
        return age(found)

    def places(self, proxy):
        return [age(one) for one in super().places(proxy)]


async def below(tmp_path):
    """Return a proxy of this program below an upstream that comes after it, and an agent that was there."""
    web, desk = Agent(0), LaterDesk()
    dock = Ahead(tmp_path, desk)
    dock.ahead = "down"
    desk.put_group(body_of("first"))
    desk.add(web)
    await dock.boot()
    async with dock.connected():
        answer = await dock.say(web, full=True)
        await dock.settle()
    return dock, web, answer


async def test_f_l9_rel_15_a_proxy_of_the_next_generation_works_below_a_manager_of_this_one(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("tests.proxy.test_with_manager.Dock", Ahead)
    monkeypatch.setattr(
        "tests.proxy.test_with_manager.DirectManager",
        lambda keys: DirectManager(keys, intake=MemoryIntake()),
    )
    chain = await Chain().begin(tmp_path)
    dock, dock.ahead = chain.dock, "up"
    await chain.rounds()
    wanted = chain.manager.book.wanted("lab")
    assert chain.above.via == (dock.record.uid,)
    assert chain.above.state.content_digest == wanted.content_digest
    assert chain.placed.status(dock.record.uid)["generation"] == GENERATION
    assert {one.code for one in dock.answers} == {"not_found.message"}, "it hears that there is no such call"
    assert all("Upgrade" in one.hint for one in dock.answers)
    frames = join(Sender(uid=chain.above.key, key=chain.agent.key).frames(3))
    dock.carrying.waiting.append(wire.Carried(key=chain.above.key, stream="logs", frames=frames))
    await dock.settle()
    assert any(one.standing.next == 3 for one in dock.carrying.stands), "and known streams go on"
    await chain.manager.publish(files("second\n"))
    dock.relays.groups_changed(["lab"])
    await chain.rounds()
    assert chain.above.state.content_digest != wanted.content_digest


async def test_f_l9_rel_15_a_proxy_of_this_generation_works_below_an_upstream_of_the_next_one(tmp_path):
    dock, web, answer = await below(tmp_path)
    assert answer.HasField("remote_config"), "its agent is offered its policies"
    assert set(dock.desk.said_of) == {web.key}
    assert dock.carrying.custody == {"logs": "hop"}, "of what is ordered what is known is done"
    dock.desk.put_group(body_of("second"), version=2)
    dock.relays.groups_changed(["fleet"])
    await dock.settle()
    assert dock.book.wanted("fleet").serial == 2
    assert list(dock.book.wanted("fleet").blobs) == list(dock.desk.groups["fleet"].blobs)


async def test_f_l9_rel_15_what_a_later_upstream_told_is_kept_whole_so_that_nothing_is_told_again(tmp_path):
    dock, web, _ = await below(tmp_path)
    dock.ahead = ""
    dock.relays.agent_changed(web.uid)  # as it tells it, and nothing added on the way
    await dock.settle()
    await dock.write()
    (kept,) = (tmp_path / "agents").iterdir()
    assert b"later" in kept.read_bytes()
    await dock.boot()
    dock.boot_manager()
    dock.told = []
    await dock.settle()
    assert dock.book.find(web.key) is not None
    assert not dock.told


@pytest.mark.parametrize("side", ["up", "down"])
async def test_rel_15_one_that_is_too_old_to_relay_is_refused_with_a_sentence_that_says_what_to_do(
    tmp_path, side
):
    dock = Dock(tmp_path)
    await dock.boot()
    up = wire.RelayUp.FromString(dock.uplink.up())
    if side == "up":
        up.head.generation = PROXIES - 1
        with pytest.raises(WireError, match=r"Proxy Manager speaks generation 4.*cannot relay") as caught:
            await dock.relays.answer(dock.record, up.SerializeToString())
        assert "Upgrade the Proxy Manager" in caught.value.hint
        return
    down = wire.RelayDown.FromString(await dock.relays.answer(dock.record, up.SerializeToString()))
    down.head.generation = PROXIES - 1
    with pytest.raises(WireError, match=r"upstream speaks generation 4.*cannot relay") as caught:
        await dock.uplink.hear(down.SerializeToString())
    assert "Upgrade the upstream" in caught.value.hint
