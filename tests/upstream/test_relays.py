"""The exchange with proxies, over a small desk: what is told once, what again, and what is believed as heard."""

import asyncio
import uuid

import pytest

from popham.errors import GrantError, StateError, WireError
from popham.model.generation import GENERATION
from popham.opamp.relay import AGENTS_MAX
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.upstream.relaying import Scope

from .relaying import Bench, Proxy, key_of, said


@pytest.fixture
def bench():
    return Bench()


async def test_f_t2_a_proxy_is_told_of_the_agents_that_it_speaks_of_and_of_their_groups_once(bench):
    bench.know(1, 2)
    proxy = Proxy(bench)
    down = await proxy.say()
    assert down.nonce == b"n" * 16
    assert down.orders == b'{"custody":{"events":"hop"},"names":[]}'
    down = await proxy.say(agents=said(1, 2))
    assert sorted(told.name for told in down.agents) == ["a1", "a2"]
    assert [told.name for told in down.groups] == ["lab"]
    down = await proxy.say(agents=said(1, 2))
    assert not any((down.agents, down.groups, down.nonce, down.orders, down.head.more))


async def test_goal_an_exchange_with_nothing_to_wait_for_is_answered_at_once(bench):
    bench.know(1)
    proxy = Proxy(bench)
    await proxy.begin(agents=said(1))
    relays = bench.relays
    down = relays.take(bench.proxy, proxy.up(presence=b"\x05", status=b"{}").SerializeToString())
    assert isinstance(down, bytes)
    assert bench.desk.presences[-1][1] == b"\x05"
    proxy.take(down)
    later = relays.take(bench.proxy, proxy.up(agents=said(1)).SerializeToString())
    assert not isinstance(later, bytes)
    proxy.take(await later)


async def test_an_exchange_with_nothing_to_wait_for_keeps_its_turn_behind_one_that_waits(bench):
    bench.know(1, 2)
    proxy, gate = Proxy(bench), asyncio.Event()
    await proxy.begin(agents=said(1))
    bench.desk.gate = gate
    first = asyncio.ensure_future(
        bench.relays.take(bench.proxy, proxy.up(agents=said(2)).SerializeToString())
    )
    await asyncio.sleep(0)
    second = bench.relays.take(bench.proxy, proxy.up(presence=b"\x06").SerializeToString())
    assert not isinstance(second, bytes)
    gate.set()
    await first
    proxy.take(await second)
    assert bench.desk.presences[-1][1] == b"\x06"


async def test_what_was_told_and_did_not_arrive_is_told_again_as_it_is_then(bench):
    bench.know(1)
    proxy = Proxy(bench)
    await proxy.begin()
    lost = proxy.up(agents=said(1)).SerializeToString()
    await bench.relays.answer(bench.proxy, lost)
    bench.desk.texts[key_of(1)] = "renamed"
    bench.desk.versions["lab"] = 2
    down = await proxy.say()
    assert [told.name for told in down.agents] == ["renamed"]
    assert [told.version for told in down.groups] == [2]


async def test_results_are_named_until_the_proxy_heard_that_they_are_durable(bench):
    bench.know(1)
    proxy = Proxy(bench)
    await proxy.begin(agents=said(1))
    bench.desk.said_of[key_of(1)] = ("n:1",)
    bench.relays.agent_changed(str(uuid.UUID(int=1)))
    await bench.relays.answer(bench.proxy, proxy.up().SerializeToString())
    assert bench.desk.named == []
    down = await proxy.say()
    assert list(down.agents[0].heard) == ["n:1"]
    await proxy.say()
    assert bench.desk.named == [(key_of(1), ("n:1",))]


async def test_rel_8_a_proxy_that_begins_anew_is_told_only_what_differs_from_its_cache(bench):
    bench.know(*range(1, 40))
    proxy = Proxy(bench)
    await proxy.begin(agents=said(*range(1, 40)))
    again = Proxy(bench, cache=proxy)
    bench.desk.texts[key_of(5)] = "five"
    del bench.desk.texts[key_of(6)]
    down = await again.begin()
    assert {told.key: told.name for told in down.agents} == {key_of(5): "five", key_of(6): ""}
    assert [told.gone for told in down.agents if told.key == key_of(6)] == [True]
    assert not down.groups


async def test_rel_7_a_manager_that_begins_anew_learns_what_its_proxies_know_before_it_tells_them(bench):
    bench.know(1, 2)
    proxy = Proxy(bench)
    await proxy.begin(agents=said(1, 2))
    bench.start(boot=2)
    down = await proxy.say(agents=said(1))
    assert not down.agents
    assert down.head.more
    down = await proxy.say(lists=True)
    assert not any((down.agents, down.groups))
    bench.versions = bench.desk.versions["lab"] = 3
    bench.relays.groups_changed(["lab", "other"])
    assert bench.woken == ["p"]
    assert [told.version for told in (await proxy.say()).groups] == [3]


async def test_news_wake_a_proxy_once_until_it_came(bench):
    bench.know(1)
    proxy = Proxy(bench)
    await proxy.begin(agents=said(1))
    for _ in range(3):
        bench.desk.texts[key_of(1)] += "!"
        bench.relays.agent_changed(str(uuid.UUID(int=1)))
    bench.relays.agent_changed(str(uuid.UUID(int=77)))
    assert bench.woken == ["p"]
    assert bench.relays.waits(bench.proxy)
    await proxy.say()
    bench.relays.groups_changed(["lab"])
    assert bench.woken == ["p", "p"]


async def test_a_check_in_is_a_number_that_rises_and_says_whether_anybody_was_woken(bench):
    bench.know(1)
    proxy = Proxy(bench)
    await proxy.begin(agents=said(1))
    uid = str(uuid.UUID(int=1))
    assert bench.relays.check_in(uid)
    first = (await proxy.say()).agents[0].check_ins
    bench.linked = False
    assert not bench.relays.check_in(uid)
    assert (await proxy.say()).agents[0].check_ins > first > 0
    assert not bench.relays.check_in(str(uuid.UUID(int=2)))


async def test_sec_30_what_is_refused_is_not_taken_and_the_proxy_is_told_what_holds(bench):
    proxy = Proxy(bench)
    bench.desk.refused.add(key_of(1))
    down = await proxy.begin(agents=said(1))
    assert bench.desk.taken == []
    assert [(told.key, told.gone) for told in down.agents] == [(key_of(1), True)]
    del bench.desk.scopes["p"]
    with pytest.raises(GrantError, match="no Proxy Manager"):
        await proxy.say()
    with pytest.raises(GrantError):
        bench.relays.begin(bench.proxy)


async def test_sec_29_a_state_that_is_wanted_is_asked_for_again_each_time_an_older_one_comes(bench):
    bench.know(1)
    bench.desk.wanted.add(key_of(1))
    proxy = Proxy(bench)
    down = await proxy.begin(agents=said(1))
    assert [told.want_state for told in down.agents] == [True]
    down = await proxy.say()
    assert not down.agents, "nothing was said since"
    for _ in range(2):
        # The proxy was content with what its agent signed, and forgot that anything was wanted; here it came too late.
        down = await proxy.say(agents=said(1))
        assert [told.want_state for told in down.agents] == [True]
    bench.desk.wanted.clear()
    bench.relays.agent_changed(str(uuid.UUID(int=1)))
    down = await proxy.say(agents=said(1))
    assert [told.want_state for told in down.agents] == [False]
    assert not (await proxy.say(agents=said(1))).agents


async def test_a_proxy_that_is_given_others_is_told_anew_of_all_that_it_knows(bench):
    bench.know(1)
    proxy = Proxy(bench)
    await proxy.begin(agents=said(1))
    bench.desk.scopes["p"] = Scope(frozenset({"other"}))
    del bench.desk.texts[key_of(1)]
    bench.relays.places_changed()
    assert bench.woken == ["p"]
    down = await proxy.say()
    assert down.agents[0].gone
    assert down.orders == b'{"custody":{},"names":[]}'


async def test_what_could_not_be_written_is_not_heard(bench):
    bench.know(1)
    proxy = Proxy(bench)
    await proxy.begin()
    bench.desk.broken = True
    with pytest.raises(StateError):
        await proxy.say(agents=said(1))
    bench.desk.broken = False
    await proxy.say(agents=said(1))
    assert bench.desk.taken == [(key_of(1), b"x")]


async def test_calls_are_answered_once_and_their_replies_said_until_heard(bench):
    proxy = Proxy(bench)
    await proxy.begin()
    calls = [
        wire.RelayCall(id=1, kind="claim", body=b"a"),
        wire.RelayCall(id=2, kind="refused"),
        wire.RelayCall(id=3, kind="forbidden"),
    ]
    await bench.relays.answer(bench.proxy, proxy.up(calls=calls).SerializeToString())
    down = await proxy.say(calls=calls)
    replies = {reply.id: reply for reply in down.replies}
    assert replies[1].body == b"answer to a"
    assert (replies[2].status, replies[2].retry_after, replies[2].problem) == (403, 7.0, "no")
    assert (replies[3].code, replies[3].hint) == ("grant.proxy", "give it")
    assert sorted(bench.desk.calls) == [1, 2, 3]
    assert not (await proxy.say()).replies


async def test_an_agent_that_was_met_is_known_and_its_group_told(bench):
    proxy = Proxy(bench)
    await proxy.begin()
    down = await proxy.say(calls=[wire.RelayCall(id=1, kind="meet", key=key_of(1))])
    assert [told.name for told in down.groups] == ["lab"]
    bench.know(1)
    bench.relays.agent_changed(str(uuid.UUID(int=1)))
    assert [told.name for told in (await proxy.say()).agents] == ["a1"]


async def test_standings_of_streams_are_the_newest_and_forged_frames_have_none(bench):
    bench.know(1)
    proxy = Proxy(bench)
    await proxy.begin()
    carried = wire.Carried(key=key_of(1), stream="events", frames=b"abc")
    await bench.relays.answer(bench.proxy, proxy.up(streams=[carried]).SerializeToString())
    forged = wire.Carried(key=key_of(2), stream="events", frames=b"forged")
    more = wire.Carried(key=key_of(1), stream="events", frames=b"abcd")
    down = await proxy.say(streams=[more, forged])
    assert [(stood.key, stood.standing.next) for stood in down.standings] == [(key_of(1), 4)]
    assert not (await proxy.say()).standings


async def test_bodies_come_in_parts_and_what_is_not_for_this_proxy_is_said_to_be_absent(bench):
    body = bytes(range(256)) * 4096
    bench.desk.bodies["a" * 64] = body
    proxy = Proxy(bench)
    await proxy.begin()
    got = b""
    while len(got) < len(body):
        lacks = [wire.Lack(sha256="a" * 64, offset=len(got)), wire.Lack(sha256="b" * 64)]
        down = await proxy.say(lacks=lacks)
        part = down.bodies[0]
        assert (part.offset, part.length) == (len(got), len(body))
        got += part.data
    assert got == body
    assert bench.desk.fetched[:2] == ["a" * 64] * 2, "nothing after it has room in that message"
    down = await proxy.say(lacks=[wire.Lack(sha256="b" * 64)])
    assert down.bodies[0].absent


async def test_small_bodies_come_with_the_group_that_needs_them_once_and_large_ones_when_they_are_asked_for(
    bench,
):
    small, large = "a" * 64, "b" * 64
    bench.desk.bodies |= {small: b"small", large: bytes(100_000)}
    bench.desk.group_told = lambda _proxy, name: wire.GroupTold(
        name=name, version=bench.desk.versions[name], blobs=[small, large, "c" * 64]
    )
    bench.know(1)
    proxy = Proxy(bench)
    down = await proxy.begin(agents=said(1))
    assert [(one.sha256, one.data, one.length) for one in down.bodies] == [(small, b"small", 5)]
    bench.desk.versions["lab"] = 2
    bench.relays.groups_changed(["lab"])
    down = await proxy.say()
    assert [group.version for group in down.groups] == [2]
    assert not down.bodies, "it has it already, or asks for it"


async def test_places_are_told_when_they_change_and_when_they_are_gone(bench):
    bench.desk.places_now = {n: wire.PlaceTold(name=n, url=f"https://{n}") for n in ("x", "y")}
    proxy = Proxy(bench)
    down = await proxy.begin()
    assert [place.name for place in down.places] == ["x", "y"]
    del bench.desk.places_now["x"]
    bench.relays.places_changed()
    down = await proxy.say()
    assert [(place.name, place.gone) for place in down.places] == [("x", True)]


async def test_presence_status_and_farewells_reach_the_desk(bench):
    bench.know(1)
    proxy = Proxy(bench)
    await proxy.begin(agents=said(1))
    await proxy.say(presence=b"\1", status=b"{}", left=[key_of(1), b"short"])
    assert bench.desk.presences[-1] == (proxy.exchange._boot, b"\1")
    assert bench.desk.statuses == [b"{}"]
    assert bench.desk.gone == [key_of(1)]
    bench.relays.agent_changed(str(uuid.UUID(int=1)))
    assert bench.woken == []


async def test_more_than_fits_into_one_message_waits_for_the_next(bench):
    numbers = range(1, AGENTS_MAX + 100)
    bench.know(*numbers)
    proxy = Proxy(bench)
    await proxy.begin(agents=said(*numbers))
    assert len(proxy.agents) == AGENTS_MAX
    assert proxy.down.head.more
    await proxy.say()
    assert len(proxy.agents) == len(numbers)
    assert not proxy.down.head.more


async def test_f_t2_where_the_manager_dials_a_pass_goes_on_while_either_end_has_more_to_say(bench):
    bench.know(1)
    proxy = Proxy(bench)
    proxy.take(bench.relays.begin(bench.proxy))
    answers = [proxy.up(lists=True, agents=said(1))]
    said_to = await bench.relays.heard(bench.proxy, answers[0].SerializeToString())
    down = proxy.take(said_to)
    assert [told.name for told in down.agents] == ["a1"]
    assert await bench.relays.heard(bench.proxy, proxy.up().SerializeToString()) is None
    # The answer to what is said next is lost; so it is said again.
    bench.desk.texts[key_of(1)] = "b1"
    bench.relays.agent_changed(str(uuid.UUID(int=1)))
    bench.relays.begin(bench.proxy)
    down = proxy.take(bench.relays.begin(bench.proxy))
    assert [told.name for told in down.agents] == ["b1"]


async def test_messages_that_are_none_or_of_an_older_program_are_refused(bench):
    with pytest.raises(WireError, match="no message of a relay"):
        await bench.relays.answer(bench.proxy, b"\xff")
    with pytest.raises(WireError, match="is the limit"):
        await bench.relays.answer(bench.proxy, bytes(5 * 1024 * 1024))
    up = wire.RelayUp(head=wire.RelayHead(boot=1, number=1, generation=GENERATION - 1))
    with pytest.raises(WireError, match="cannot relay"):
        await bench.relays.answer(bench.proxy, up.SerializeToString())


async def test_two_messages_of_one_proxy_at_once_are_worked_on_one_after_the_other(bench):
    bench.know(1, 2)
    proxy = Proxy(bench)
    await proxy.begin()
    first, second = proxy.up(agents=said(1)), proxy.up(agents=said(2))
    await asyncio.gather(
        bench.relays.answer(bench.proxy, first.SerializeToString()),
        bench.relays.answer(bench.proxy, second.SerializeToString()),
    )
    down = await proxy.say()
    assert sorted(told.name for told in down.agents) == ["a1", "a2"]
