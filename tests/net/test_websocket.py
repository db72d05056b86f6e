"""The serving end of a held link: order, bounds, signs of life, and one end only."""

import asyncio
import socket
import struct

import pytest

from popham.errors import WireError
from popham.net import http, websocket
from popham.net.seam import Refusal

BINARY, TEXT, CLOSE, PING, PONG = 2, 1, 8, 9, 10


async def hold(one, service):
    assert (await one.upgrade())[0] == 101
    return service.handlers[-1]


def code_of(frame):
    opcode, data = frame
    assert opcode == CLOSE
    return struct.unpack("!H", data[:2])[0]


async def test_a_message_is_answered_on_the_link(serve, raw, service, until):
    listener = await serve()
    one = await raw(listener)
    handler = await hold(one, service)
    one.send_frame(BINARY, b"\0hello")
    assert await one.frame() == (BINARY, b"reply:\0hello")
    assert service.admitted == [(True, b"")]
    assert listener.links == 1
    one.send_frame(CLOSE, struct.pack("!H", 1000))
    assert code_of(await one.frame()) == 1000
    assert await one.ended() == b""
    await until(lambda: handler.codes)
    assert handler.codes == [1000]
    assert listener.links == 0


async def test_the_service_sends_at_any_time(serve, raw, service):
    one = await raw(await serve())
    handler = await hold(one, service)
    assert handler.link.send(b"a" * 70_000) is True
    assert await one.frame() == (BINARY, b"a" * 70_000)


async def test_ops_13_answers_leave_in_the_order_of_the_messages(serve, raw, service, until, turns):
    loop = asyncio.get_running_loop()
    first, third = loop.create_future(), loop.create_future()

    async def second():
        return b"2"

    answers = {b"1": first, b"2": second(), b"3": third, b"4": b"4", b"5": None}
    service.reply = answers.get
    one = await raw(await serve())
    handler = await hold(one, service)
    for number in answers:
        one.send_frame(BINARY, number)
    await until(lambda: len(handler.messages) == 5)
    third.set_result(b"3")
    await turns()
    first.set_result(b"1")
    assert [(await one.frame())[1] for _ in range(4)] == [b"1", b"2", b"3", b"4"]


async def test_no_more_is_read_while_too_many_answers_are_missing(serve, raw, service, until, turns):
    loop = asyncio.get_running_loop()
    answers = []
    service.reply = lambda _: answers.append(loop.create_future()) or answers[-1]
    one = await raw(await serve())
    handler = await hold(one, service)
    for _ in range(100):
        one.send_frame(BINARY, b"x")
    await until(lambda: len(handler.messages) == websocket.PENDING)
    await turns()
    assert len(handler.messages) == websocket.PENDING
    for number in range(100):
        await until(lambda n=number: len(answers) > n)
        answers[number].set_result(b"%d" % number)
    assert [(await one.frame())[1] for _ in range(100)] == [b"%d" % n for n in range(100)]


async def test_a_held_link_is_refused_before_the_upgrade(serve, raw, service):
    service.refuse = lambda peer, held, uid: Refusal(status=403) if held else None
    assert (await (await raw(await serve())).upgrade())[0] == 403
    assert service.handlers == []


async def test_text_is_refused_with_1003(serve, raw, service, until):
    one = await raw(await serve())
    handler = await hold(one, service)
    one.send_frame(TEXT, b"hello")
    assert code_of(await one.frame()) == 1003
    one.send_frame(CLOSE, struct.pack("!H", 1003))
    await one.ended()
    await until(lambda: handler.codes)
    assert (handler.codes, handler.messages) == ([1003], [])


async def test_ops_6_a_message_as_large_as_the_limit_is_taken_a_larger_one_closes_1009(
    serve, raw, service, until
):
    one = await raw(await serve(message=100_000))
    handler = await hold(one, service)
    one.send_frame(BINARY, b"x" * 99_000)
    assert len((await one.frame())[1]) == 99_006
    one.send_frame(BINARY, b"x" * 50_000, final=False)
    one.send_frame(0, b"x" * 50_000)
    service.reply = lambda _: None
    one.send_frame(BINARY, b"x" * 3_000_000)
    await until(lambda: len(handler.messages) == 2)
    frame = await one.frame()
    if frame[0] == BINARY:
        frame = await one.frame()
    assert code_of(frame) == 1009
    one.writer.close()
    await until(lambda: handler.codes)
    assert handler.codes == [1009]
    assert [len(message) for message in handler.messages] == [99_000, 100_000]


async def test_sec_9_many_small_fragments_count_together(serve, raw, service, until):
    one = await raw(await serve(message=1000))
    handler = await hold(one, service)
    one.send_frame(BINARY, b"x" * 100, final=False)
    for _ in range(20):
        one.send_frame(0, b"x" * 100, final=False)
    assert code_of(await one.frame()) == 1009
    one.writer.close()
    await until(lambda: handler.codes)
    assert handler.messages == []


async def test_ops_7_an_answer_over_the_limit_is_not_sent(serve, raw, service, caplog):
    service.reply = lambda _: b"x" * 2000
    one = await raw(await serve(message=1000))
    await hold(one, service)
    one.send_frame(BINARY, b"x")
    assert code_of(await one.frame()) == 1011
    assert "2000" in caplog.text


async def test_a_ping_is_answered_and_a_pong_is_no_message(serve, raw, service):
    one = await raw(await serve())
    handler = await hold(one, service)
    one.send_frame(PING, b"data")
    assert await one.frame() == (PONG, b"data")
    one.send_frame(PONG, b"")
    one.send_frame(BINARY, b"x")
    assert (await one.frame())[0] == BINARY
    assert handler.messages == [b"x"]


async def test_rel_5_a_link_is_closed_after_two_silent_keepalives(serve, raw, service, until, monkeypatch):
    monkeypatch.setattr(websocket, "CLOSE_TIME", 60.0)  # nobody is there to close it, too
    one = await raw(await serve(keepalive=0.05))
    handler = await hold(one, service)
    frames = [await one.frame() for _ in range(3)]
    assert [opcode for opcode, _ in frames] == [PING, PING, CLOSE]
    await until(lambda: handler.codes)
    assert handler.codes == [1001]


async def test_a_link_that_answers_pings_stays(serve, raw, service):
    one = await raw(await serve(keepalive=0.1))
    handler = await hold(one, service)
    for _ in range(6):
        assert await one.frame() == (PING, b"")
        one.send_frame(PONG, b"")
    assert handler.codes == []


async def test_rel_14_bytes_of_a_frame_that_never_ends_are_no_sign_of_life(serve, raw, service):
    one = await raw(await serve(keepalive=0.1))
    await hold(one, service)
    one.writer.write(bytes([0x82, 0xFF]) + (100_000).to_bytes(8, "big") + bytes(4))

    async def drip():
        while True:
            one.writer.write(b"x")
            await asyncio.sleep(0.01)

    dripping = asyncio.create_task(drip())
    opcodes = [(await one.frame())[0] for _ in range(3)]
    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)
    assert opcodes == [PING, PING, CLOSE]


async def test_rel_6_a_slow_reader_is_told_no_and_cut_off_in_bounded_time(
    serve, raw, service, until, monkeypatch
):
    monkeypatch.setattr(websocket, "CLOSE_TIME", 0.1)
    listener = await serve(queue=64 * 1024)
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.connect(("127.0.0.1", listener.port))
    small.setblocking(False)  # noqa: FBT003 - its own signature
    reader, writer = await asyncio.open_connection(sock=small, limit=1024)
    one = await raw(listener)
    one.writer.transport.abort()
    one.reader, one.writer = reader, writer
    handler = await hold(one, service)
    writer.transport.pause_reading()
    sent = 0
    while handler.link.send(b"x" * 8192):
        sent += 8192
        await asyncio.sleep(0)
        assert sent < 32 * 1024 * 1024
    assert handler.link._transport.get_write_buffer_size() < 64 * 1024 + 9000
    assert handler.link.send(b"more") is False
    await until(lambda: handler.codes)
    assert handler.codes == [1013]
    writer.transport.abort()


async def test_one_large_message_may_exceed_the_queue(serve, raw, service):
    one = await raw(await serve(queue=10_000))
    handler = await hold(one, service)
    assert handler.link.send(b"x" * 4_000_000) is True
    assert handler.link.send(b"small") is True
    assert len((await one.frame())[1]) == 4_000_000
    assert await one.frame() == (BINARY, b"small")
    assert handler.codes == []


async def test_the_service_closes_with_a_code_and_a_reason_of_whole_characters(serve, raw, service, until):
    one = await raw(await serve())
    handler = await hold(one, service)
    handler.link.close(1008, "é" * 100)
    handler.link.close(1011, "again")
    _, data = await one.frame()
    assert (data[:2], data[2:].decode()) == (struct.pack("!H", 1008), "é" * 61)
    assert handler.link.send(b"x") is False
    one.send_frame(CLOSE, data)
    assert await one.ended() == b""
    await until(lambda: handler.codes)
    assert handler.codes == [1008]


async def test_a_peer_that_does_not_answer_a_close_is_cut_off(serve, raw, service, until, monkeypatch):
    monkeypatch.setattr(websocket, "CLOSE_TIME", 0.05)
    one = await raw(await serve())
    handler = await hold(one, service)
    handler.link.close(1008, "")
    await until(lambda: handler.codes)
    assert handler.codes == [1008]


async def test_a_lost_connection_is_told_once_with_1006(serve, raw, service, until):
    pending = asyncio.get_running_loop().create_future()
    service.reply = lambda _: pending
    one = await raw(await serve())
    handler = await hold(one, service)
    one.send_frame(BINARY, b"x")
    await until(lambda: handler.messages)
    one.writer.transport.abort()
    await until(lambda: handler.codes)
    pending.set_result(b"nobody reads this")
    await asyncio.sleep(0)
    assert handler.codes == [1006]


@pytest.mark.parametrize(("error", "code"), [(WireError("x", "No."), 1002), (RuntimeError("secret"), 1011)])
async def test_a_message_that_fails_closes_the_link(serve, raw, service, caplog, error, code):
    def fail(_):
        raise error

    service.reply = fail
    one = await raw(await serve())
    await hold(one, service)
    one.send_frame(BINARY, b"x")
    opcode, data = await one.frame()
    assert code_of((opcode, data)) == code
    assert b"secret" not in data


async def test_an_answer_that_fails_later_closes_the_link(serve, raw, service, caplog):
    async def fail():
        raise RuntimeError("secret")

    service.reply = lambda _: fail()
    one = await raw(await serve())
    await hold(one, service)
    one.send_frame(BINARY, b"x")
    assert code_of(await one.frame()) == 1011
    assert "secret" in caplog.text


async def test_an_answer_that_never_comes_closes_the_link(serve, raw, service):
    never = asyncio.get_running_loop().create_future()
    service.reply = lambda _: never
    one = await raw(await serve(keepalive=0.2))
    await hold(one, service)
    one.send_frame(BINARY, b"x")
    while (frame := await one.frame())[0] == PING:
        one.send_frame(PONG, b"")
    assert code_of(frame) == 1011
    assert not never.cancelled()


async def test_ops_47_a_stop_closes_every_link_with_1012_and_a_time_to_return(serve, raw, service):
    listener = await serve()
    ones = [await raw(listener) for _ in range(5)]
    handlers = [await hold(one, service) for one in ones]
    stopping = asyncio.create_task(listener.stop(retry_window=100.0))
    waits = []
    for one in ones:
        opcode, data = await one.frame()
        assert code_of((opcode, data)) == 1012
        waits.append(float(data[2:].decode().removeprefix("retry-after=")))
        one.send_frame(CLOSE, data)
    await stopping
    assert len(set(waits)) == 5
    assert all(0 <= wait <= 100 for wait in waits)
    assert [handler.codes for handler in handlers] == [[1012]] * 5
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_link_that_the_service_does_not_take_is_closed_with_1008(serve, raw, service):
    def refuse(link):
        raise WireError("x", "Not you.")

    service.opened = refuse
    one = await raw(await serve())
    await one.upgrade()
    opcode, data = await one.frame()
    assert code_of((opcode, data)) == 1008
    assert b"Not you." in data


async def test_rel_6_a_reader_that_takes_nothing_of_a_large_answer_is_cut_off(
    serve, raw, service, monkeypatch, until
):
    monkeypatch.setattr(http, "SLOWEST", 1 << 30)
    service.answer = lambda _: b"x" * 32_000_000
    listener = await serve(body_time=0.1, message=64_000_000)
    one = await raw(listener)
    one.writer.transport.pause_reading()
    one.writer.write(
        b"POST /v1/opamp HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
    )
    held = listener._door.open if hasattr(listener, "_door") else listener._gate.open
    await until(lambda: held)
    await until(lambda: not held)
    one.writer.transport.resume_reading()
    assert len(await one.ended()) < 32_000_000
