"""Messages of proxies that could not be worked on, and agents that go and come back between two messages."""

import uuid

import pytest

from popham.errors import StateError
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.relays import ANSWERED_MAX, CALLS_MAX

from .relaying import Bench, Proxy, key_of, said


@pytest.fixture
def bench():
    return Bench()


def uid_of(number):
    return str(uuid.UUID(int=number))


async def test_rel_8_what_could_not_be_written_is_not_named_as_heard_where_this_end_dials(bench):
    bench.know(1)
    proxy = Proxy(bench)
    await proxy.begin()
    proxy.take(bench.relays.begin(bench.proxy))
    lost = proxy.up(agents=said(1))
    bench.desk.broken = True
    with pytest.raises(StateError):
        await bench.relays.heard(bench.proxy, lost.SerializeToString())
    bench.desk.broken = False
    down = wire.RelayDown.FromString(bench.relays.begin(bench.proxy))
    assert down.head.heard != lost.head.number


@pytest.mark.parametrize("parts", [{"agents": said(2)}, {"left": [key_of(2)]}], ids=["waits", "at once"])
async def test_rel_8_a_message_is_not_named_as_heard_if_what_it_confirms_could_not_be_noted(
    bench, monkeypatch, parts
):
    bench.know(1, 2)
    proxy = Proxy(bench)
    await proxy.begin(agents=said(1))
    await proxy.say()
    del bench.desk.texts[key_of(1)]
    bench.relays.agent_changed(uid_of(1))
    assert (await proxy.say()).agents[0].gone

    def fail(_proxy, _keys):
        raise StateError("full", "the disk is full")

    lost = proxy.up(**parts)
    with monkeypatch.context() as patch:
        patch.setattr(bench.desk, "left", fail)
        with pytest.raises(StateError):
            await bench.relays.answer(bench.proxy, lost.SerializeToString())
    down = wire.RelayDown.FromString(bench.relays.begin(bench.proxy))
    assert down.head.heard != lost.head.number


async def test_an_agent_that_a_proxy_has_forgotten_is_not_there_any_more(bench):
    bench.know(1)
    proxy = Proxy(bench)
    await proxy.begin(agents=said(1))
    await proxy.say()
    del bench.desk.texts[key_of(1)]
    bench.relays.agent_changed(uid_of(1))
    assert (await proxy.say()).agents[0].gone
    assert bench.desk.gone == []
    await proxy.say()
    assert bench.desk.gone == [key_of(1)]


async def test_an_agent_that_is_given_back_before_that_was_heard_is_told_of_as_it_changes(bench):
    bench.know(1)
    proxy = Proxy(bench)
    await proxy.begin(agents=said(1))
    await proxy.say()
    text = bench.desk.texts.pop(key_of(1))
    bench.relays.agent_changed(uid_of(1))
    await proxy.say()
    bench.desk.texts[key_of(1)] = text
    bench.relays.agent_changed(uid_of(1))
    assert [told.name for told in (await proxy.say()).agents] == [text]
    bench.desk.texts[key_of(1)] = "renamed"
    bench.relays.agent_changed(uid_of(1))
    assert [told.name for told in (await proxy.say()).agents] == ["renamed"]


async def test_sec_9_replies_that_a_proxy_never_hears_are_bounded(bench):
    proxy = Proxy(bench)
    await proxy.begin()
    ids = iter(range(1, 2 * ANSWERED_MAX))
    for _ in range(ANSWERED_MAX // CALLS_MAX + 3):
        calls = [wire.RelayCall(id=next(ids), kind="any") for _ in range(CALLS_MAX)]
        up = proxy.up(calls=calls)
        up.head.heard = 0
        await bench.relays.answer(bench.proxy, up.SerializeToString())
    assert len(bench.desk.calls) == ANSWERED_MAX
