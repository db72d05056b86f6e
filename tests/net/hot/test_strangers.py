"""Who may stand at the door, and who goes when too many do."""

import asyncio
import random
import ssl
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popham.clock import SystemClock
from popham.net.hot import entrance
from popham.net.hot.listener import HotListener
from popham.net.hot.strangers import Strangers
from popham.net.quota import ADDRESSES, FAILURE_BURST, Failures, place_of
from popham.net.route import PROTOBUF
from popham.net.seam import Limits, Refusal

A, B = ("127.0.0.11", 0), ("127.0.0.12", 0)
UID = "019a0000-0000-7000-8000-{:012d}"


def post(body=b"x", *headers):
    lines = [
        "POST /v1/opamp HTTP/1.1",
        "Host: x",
        f"Content-Type: {PROTOBUF}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def bearer(token, number=None):
    lines = f"Authorization: Bearer {token}"
    return lines if number is None else lines + "\r\nOpAMP-Instance-UID: " + UID.format(number)


@pytest.fixture
async def serve(service):
    """Start hot listeners; all are stopped at the end."""
    started = []

    async def start(*, context=None, unadmitted=1000, **limits):
        listener = HotListener(
            service,
            context=context,
            limits=Limits(**limits),
            clock=SystemClock(),
            rng=random.Random(1),
            unadmitted=unadmitted,
        )
        started.append(listener)
        await listener.start(["127.0.0.1"], 0)
        return listener

    yield start
    for listener in started:
        await listener.stop(retry_window=0.0)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=120),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_sec_10_bounds_hold_and_the_address_with_the_most_gives_way(steps, bound, per_address):
    strangers, standing = Strangers(bound, per_address), []
    for number, (address, leaves) in enumerate(steps):
        if leaves and standing:
            standing.remove(gone := standing[number % len(standing)])
            assert strangers.pop(gone) == gone
        one = (number, f"10.0.0.{address}")
        before = [who[1] for who in [*standing, one]]
        standing.append(one)
        out = strangers.add(one, one, one[1])
        if out is None:
            assert len(standing) <= bound
            assert before.count(one[1]) <= per_address
        else:
            same = [who for who in standing if who[1] == out[1]]
            assert out == same[0]
            crowded = before.count(one[1]) > per_address
            assert out[1] == one[1] if crowded else len(same) == max(map(before.count, before))
            standing.remove(out)
        assert len(strangers) == len(standing)
        assert all(who in strangers for who in standing)
    while standing:
        standing.remove(strangers.drop())
    assert strangers.drop() is None


def test_sec_10_addresses_have_their_turn_one_after_the_other():
    line = Strangers(100, 100)
    for number in range(6):
        line.add(f"a{number}", f"a{number}", "10.0.0.1")
    line.add("b0", "b0", "10.0.0.2")
    line.add("b1", "b1", "10.0.0.2")
    line.add("c0", "c0", "10.0.0.3")
    taken = []
    while (one := line.take_turn()) is not None:
        taken.append(one)
    assert taken == ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4", "a5"]
    assert line.most == 0


def test_sec_10_an_ipv6_network_counts_as_one_address():
    assert place_of("2001:db8:1:2::1") == place_of("2001:db8:1:2:ffff::9") == "2001:db8:1:2::"
    assert place_of("2001:db8:1:3::1") != place_of("2001:db8:1:2::1")
    assert place_of("fe80::1%eth0") == "fe80::"
    assert place_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert place_of("") == ""


def test_sec_8_who_fails_too_often_is_turned_away_for_seconds_and_others_are_not():
    failures = Failures(10.0)
    for number in range(500):
        failures.note("10.0.0.1", 100.0 + number / 1000)
    assert failures.blocks("10.0.0.1", 100.5)
    assert not failures.blocks("10.0.0.2", 100.5)
    assert not failures.blocks("10.0.0.1", 100.5 + FAILURE_BURST + 0.01)
    assert failures.turned_away == 1


def test_sec_8_few_failures_turn_nobody_away():
    failures = Failures(10.0)
    for number in range(1000):
        failures.note("10.0.0.1", 100.0 + number / 9)
        assert not failures.blocks("10.0.0.1", 100.0 + number / 9)


def test_sec_8_what_is_remembered_of_failures_is_bounded():
    failures = Failures(10.0)
    for number in range(3 * ADDRESSES):
        failures.note(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1.0)
    assert len(failures) == ADDRESSES


async def test_sec_10_one_address_that_takes_every_place_pushes_out_only_its_own(serve, raw):
    listener = await serve(unadmitted=20)
    calm = [await raw(listener, local_addr=B) for _ in range(5)]
    flood = [await raw(listener, local_addr=A) for _ in range(200)]
    assert (await flood[-1].answer(post()))[0] == 200
    for one in calm:
        assert (await one.answer(post()))[0] == 200
    assert await flood[0].ended() == b""


async def test_sec_10_a_third_link_of_one_identity_closes_its_oldest(serve, raw, service):
    listener = await serve()
    links = []
    for _ in range(3):
        links.append(await raw(listener))
        assert (await links[-1].upgrade(bearer("good", 1) + "\r\n"))[0] == 101
    other = await raw(listener)
    assert (await other.upgrade(bearer("good", 2) + "\r\n"))[0] == 101
    opcode, data = await links[0].frame()
    assert (opcode, struct.unpack("!H", data[:2])[0]) == (8, 1008)
    for link in (*links[1:], other):
        link.send_frame(2, b"x")
        assert await link.frame() == (2, b"reply:x")
    assert len(listener._door.keys) == 3


async def test_sec_10_a_third_connection_for_rounds_of_one_identity_closes_its_oldest(serve, raw, until):
    listener = await serve()
    many = [await raw(listener) for _ in range(4)]
    for one in many:
        assert (await one.answer(post(b"x", bearer("good", 1))))[0] == 200
    assert await many[0].ended() == await many[1].ended() == b""
    for one in many[2:]:
        assert (await one.answer(post(b"x", bearer("good", 1))))[0] == 200
        one.writer.close()
    await until(lambda: not listener._door.open)
    assert not listener._door.keys
    assert not listener._door.held


async def test_sec_10_agents_that_share_a_token_are_counted_one_by_one(serve, raw):
    listener = await serve()
    many = [await raw(listener) for _ in range(10)]
    for number, one in enumerate(many):
        assert (await one.answer(post(b"x", bearer("shared", number))))[0] == 200
    for number, one in enumerate(many):
        assert (await one.answer(post(b"x", bearer("shared", number))))[0] == 200


async def test_sec_10_a_connection_that_asks_too_much_is_answered_429(serve, raw, service):
    listener = await serve(messages_per_second=10)
    greedy, good = await raw(listener), await raw(listener)
    statuses = []
    while not statuses or statuses[-1] == 200:
        status, headers, _ = await greedy.answer(post())
        statuses.append(status)
    assert statuses[-1] == 429
    assert 50 <= len(statuses) <= 100
    assert int(headers["retry-after"]) >= 1
    assert (await good.answer(post()))[0] == 200


async def _try_bad_token(port, number, local):
    """Return the status of the answer; 0 if the connection was ended unheard."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=local)
    except OSError:
        return 0
    try:
        writer.write(post(b"x" * 100, bearer(f"bad{number}")))
        return int((await reader.readline()).split()[1])
    except (OSError, IndexError):
        return 0
    finally:
        writer.transport.abort()


async def test_sec_8_five_thousand_bad_tokens_are_401_first_and_then_unheard_while_a_good_agent_is_answered(
    serve, raw, service, until
):
    service.refuse = lambda peer, held, uid: None if peer.bearer == "good" else Refusal(status=401)
    listener = await serve()
    good, got = await raw(listener, local_addr=B), []
    for first in range(0, 5000, 100):
        got += await asyncio.gather(
            *(_try_bad_token(listener.port, number, A) for number in range(first, first + 100))
        )
        assert (await good.answer(post(b"x", bearer("good"))))[0] == 200
    new = await raw(listener, local_addr=B)
    assert (await new.answer(post(b"x", bearer("good"))))[0] == 200
    assert set(got) == {401, 0}
    assert got[:100] == [401] * 100
    assert got.count(401) < 1000
    assert len(service.rounds) == 51
    assert len(service.admitted) < 1100
    await until(lambda: len(listener._door.open) == 2)
    assert len(listener._door.failures) == 1
    assert listener.turned_away == got.count(0)


async def test_sec_8_who_failed_too_often_gets_no_handshake(serve, listener_context, authority, raw, until):
    listener = await serve(context=listener_context, failures_per_second=2, links_per_second=10_000)
    client = ssl.create_default_context(cadata=authority.pem)
    for _ in range(40):
        one = await raw(listener, local_addr=A)
        one.writer.write(b"no handshake at all\r\n\r\n")
        await asyncio.wait_for(_drain(one), 5)
    await until(lambda: listener.turned_away)
    completed = listener.link_rate.completed
    with pytest.raises(ConnectionError):
        await raw(listener, local_addr=A, ssl=client, server_hostname="localhost")
    assert listener.link_rate.completed == completed
    began = time.monotonic()
    good = await raw(listener, local_addr=B, ssl=client, server_hostname="localhost")
    assert (await good.answer(post()))[0] == 200
    assert time.monotonic() - began < 10


async def test_sec_10_who_dials_without_end_keeps_no_other_address_waiting_for_a_handshake(
    serve, listener_context, authority, raw
):
    listener = await serve(context=listener_context, links_per_second=20)
    client = ssl.create_default_context(cadata=authority.pem)
    await asyncio.gather(*[raw(listener, local_addr=A) for _ in range(400)])
    began = time.monotonic()
    good = await raw(listener, local_addr=B, ssl=client, server_hostname="localhost")
    assert (await good.answer(post()))[0] == 200
    assert time.monotonic() - began < 10, "it would be 20 s, one after the other"


async def test_sec_10_when_all_places_of_the_line_are_taken_a_crowd_gives_way_and_else_the_kernel_holds_who_comes(
    serve, listener_context, raw, turns, monkeypatch
):
    monkeypatch.setattr(entrance, "WAITING", 20)
    monkeypatch.setattr(entrance, "CROWD", 5)
    listener = await serve(context=listener_context, links_per_second=0.01)
    (entry,) = listener._servers
    sources = [(f"127.0.0.{20 + number}", 0) for number in range(25)]
    crowd = [await raw(listener, local_addr=A) for _ in range(30)]
    await turns()
    assert (len(entry._line), entry._line.most) == (10, 10)
    others = [await raw(listener, local_addr=source) for source in sources]
    await turns()
    assert (len(entry._line), entry._line.most) == (20, 5)
    assert await crowd[1].ended() == b""
    assert not others[-1].reader.at_eof()


async def _drain(one):
    try:
        await one.reader.read()
    except ConnectionResetError:
        return
