"""Frames of agents that dial: at the door for requests, and over held links."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from popham.downstream.standings import WAIT_MOST, decode, from_wire
from popham.errors import LinkError, StateError, StreamError
from popham.model.fleet import Admission
from popham.net.seam import Peer, Refusal, Request
from popham.opamp.codec import custom, parse_custom, parse_upstream
from popham.opamp.schema.opamp.v1.opamp_pb2 import AgentToServer
from popham.opamp.schema.popham.v1.popham_pb2 import Append, Ready, Report
from popham.opamp.wire import HELD_MESSAGE_LIMIT, REPORT_FULL_STATE
from popham.streams.frame import OFFSET_LIMIT, TAIL, Stream
from popham.streams.standing import BOOTS, CREDIT, RANGES, Boot, Range, Standing
from popham.testing.direct import ADMIN, DirectManager
from popham.upstream.intake import APPEND_LIMIT, Sent
from popham.upstream.shedding import Load, Shedder
from popham.upstream.standings import render_standings

from .conftest import files
from .ordering import Ordered
from .taking import Taking, chain, joined

LOGS, EVENTS = Stream.LOGS, Stream.EVENTS


@pytest.fixture
def taking():
    return Taking()


@pytest.fixture
async def manager(keys, taking):
    found = DirectManager(keys, intake=taking)
    await found.start()
    return found


@pytest.fixture
def ours(ordered):
    """Frames of the agent."""
    return chain(ordered.record.key)


async def ask(manager, peer, method="POST", stream="logs", body=b"", **query):
    path, query = f"/v1/streams/{stream}", {name: str(value) for name, value in query.items()}
    request = Request(method=method, path=path, peer=peer, query=query, body=body)
    return await manager.hub.other(request)


# By requests.


async def test_f_d2_an_append_is_answered_by_how_far_upstream_is(manager, taking, ordered, ours):
    peer = ordered.agent.peer()
    answer = await ask(manager, peer, body=joined(ours), now="1700000000.25", waiting=7)
    assert (answer.status, answer.content_type) == (200, "application/x-protobuf")
    found = decode(answer.body, LOGS)
    assert (found.epoch, found.next, found.last) == (1, 30, ours[-1].head.tail)
    assert taking.sent == [Sent(now=1700000000.25, waiting=7)]
    await ask(manager, peer, body=joined(ours))
    assert taking.sent[1] == Sent(), "nothing is made up"
    assert decode((await ask(manager, peer, "GET")).body, LOGS) == found
    assert decode((await ask(manager, peer, "GET", epoch=9)).body, LOGS).newest == 1
    assert decode((await ask(manager, peer, "GET", "events")).body, EVENTS) == Standing(stream=EVENTS)


@pytest.mark.parametrize(
    ("fault", "status", "wait"),
    [
        (StreamError("damaged", "x"), 400, None),
        (StreamError("signature", "x"), 400, None),
        (StreamError("scattered", "x"), 409, None),
        (LinkError("busy", "x", retry_after=7.0), 503, "7"),
        (LinkError("busy", "x"), 503, "30"),
    ],
)
async def test_what_the_intake_refuses_is_refused_by_name(
    manager, taking, ordered, ours, fault, status, wait
):
    taking.fault = fault
    answer = await ask(manager, ordered.agent.peer(), body=joined(ours))
    assert (answer.status, answer.headers.get("Retry-After")) == (status, wait)
    assert fault.code in answer.body.decode()


async def test_where_nobody_knows_how_far_a_stream_is_the_agent_is_told_to_come_again(
    manager, taking, ordered, ours, monkeypatch
):
    async def standing(*_):
        raise LinkError("busy", "nobody says", retry_after=7.0)

    monkeypatch.setattr(taking, "standing", standing)
    answer = await ask(manager, ordered.agent.peer(), "GET")
    assert (answer.status, answer.headers.get("Retry-After")) == (503, "7")
    taking.fault = LinkError("busy", "nobody says", retry_after=7.0)
    _, end = await held(manager, ordered)
    answer = await append(manager, ordered, end, ours)
    assert not answer.HasField("error_response")
    assert not answer.HasField("custom_message")


async def test_frames_that_contradict_what_is_durable_are_answered_by_a_refusal_of_their_epoch(
    manager, taking, ordered, ours
):
    await ask(manager, ordered.agent.peer(), body=joined(ours))
    taking.fault = StreamError("overlap", "it has another tail")
    answer = await ask(manager, ordered.agent.peer(), body=joined(ours))
    found = decode(answer.body, LOGS)
    assert (answer.status, found.refused, found.epoch, found.next) == (200, True, 1, 30)
    _, end = await held(manager, ordered)
    assert standings(await append(manager, ordered, end, ours))[0].refused


async def test_rel_3_frames_that_cannot_be_written_are_no_answer(manager, taking, ordered, ours):
    taking.fault = StateError("disk", "it is full")
    with pytest.raises(StateError):
        await ask(manager, ordered.agent.peer(), body=joined(ours))


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [
        ({"stream": "colours"}, 404, "not_found.stream"),
        ({"now": "soon"}, 400, "wire.stream"),
        ({"now": "nan"}, 400, "wire.stream"),
        ({"waiting": "-1"}, 400, "wire.stream"),
        ({"waiting": "9" * 19}, 400, "wire.stream"),
        ({"body": bytes(APPEND_LIMIT + 1)}, 413, "wire.too_large"),
        ({"method": "GET", "epoch": "x"}, 400, "wire.stream"),
        ({"method": "PUT"}, 405, "wire.method"),
    ],
)
async def test_sec_a_request_about_streams_is_read_strictly(manager, taking, ordered, what, status, code):
    answer = await ask(manager, ordered.agent.peer(), **what)
    assert (answer.status, code in answer.body.decode()) == (status, True), answer.body
    assert taking.sent == []


async def test_sec_4_only_agents_that_are_accepted_bring_frames(manager, taking, ordered, ours):
    body, peer = joined(ours), ordered.agent.peer()
    for other, status in ((Peer(address="192.0.2.9"), 401), (await manager.stock_peer("lab"), 403)):
        assert (await ask(manager, other, body=body)).status == status
    ordered.record.admission = Admission.NEW
    assert (await ask(manager, peer, body=body)).status == 403
    await manager.service.revoke(ADMIN, ordered.agent.uid)
    await manager.bring()
    assert (await ask(manager, peer, body=body)).status in {401, 403}
    assert taking.sent == []


async def test_rel_21_frames_are_the_first_to_be_left_out_and_where_there_is_no_room_nothing_is_taken(
    manager, taking, ordered, ours
):
    peer = ordered.agent.peer()
    taking.full[LOGS] = Refusal(status=503, retry_after=9.0, body="no room (link.busy)")
    answer = await ask(manager, peer, body=joined(ours))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "9")
    found = decode((await ask(manager, peer, "GET")).body, LOGS)
    assert (found.credit, found.retry_after) == (0, 9.0)
    assert decode((await ask(manager, peer, "GET", "events")).body, EVENTS).credit == CREDIT
    taking.full.clear()
    manager.hub.streams._shedder = Shedder(lambda: Load(0.09), lambda: 42.0)
    answer = await ask(manager, peer, body=joined(ours))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "42")
    assert taking.sent == []


async def test_one_append_of_a_stream_at_a_time_and_other_streams_beside_it(manager, taking, ordered, ours):
    peer, taking.slow = ordered.agent.peer(), asyncio.Event()
    asked = [asyncio.ensure_future(ask(manager, peer, body=joined([frame]))) for frame in ours]
    events = joined(chain(ordered.record.key, EVENTS))
    asked.append(asyncio.ensure_future(ask(manager, peer, stream="events", body=events)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert taking.working == 2
    taking.slow.set()
    assert {answer.status for answer in await asyncio.gather(*asked)} == {200}
    assert taking.most == 2
    assert [first for stream, first in taking.frames if stream is LOGS] == [0, 10, 20], "in their order"
    assert manager.hub.streams._turns == {}


async def test_where_no_streams_are_taken_there_is_no_such_path(keys):
    manager = DirectManager(keys)
    await manager.start()
    agent = await manager.add_agent("a")
    for method in ("GET", "POST"):
        answer = await ask(manager, agent.peer(), method)
        assert (answer.status, "not_found.route" in answer.body.decode()) == (404, True)


# Over held links.


async def held(manager, ordered):
    link, end = manager.hold(ordered.agent.peer())
    report = Report(generation=4, state=ordered.record.envelope)
    answer = await manager.hear(end, ordered.message(custom_message=custom(report)))
    assert answer.instance_uid == ordered.record.key
    return link, end


async def publish(manager):
    """Have links told."""
    telling = asyncio.ensure_future(manager.hub.publish())
    for _ in range(10):
        await asyncio.sleep(0)
    telling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await telling


def standings(message):
    said = parse_custom((parse_upstream(message) if isinstance(message, bytes) else message).custom_message)
    return [from_wire(one) for one in said.standings]


async def append(manager, ordered, end, frames, stream="logs", **said):
    message = custom(Append(stream=stream, frames=joined(frames), **said))
    return await manager.hear(end, ordered.message(custom_message=message))


async def test_a_new_link_is_told_how_far_all_streams_are_once(manager, taking, ordered, ours):
    taking.standings[ordered.agent.uid, LOGS] = Standing(
        stream=LOGS, epoch=1, newest=1, next=30, last=b"x" * 16
    )
    link, end = await held(manager, ordered)
    assert link.sent == [], "its answer goes first"
    await publish(manager)
    (sent,) = link.sent
    assert [one.stream for one in standings(sent)] == list(Stream)
    assert standings(sent)[-1].next == 30
    said = {field.name for field, _ in parse_upstream(sent).ListFields()}
    assert said == {"instance_uid", "capabilities", "custom_message"}
    await manager.hear(end, ordered.message(custom_message=custom(Report(generation=4))))
    await publish(manager)
    assert len(link.sent) == 1
    end.closed(1006)
    link, _ = await held(manager, ordered)
    await publish(manager)
    assert len(link.sent) == 1


async def test_an_agent_of_before_is_told_nothing_of_streams(manager, ordered):
    record = ordered.record
    record.note_state(replace(record.state, generation=3), record.envelope)
    link, end = manager.hold(ordered.agent.peer())
    await manager.hear(end, ordered.message())
    await publish(manager)
    assert link.sent == []


async def test_a_link_that_is_gone_meanwhile_is_told_nothing(manager, ordered):
    link, end = await held(manager, ordered)
    end.closed(1006)
    await publish(manager)
    assert link.sent == []


async def test_an_append_over_a_link_is_answered_by_a_standing_alone(manager, taking, ordered, ours):
    _, end = await held(manager, ordered)
    settled = ordered.record.settled
    answer = await append(manager, ordered, end, ours, now=1700000000.5, waiting=3)
    assert [one.next for one in standings(answer)] == [30]
    assert not answer.flags
    assert taking.sent == [Sent(now=1700000000.5, waiting=3)]
    assert ordered.record.settled is settled, "a heartbeat is answered from memory as before"
    await append(manager, ordered, end, ours)
    assert taking.sent[1] == Sent(now=None, waiting=0)


async def test_a_message_that_was_lost_before_an_append_is_noticed(manager, taking, ordered, ours):
    _, end = await held(manager, ordered)
    ordered.record.ear.sequence -= 5
    answer = await manager.hear(
        end,
        AgentToServer(
            instance_uid=ordered.record.key,
            sequence_num=90,
            custom_message=custom(Append(stream="logs", frames=joined(ours))),
        ),
    )
    assert answer.flags == REPORT_FULL_STATE
    assert [one.next for one in standings(answer)] == [30]


async def test_frames_that_are_refused_over_a_link_are_to_come_by_a_request(manager, taking, ordered, ours):
    _, end = await held(manager, ordered)
    taking.fault = StreamError("scattered", "too many ranges")
    (found,) = standings(await append(manager, ordered, end, ours))
    assert (found.next, found.credit, found.retry_after) == (0, 0, 30.0)


async def test_rel_21_without_room_an_append_is_answered_by_when_to_come_again(
    manager, taking, ordered, ours
):
    _, end = await held(manager, ordered)
    taking.fault = LinkError("busy", "full", retry_after=4.0)
    (found,) = standings(await append(manager, ordered, end, ours))
    assert (found.next, found.credit, found.retry_after) == (0, 0, 4.0)
    taking.fault, taking.full[LOGS] = None, Refusal(status=503, body="no room")
    (found,) = standings(await append(manager, ordered, end, ours))
    assert (found.credit, found.retry_after) == (0, 30.0)
    assert taking.sent == []


async def test_sec_4_messages_of_streams_are_for_agents_alone_on_links_and_say_nothing_else(
    manager, taking, ordered, ours
):
    link, end = await held(manager, ordered)
    said = custom(Append(stream="logs", frames=joined(ours)))
    over_http = await ordered.say(custom_message=said)
    beside = await manager.hear(end, ordered.message(custom_message=said, agent_disconnect={}))
    for answer in (over_http, beside, await append(manager, ordered, end, ours, stream="colours")):
        assert answer.error_response.error_message
    assert ordered.record.link is link
    stock = await manager.stock_peer("lab")
    message = AgentToServer(instance_uid=bytes(16), capabilities=1, custom_message=said)
    assert "grant.not_permitted" in (await manager.say(stock, message)).error_response.error_message
    ordered.record.admission = Admission.NEW
    assert "grant" in (await append(manager, ordered, end, ours)).error_response.error_message
    assert taking.sent == []


async def test_sec_4_an_agent_that_is_not_accepted_is_not_asked_for_frames(manager, ordered):
    _, end = await held(manager, ordered)
    end.link.peer.uid = ordered.agent.uid
    ordered.record.admission = Admission.NEW
    answer = await manager.hear(end, ordered.message(custom_message=custom(Ready(streams=["logs"]))))
    assert "grant" in answer.error_response.error_message
    assert not manager.hub.streams.is_ready(ordered.record.uid)


async def test_rel_3_a_link_ends_where_frames_could_not_be_written(manager, taking, ordered, ours):
    _, end = await held(manager, ordered)
    taking.fault = StateError("disk", "full")
    with pytest.raises(StateError):
        await append(manager, ordered, end, ours)


async def test_an_agent_on_a_link_that_we_opened_says_that_it_is_to_be_asked(manager, ordered):
    told = []
    manager.hub.streams.on_ready = told.append
    _, end = await held(manager, ordered)
    ready = custom(Ready(streams=["logs", "events", "logs"]))
    answer = await manager.hear(end, ordered.message(custom_message=ready))
    assert "wire.stream" in answer.error_response.error_message, "an agent that dials sends by itself"
    end.link.peer.uid = ordered.agent.uid
    answer = await manager.hear(end, ordered.message(custom_message=ready))
    assert not answer.HasField("custom_message")
    assert not answer.HasField("error_response")
    assert told == [ordered.record]
    streams, uid = manager.hub.streams, ordered.agent.uid
    assert streams.is_ready(uid)
    assert streams.take_ready(uid) == (EVENTS, LOGS)
    assert not streams.is_ready(uid)
    for nothing in (["colours"], []):
        await manager.hear(end, ordered.message(custom_message=custom(Ready(streams=nothing))))
    assert told == [ordered.record]


async def test_where_no_streams_are_taken_links_are_told_nothing_and_frames_are_refused(keys):
    manager = DirectManager(keys)
    await manager.start()
    await manager.publish(files())
    found = Ordered(manager, await manager.add_agent("a", "lab"))
    await found.agent.round()
    link, end = await held(manager, found)
    await publish(manager)
    assert link.sent == []
    answer = await append(manager, found, end, chain(found.record.key))
    assert "not_found.route" in answer.error_response.error_message


async def test_four_standings_fit_into_a_message_of_a_link_whatever_they_say(ordered):
    high = OFFSET_LIMIT - 3 * RANGES
    most = [
        Standing(
            stream=stream,
            epoch=OFFSET_LIMIT,
            newest=OFFSET_LIMIT,
            next=high,
            last=b"x" * TAIL,
            ranges=tuple(Range(high + 2 * each + 1, high + 2 * each + 2) for each in range(RANGES)),
            boots=tuple(Boot(b"12345678", high) for _ in range(BOOTS)),
            retry_after=WAIT_MOST,
        )
        for stream in Stream
    ]
    data = render_standings(ordered.record, most)
    assert len(data) < HELD_MESSAGE_LIMIT
    assert standings(data) == most
