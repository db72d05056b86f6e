import asyncio

import pytest

from popham.errors import LinkError, NotFoundError, StateError, TrustError
from popham.net.seam import Refused
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.proxy.admitting import Admitting
from popham.proxy.calls import BYTES_MAX, CALLS_MAX, PATIENCE, Calls
from popham.testing.virtual import VirtualClock, run_virtual
from popham.trust.identity import make_csr

from .dock import AGENTS

ROOM = 1 << 20
WEB = AGENTS[0]


def virtually(story):
    """Tell a story of calls in virtual time."""
    clock = VirtualClock()
    run_virtual(story(Calls(clock)), clock)


def ids(calls, room=ROOM):
    return [call.id for call in calls.take(room)]


async def begun(calls, kind="meet", body=b"b"):
    """Return a call that waits."""
    task = asyncio.ensure_future(calls.call(kind, b"k" * 16, body))
    await asyncio.sleep(0)
    return task


def test_a_call_is_answered_by_its_number():
    async def story(calls):
        first, second = await begun(calls), await begun(calls)
        one, two = ids(calls)
        calls.reply([wire.RelayReply(id=two, body=b"2"), wire.RelayReply(id=77, body=b"x")])
        assert await second == b"2"
        calls.reply([wire.RelayReply(id=one, body=b"1")])
        assert await first == b"1"
        assert not len(calls)

    virtually(story)


def test_it_is_asked_again_until_it_was_heard_and_anew_after_a_boot():
    async def story(calls):
        task = await begun(calls)
        (number,) = ids(calls)
        calls.lost()
        assert ids(calls) == [number]
        calls.heard()
        assert not calls.waits
        calls.again()
        assert ids(calls) == [number]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not len(calls), "nobody waits for it any more"
        assert not ids(calls)

    virtually(story)


def test_it_ends_when_nothing_answers():
    async def story(calls):
        with pytest.raises(LinkError, match="within 10 s") as late:
            await calls.call("meet", b"", b"")
        assert late.value.code == "link.timeout"
        assert not len(calls)
        said = []
        calls.post("claim", b"", b"", said.append, seconds=5.0)
        await asyncio.sleep(PATIENCE)
        calls.take(ROOM)
        assert isinstance(said[0], LinkError)

    virtually(story)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ({"code": "trust.signature", "problem": "no"}, TrustError),
        ({"code": "not_found.output", "problem": "no"}, NotFoundError),
        ({"code": "state.disk", "problem": "full"}, StateError),
        ({"code": "link.busy", "problem": "no room", "retry_after": 7.0}, LinkError),
        ({"code": "else.where", "problem": "no"}, Refused),
        ({"status": 503, "problem": "later", "retry_after": 7.0}, Refused),
    ],
)
def test_a_refusal_is_raised_as_it_was_said(reply, error):
    async def story(calls):
        task = await begun(calls)
        calls.reply([wire.RelayReply(id=ids(calls)[0], **reply)])
        with pytest.raises(error) as raised:
            await task
        if reply.get("retry_after"):
            found = raised.value.refusal if error is Refused else raised.value
            assert found.retry_after == 7.0

    virtually(story)


def test_how_many_wait_and_their_bytes_are_bounded():
    async def story(calls):
        said = []
        for _ in range(CALLS_MAX + 1):
            calls.post("claim", b"", b"", said.append)
        assert [one.code for one in said] == ["link.busy"]
        other, late = Calls(VirtualClock()), []
        other.post("otlp", b"", bytes(BYTES_MAX), late.append)
        other.post("otlp", b"", b"x", late.append)
        assert [one.code for one in late] == ["link.busy"]

    virtually(story)


def test_one_message_has_as_many_as_there_is_room_for():
    async def story(calls):
        for size in (600, 600, 10):
            calls.post("otlp", b"", bytes(size), lambda _said: None)
        assert ids(calls, 1000) == [1, 3]
        assert ids(calls, 10) == [2]

    virtually(story)


def test_an_enrollment_that_nobody_answers_in_time_waits_and_its_answer_is_kept():
    async def story(calls):
        admitting = Admitting(calls, calls._clock)
        csr = make_csr(WEB.identity, WEB.uid)
        first = await admitting.admit("enroll", WEB.key, csr, b"", address="a", walled=False)
        assert (first.admission, first.retry_after) == ("new", 5.0)
        assert first.text
        (call,) = calls.take(ROOM)
        calls.reply([wire.RelayReply(id=call.id, body=_admitted(b"pem"))])
        other = make_csr(WEB.identity, WEB.uid)
        second = await admitting.admit("enroll", WEB.key, other, b"", address="a", walled=False)
        assert second.certificate == b"pem"
        assert not len(calls), "it was asked once, though the request was signed anew"
        third = asyncio.ensure_future(admitting.admit("renew", WEB.key, csr, b"", address="a", walled=True))
        await asyncio.sleep(0)
        (call,) = calls.take(ROOM)
        assert (call.kind, wire.AdmitCall.FromString(call.body).walled) == ("renew", True)
        calls.reply([wire.RelayReply(id=call.id, body=_admitted(b"new"))])
        assert (await third).certificate == b"new"

    virtually(story)


def test_sec_8_a_request_without_the_key_it_is_for_costs_no_call():
    async def story(calls):
        admitting = Admitting(calls, calls._clock)
        for csr in (b"none", make_csr(WEB.identity, AGENTS[1].uid)):
            with pytest.raises(TrustError):
                await admitting.admit("enroll", WEB.key, csr, b"", address="a", walled=False)
        assert not len(calls)

    virtually(story)


def _admitted(certificate):
    return wire.Admitted(admission="accepted", certificate=certificate).SerializeToString()
