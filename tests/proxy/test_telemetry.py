"""Plain OTLP at the door of a proxy: handed on by a token, and never in the name of an agent that signs."""

import asyncio
import uuid

import pytest

from popham.errors import GrantError, LinkError
from popham.opamp.schema.popham.v1 import popham_pb2 as wire
from popham.streams.frame import Stream
from popham.upstream.intake import Source

from .test_book import WEB, known, shown, with_token


async def test_otlp_is_handed_on_and_answered_by_those_above(tmp_path):
    dock = await with_token(tmp_path)
    dock.book.identify(shown())
    own = uuid.uuid5(uuid.NAMESPACE_URL, "urn:popham:token:t1").bytes
    dock.desk.replies["otlp"] = wire.OtlpAnswer(rejected=2, why="too old").SerializeToString()
    source = Source(own, lambda _name: own)
    async with dock.connected():
        rejected = await dock.otlp.take(source, Stream.LOGS, b"logs", is_json=False)
    assert (rejected.records, rejected.why) == (2, "too old")
    asked = wire.OtlpCall.FromString(dock.desk.calls[-1].body)
    assert (asked.stream, asked.body, asked.token) == ("logs", b"logs", "t1")


async def test_sec_29_otlp_that_comes_by_an_agents_certificate_goes_no_further(tmp_path):
    dock = await known(tmp_path, WEB)
    async with dock.connected():
        with pytest.raises(GrantError) as refused:
            await dock.otlp.take(Source(WEB.key, lambda _name: WEB.key), Stream.LOGS, b"logs", is_json=False)
    assert refused.value.code == "grant.proxy"
    assert dock.desk.calls == []


async def test_otlp_is_put_off_while_nothing_above_answers(tmp_path):
    dock = await with_token(tmp_path)
    dock.book.identify(shown())
    own = uuid.uuid5(uuid.NAMESPACE_URL, "urn:popham:token:t1").bytes
    taking = asyncio.ensure_future(
        dock.otlp.take(Source(own, lambda _name: own), Stream.LOGS, bytes(9_000_000), is_json=True)
    )
    await asyncio.sleep(0)
    assert dock.otlp.refusal(WEB.key, Stream.LOGS).status == 503
    dock.clock.elapsed += 60
    dock.calls.expire()
    with pytest.raises(LinkError) as busy:
        await taking
    assert busy.value.code == "link.busy"
    assert busy.value.retry_after
    assert dock.otlp.refusal(WEB.key, Stream.LOGS) is None
